package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/pkg/lab"
)

func frrCommand() *cobra.Command {
	return imageCommand("frr", "FRR", lab.RunFRR,
		"frr is what a node of image frr runs: it starts the daemons that /etc/frr/daemons names (bgpd and bfdd without that\n"+
			"file, zebra and staticd always), gives them /etc/frr/frr.conf, and ends them with itself. They run as the user\n"+
			"that calls it. vtysh works beside it.")
}

func birdCommand() *cobra.Command {
	return imageCommand("bird", "BIRD", lab.RunBIRD,
		"bird is what a node of image bird runs: BIRD with /etc/bird/bird.conf, ended with itself. birdc works beside it.\n"+
			"BIRD sets no addresses: name a FILE.")
}

// imageCommand runs another maker's router in this network namespace.
func imageCommand(name, title string, run func(context.Context, *slog.Logger) error, long string) *cobra.Command {
	return &cobra.Command{
		Use:     name + " [FILE]",
		Short:   "Be a router of " + title + ", after applying FILE as node does",
		Long:    long,
		Example: "  edgelab " + name + "\n  edgelab " + name + " /etc/anyedge/node.yaml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var setup lab.Setup
			if len(args) > 0 {
				var err error
				if setup, err = readSetup(args[0]); err != nil {
					return err
				}
				if setup.Router != nil {
					return fmt.Errorf("%s: router: this file is for `edgelab router`", args[0])
				}
			}
			return untilSignal(func(ctx context.Context) error {
				if err := setup.Apply(ctx, logger()); err != nil {
					return err
				}
				logger().Info("node is set up", "version", program.Version())
				return run(ctx, logger())
			})
		},
	}
}
