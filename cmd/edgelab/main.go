// Command edgelab runs multi-site labs on one machine: topology, faults, experiments, reports.
package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/manual"
	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/pkg/lab"
)

func main() { os.Exit(run()) }

// run returns the exit status.
func run() int {
	// The process inside dies with the thread that started it: keep that thread.
	runtime.LockOSThread()
	err := command().Execute()
	if err == nil {
		return 0
	}
	if !errors.Is(err, errTold) {
		fmt.Fprintln(os.Stderr, "edgelab:", err)
	}
	return 1
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:   "edgelab",
		Short: "Run multi-site anycast labs on one machine",
		Long: "edgelab runs containerlab topology files in network namespaces, breaks things in them on purpose,\n" +
			"and measures how long clients notice.",
		Example: "  edgelab up quickstart\n" +
			"  edgelab exec quickstart client -- edgeprobe run --target '[2001:db8:80::80]:7000'\n" +
			"  edgelab down quickstart\n" +
			"  edgelab run quickstart service-kill --runs 20 --probe-interval 1ms",
		Version:       program.Version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	var labs string
	root.PersistentFlags().StringVar(&labs, "labs", "", "directory of the labs (default: labs/containerlab here or beside the programs)")
	root.AddCommand(listCommand(&labs), upCommand(&labs), runCommand(&labs), demoCommand(&labs), execCommand(), downCommand(), viewCommand(&labs), compareCommand(), tableCommand(), graphCommand(&labs),
		nodeCommand(), routerCommand(), frrCommand(), birdCommand(), renderCommand(&labs), insideCommand())
	return manual.Add(root)
}

// insideCommand is what the lab runtime runs itself; see lab.RunInside.
func insideCommand() *cobra.Command {
	return &cobra.Command{
		Use: lab.Inside, Hidden: true, Args: cobra.ExactArgs(1), DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return lab.RunInside(args[0]) },
	}
}

func logger() *slog.Logger { return slog.New(slog.NewTextHandler(os.Stderr, nil)) }
