package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/dnsapi"
)

// These end a command with status 2: `query` has an answer to tell of, and it holds no record; `services --synced` finds that
// not all is known.
var (
	errNothing   = errors.New("no record in the answer")
	errNotSynced = errors.New("not everything is known yet")
)

// asking are the flags of the commands that talk to a running edgedns.
type asking struct{ socket, config, output string }

// flags adds them to a command.
func (o *asking) flags(cmd *cobra.Command) *cobra.Command {
	f := cmd.Flags()
	f.StringVar(&o.socket, "socket", dnsapi.DefaultSocket, "the `SOCKET` of edgedns")
	f.StringVar(&o.config, "config", "", "read the socket's path from the configuration `FILE` of edgedns")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	cmd.MarkFlagsMutuallyExclusive("socket", "config")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

func (o *asking) client() (*dnsapi.Client, error) {
	if o.config == "" {
		return dnsapi.NewClient(o.socket), nil
	}
	f, err := os.Open(o.config)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cfg, err := config.ParseDNS(o.config, f)
	switch {
	case err != nil:
		return nil, err
	case cfg.Admin.Socket == "":
		return nil, fmt.Errorf("%s: names no socket to ask: add admin: {socket: %s}", o.config, dnsapi.DefaultSocket)
	default:
		return dnsapi.NewClient(cfg.Admin.Socket), nil
	}
}

// show writes v as it was asked for.
func show[T any](w io.Writer, format string, v T, text func(T, time.Time) string) error {
	switch format {
	case "table":
		_, err := io.WriteString(w, text(v, time.Now()))
		return err
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	default:
		return fmt.Errorf("--output %s: must be table or json", format)
	}
}

func queryCommand() *cobra.Command {
	var o asking
	var client, subnet string
	cmd := &cobra.Command{
		Use:   "query NAME [TYPE]",
		Short: "Show what would be answered now, among which endpoints, and why",
		Long: "query asks the edgedns of this host what it would answer to a client now, and prints the decision: who was there to\n" +
			"be picked, with states, weights and ages of loads, who is, and why. It takes nobody's turn. TYPE is AAAA by default.\n\n" +
			"Status 0: the answer holds records. 2: it does not, such as NXDOMAIN or REFUSED. 1: nobody could be asked.",
		Example: "  edgedns query api.edge.example\n" +
			"  edgedns query api.edge.example A --client 10.1.2.3\n" +
			"  edgedns query api.edge.example --client 2001:db8::53 --subnet 2001:db8:7::/56\n" +
			"  edgedns query api.edge.example -o json | jq -r '.candidates[] | select(.picked) | .address'",
		Args: cobra.RangeArgs(1, 2), ValidArgsFunction: o.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			q, err := questionOf(args, client, subnet)
			if err != nil {
				return err
			}
			c, err := o.client()
			if err != nil {
				return err
			}
			d, err := c.Why(cmd.Context(), q)
			if err != nil {
				return err
			}
			if err := show(cmd.OutOrStdout(), o.output, d, decisionText); err != nil {
				return err
			}
			if len(d.Answer) == 0 {
				return errNothing
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&client, "client", "", "the `ADDRESS` that the question comes from (default ::1)")
	cmd.Flags().StringVar(&subnet, "subnet", "", "the client's `PREFIX` that a resolver would tell (ECS)")
	return o.flags(cmd)
}

func questionOf(args []string, client, subnet string) (q dnsapi.Question, err error) {
	q.Name = args[0]
	if len(args) > 1 {
		q.Type = args[1]
	}
	if client != "" {
		if q.Client, err = netip.ParseAddr(client); err != nil {
			return q, fmt.Errorf("--client %s: must be an IP address", client)
		}
	}
	if subnet != "" {
		if q.Subnet, err = netip.ParsePrefix(subnet); err != nil {
			return q, fmt.Errorf("--subnet %s: must be a prefix, such as 2001:db8::/56", subnet)
		}
	}
	return q, nil
}

func servicesCommand() *cobra.Command {
	var o asking
	var synced bool
	cmd := &cobra.Command{
		Use:   "services [NAME]",
		Short: "Show the services, or the endpoints of one",
		Example: "  edgedns services\n" +
			"  edgedns services api.edge.example\n" +
			"  edgedns services -o json | jq -r '.services[] | select(.panic) | .name'",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: o.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return o.showStatus(cmd, c, synced)
			}
			s, err := c.Service(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), o.output, s, serviceText)
		},
	}
	cmd.Flags().BoolVar(&synced, "synced", false, "for probes, without NAME: status 2 while not everything is known that answers are made of")
	return o.flags(cmd)
}

func (o *asking) showStatus(cmd *cobra.Command, c *dnsapi.Client, synced bool) error {
	s, err := c.Status(cmd.Context())
	if err != nil {
		return err
	}
	if err := show(cmd.OutOrStdout(), o.output, s, statusText); err != nil {
		return err
	}
	if synced && !s.Synced {
		return errNotSynced
	}
	return nil
}

func drainCommand() *cobra.Command {
	return orderCommand("drain NAME ADDRESS", "Give an endpoint nothing new",
		"drain leaves an endpoint out of the answers for a service, while others are there: what has connections keeps them, and\n"+
			"resolvers keep what they were told for its TTL. It lasts until undrain, also when the configuration is reloaded; when\n"+
			"edgedns is restarted only if its file names a place to keep drains (admin: {drains: FILE}). The command tells which.",
		"  edgedns drain api.edge.example 2001:db8:1::10", (*dnsapi.Client).Drain)
}

func undrainCommand() *cobra.Command {
	return orderCommand("undrain NAME ADDRESS", "Take a drain back",
		"undrain has an endpoint answered again, if it is up. It takes back what drain asked for, not what the source says.",
		"  edgedns undrain api.edge.example 2001:db8:1::10", (*dnsapi.Client).Undrain)
}

func orderCommand(use, short, long, example string, give func(*dnsapi.Client, context.Context, string, netip.Addr) (dnsapi.Drained, error)) *cobra.Command {
	var o asking
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: cobra.ExactArgs(2), ValidArgsFunction: o.completeEndpoint,
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := netip.ParseAddr(args[1])
			if err != nil {
				return fmt.Errorf("%s: must be the address of an endpoint", args[1])
			}
			c, err := o.client()
			if err != nil {
				return err
			}
			d, err := give(c, cmd.Context(), args[0], a)
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), o.output, d, drainedText)
		},
	}
	return o.flags(cmd)
}

// complete is for the shell: the names of services.
func (o *asking) complete(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	c, err := o.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	s, err := c.Status(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, one := range s.Services {
		names = append(names, one.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeEndpoint is for the shell: the name of a service, then the addresses of its endpoints.
func (o *asking) completeEndpoint(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return o.complete(cmd, args, typed)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	c, err := o.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	s, err := c.Service(ctx, args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var addresses []string
	for _, e := range s.List {
		addresses = append(addresses, e.Address.String())
	}
	return addresses, cobra.ShellCompDirectiveNoFileComp
}
