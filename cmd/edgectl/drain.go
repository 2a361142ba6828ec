package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/pkg/siteapi"
)

// An order is drain or undrain.
type order struct {
	use, short, long, example string
	give                      func(*siteapi.Client, context.Context, string) (siteapi.Status, error)
	done                      func(siteapi.Service) bool
}

func drainCommand(o *options) *cobra.Command {
	return order{
		use:   "drain [SERVICE]",
		short: "Move traffic away from a service, or from all, without a loss",
		long: "drain announces the service de-preferred, so that routers move its traffic to other sites, waits drain.wait of the\n" +
			"agent's file, withdraws it, and waits until every router was told. It stays withdrawn until undrain, also when the\n" +
			"agent is restarted.",
		example: "  edgectl drain dns --wait && systemctl stop edgedns\n  edgectl drain --wait",
		give:    (*siteapi.Client).Drain,
		done:    func(s siteapi.Service) bool { return s.State == "drained" },
	}.command(o)
}

func undrainCommand(o *options) *cobra.Command {
	return order{
		use:   "undrain [SERVICE]",
		short: "Take a drain back",
		long: "undrain announces the service again: at once when it has been up for as long as settle says. It does not touch a drain\n" +
			"file: a service drained by that stays drained while the file exists.",
		example: "  edgectl undrain dns --wait",
		give:    (*siteapi.Client).Undrain,
		done:    func(s siteapi.Service) bool { return (s.State == "up" || s.State == "degraded") && s.Drain == "" },
	}.command(o)
}

func (r order) command(o *options) *cobra.Command {
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: r.use, Short: r.short, Long: r.long, Example: r.example,
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: o.completeServices,
		RunE: func(cmd *cobra.Command, args []string) error {
			service := ""
			if len(args) > 0 {
				if service = args[0]; service == "" {
					return errors.New("the service has no name; leave it out for all services")
				}
			}
			if _, err := r.give(o.client(), cmd.Context(), service); err != nil || !wait {
				return err
			}
			return r.wait(cmd.Context(), o.client(), service, timeout, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "return when it is done, and tell what happens until then")
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "how long --wait waits before it gives up; the order stands")
	return cmd
}

// errDone ends a watch.
var errDone = errors.New("done")

// wait tells every new state of the service, or of all, and returns when all are where they should be.
func (r order) wait(ctx context.Context, c *siteapi.Client, service string, timeout time.Duration, progress io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	told := make(map[string]string)
	var open *siteapi.Service // one that is not there yet
	err := c.Watch(ctx, func(s siteapi.Status) error {
		open = nil
		for _, one := range s.Services {
			if service != "" && one.Name != service {
				continue
			}
			if line := one.State + ": " + one.Reason; told[one.Name] != line {
				told[one.Name] = line
				fmt.Fprintf(progress, "%s %s\n", one.Name, line)
			}
			if !r.done(one) {
				open = &one
			}
		}
		if open == nil {
			return errDone
		}
		return nil
	})
	switch {
	case errors.Is(err, errDone):
		return nil
	case errors.Is(err, context.DeadlineExceeded) && open != nil:
		return fmt.Errorf("%s is still %s after %s (%s); the order stands", open.Name, open.State, timeout, open.Reason)
	default:
		return err
	}
}

// completeServices is for the shell.
func (o *options) completeServices(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return o.complete(cmd, args, func(s siteapi.Status) (names []string) {
		for _, one := range s.Services {
			names = append(names, one.Name)
		}
		return names
	})
}

// complete asks the agent for what the one argument may be.
func (o *options) complete(cmd *cobra.Command, args []string, names func(siteapi.Status) []string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
	defer cancel()
	s, err := o.client().Status(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return names(s), cobra.ShellCompDirectiveNoFileComp
}
