package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/pkg/siteapi"
)

func statusCommand(o *options) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show services, checks and BGP sessions",
		Example: "  edgectl status\n  edgectl status -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			show, err := formatted(format)
			if err != nil {
				return err
			}
			s, err := o.client().Status(cmd.Context())
			if err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), s)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

func formatted(format string) (func(io.Writer, siteapi.Status) error, error) {
	switch format {
	case "table":
		return table, nil
	case "json":
		return func(w io.Writer, s siteapi.Status) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(s)
		}, nil
	default:
		return nil, fmt.Errorf("--output %s: must be table or json", format)
	}
}

// table shows a status to people.
func table(w io.Writer, s siteapi.Status) error {
	var b strings.Builder
	fmt.Fprintf(&b, "site %s, edgeagent %s\n\n", s.Site, s.Version)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SERVICE\tSTATE\tFOR\tVIPS\tREASON")
	for _, one := range s.Services {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", one.Name, one.State, ago(one.Since), vips(one.VIPs), one.Reason)
	}
	fmt.Fprintln(t, "\t\t\t\t\nCHECK\tSTATE\tFOR\t\tREASON")
	for _, one := range s.Services {
		for _, c := range one.Checks {
			fmt.Fprintf(t, "%s/%s\t%s\t%s\t\t%s\n", one.Name, c.Name, c.State, ago(c.Since), c.Reason)
		}
	}
	fmt.Fprintln(t, "\t\t\t\t\nNEIGHBOR\tSESSION\tFOR\tAS\tREMARK")
	for _, n := range s.Neighbors {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\n", n.Address, n.State, ago(n.Since), n.ASN, remark(n))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) { // the columns of empty lines are blanks
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func vips(l []siteapi.VIP) string {
	var s []string
	for _, v := range l {
		text := v.Address.Addr().String()
		if v.Announce != v.Address {
			text += " (" + v.Announce.String() + ")"
		}
		s = append(s, text)
	}
	return strings.Join(s, " ")
}

func remark(n siteapi.Neighbor) string {
	if len(n.NotCarried) > 0 {
		return fmt.Sprintf("cannot carry %v", n.NotCarried)
	}
	return cmp.Or(strings.Join(n.Families, " "), n.Reason)
}

// ago tells how long something lasts, coarsely.
func ago(since time.Time) string {
	if since.IsZero() {
		return "-"
	}
	d := max(time.Since(since), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}
