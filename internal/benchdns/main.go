// Command benchdns measures DNS servers beside each other: one core for the server, another for the generator, everything in one
// interleaved run. It is `make bench-dns`, and not part of the product.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/spf13/cobra"
)

func main() {
	runtime.LockOSThread() // a thread that ends takes the servers with it that it started: this one does not
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "benchdns:", err)
		os.Exit(1)
	}
}

type options struct {
	dir, bin, output string
	only             []string
	rounds           int
	seconds          float64
	rate             int
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use: "benchdns --dir DIR --bin DIR", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		Short: "Measure DNS servers beside each other",
		RunE:  func(*cobra.Command, []string) error { return o.run() },
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", "out/bench-dns", "the `DIR` for the servers' files")
	f.StringVar(&o.bin, "bin", "bin", "the `DIR` with edgedns, coredns and dnsgen")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	f.StringSliceVar(&o.only, "only", nil, "the `SERVERS` to measure; all by default")
	f.IntVar(&o.rounds, "rounds", 5, "how often everything is measured")
	f.Float64Var(&o.seconds, "seconds", 1, "how long one measurement takes")
	f.IntVar(&o.rate, "rate", 50000, "queries a second of the open loop that tells latency")
	cmd.AddCommand(
		&cobra.Command{Use: "echo ADDR", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			addr, err := netip.ParseAddrPort(args[0])
			if err != nil {
				return err
			}
			return echo(addr)
		}},
		&cobra.Command{Use: "bare ADDR CHANGES", Hidden: true, Args: cobra.ExactArgs(2), RunE: func(_ *cobra.Command, args []string) error {
			addr, err := netip.ParseAddrPort(args[0])
			if err != nil {
				return err
			}
			changes, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			return bare(context.Background(), addr, changes)
		}})
	return cmd
}

func (o options) run() error {
	all, err := o.start()
	defer func() {
		for _, s := range all {
			s.end()
		}
	}()
	if err != nil {
		return err
	}
	loads := []load{
		{name: "random names", queries: queriesRandom, seconds: o.seconds},
		{name: "30 % NXDOMAIN", queries: queriesMissing, seconds: o.seconds},
		{name: "one name", queries: queriesRandom, hot: true, seconds: o.seconds},
		{name: fmt.Sprintf("%d q/s", o.rate), queries: queriesRandom, rate: o.rate, seconds: o.seconds},
	}
	rows, err := compare(loads, all, o.rounds, func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err != nil {
		return err
	}
	if o.output == "json" {
		err = json.NewEncoder(os.Stdout).Encode(rows)
	} else {
		err = printTable(os.Stdout, rows)
	}
	if n := wrongAnswers(rows); n > 0 {
		return fmt.Errorf("%d wrong answers", n)
	}
	return err
}

// start starts the servers that are wanted; those that run are returned with an error too.
func (o options) start() (running []*server, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	generator = filepath.Join(o.bin, "dnsgen")
	queriesRandom, queriesMissing = filepath.Join(dir, "random"), filepath.Join(dir, "missing")
	if err := writeQueries(queriesRandom, 0); err != nil {
		return nil, err
	}
	if err := writeQueries(queriesMissing, 3); err != nil {
		return nil, err
	}
	for _, s := range servers(self, o.bin) {
		if !o.wants(s) {
			continue
		}
		running = append(running, s)
		if err := s.start(dir); err != nil {
			return running, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return running, nil
}

func (o options) wants(s *server) bool {
	if len(o.only) == 0 {
		return true
	}
	for _, name := range o.only {
		if s.name == name {
			return true
		}
	}
	return false
}
