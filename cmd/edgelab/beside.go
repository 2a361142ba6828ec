package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// stopLimit is how long the programs beside a node may take to end: an agent drains first.
const stopLimit = 15 * time.Second

// oneFile takes FILE and, after a --, the programs to run beside the node.
func oneFile(cmd *cobra.Command, args []string) error {
	files := len(args)
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		files = dash
	}
	if files != 1 {
		return fmt.Errorf("%s takes one FILE, then -- CMD for each program beside it", cmd.Name())
	}
	return nil
}

// programs splits "CMD ARG... -- CMD ARG...".
func programs(words []string) ([][]string, error) {
	var all [][]string
	for len(words) > 0 {
		end := slices.Index(words, "--")
		if end < 0 {
			end = len(words)
		}
		if end == 0 {
			return nil, fmt.Errorf("a program is missing beside --")
		}
		all = append(all, words[:end])
		words = words[min(end+1, len(words)):]
	}
	return all, nil
}

// beside runs programs until ctx is done, then ends them. One that ends earlier is told and not started again: in a lab
// somebody may have killed it on purpose.
func beside(ctx context.Context, all [][]string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { <-ctx.Done(); return nil })
	for _, words := range all {
		g.Go(func() error { return oneBeside(ctx, words) })
	}
	return g.Wait()
}

// oneBeside returns an error only when the program cannot be started.
func oneBeside(ctx context.Context, words []string) error {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = stopLimit
	if err := cmd.Start(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("program beside the node: %w", err)
	}
	if cmd.Process == nil {
		return nil // the others are ending already
	}
	if err := cmd.Wait(); ctx.Err() == nil {
		logger().Warn("a program beside the node has ended", "program", words[0], "pid", cmd.Process.Pid, "err", err)
	}
	return nil
}
