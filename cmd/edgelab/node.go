package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/pkg/bgp/router"
	"github.com/anyedge/anyedge/pkg/lab"
	"github.com/anyedge/anyedge/pkg/session"
)

func nodeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "node FILE [-- CMD [ARG...]]...",
		Short: "Give this network namespace its addresses, routes and settings, then wait",
		Long: "node is what a node of a lab runs: it waits for the interfaces that FILE names, applies their addresses, the\n" +
			"settings and the routes through netlink, and waits for SIGTERM. It leaves everything as it set it.\n" +
			"Programs after a -- each are started then and run beside it; one that ends is not started again.",
		Example: "  edgelab node /etc/anyedge/node.yaml\n" +
			"  edgelab node /etc/anyedge/node.yaml -- edgeagent --config agent.yaml -- edgedns --config dns.yaml",
		Args: oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			setup, err := readSetup(args[0])
			if err != nil {
				return err
			}
			if setup.Router != nil {
				return fmt.Errorf("%s: router: this file is for `edgelab router`", args[0])
			}
			more, err := programs(args[1:])
			if err != nil {
				return err
			}
			return untilSignal(func(ctx context.Context) error {
				if err := setup.Apply(ctx, logger()); err != nil {
					return err
				}
				logger().Info("node is set up", "version", program.Version(), "file", args[0])
				return beside(ctx, more)
			})
		},
	}
}

func routerCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "router FILE [-- CMD [ARG...]]...",
		Short: "Like node, and speak eBGP to its neighbors",
		Long: "router applies FILE as node does, then originates the connected prefixes and those that FILE lists, and writes\n" +
			"its neighbors' best paths, ECMP included, to the kernel's table. A link that goes down ends its sessions at once.",
		Example: "  edgelab router /etc/anyedge/router.yaml",
		Args:    oneFile,
		RunE: func(_ *cobra.Command, args []string) error {
			setup, err := readSetup(args[0])
			if err != nil {
				return err
			}
			if setup.Router == nil {
				return fmt.Errorf("%s: router: is missing: this file is for `edgelab node`", args[0])
			}
			more, err := programs(args[1:])
			if err != nil {
				return err
			}
			r, err := router.New(*setup.Router, logger())
			if err != nil {
				return err
			}
			watched, err := session.New(logger(), r, nil, setup.BFD...)
			if err != nil {
				return err
			}
			return untilSignal(func(ctx context.Context) error {
				if err := setup.Apply(ctx, logger()); err != nil {
					return err
				}
				logger().Info("node is set up", "version", program.Version(), "file", args[0])
				g, ctx := errgroup.WithContext(ctx)
				if len(setup.BFD) > 0 {
					g.Go(func() error { return watched.Run(ctx) })
				}
				g.Go(func() error { return r.Run(ctx) })
				g.Go(func() error { return beside(ctx, more) })
				return g.Wait()
			})
		},
	}
}

func readSetup(path string) (lab.Setup, error) {
	f, err := os.Open(path)
	if err != nil {
		return lab.Setup{}, err
	}
	defer f.Close()
	return config.ParseSetup(path, f)
}

// untilSignal runs fn until SIGINT or SIGTERM.
func untilSignal(fn func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return fn(ctx)
}
