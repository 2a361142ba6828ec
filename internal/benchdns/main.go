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
	services         int
	changes          int
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
	f.IntVar(&o.services, "cluster", 0, "measure those that read a Kubernetes API, with so many `SERVICES` in it")
	f.IntVar(&o.changes, "changes", 300, "of endpoints in the cluster, one after the other, to see when they are answered")
	cmd.AddCommand(
		&cobra.Command{Use: "echo ADDR", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			addr, err := netip.ParseAddrPort(args[0])
			if err != nil {
				return err
			}
			return echo(addr)
		}},
		&cobra.Command{Use: "bare ADDR", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(_ *cobra.Command, args []string) error {
			addr, err := netip.ParseAddrPort(args[0])
			if err != nil {
				return err
			}
			return bare(context.Background(), addr, none, 0)
		}},
		&cobra.Command{Use: "changing ADDR CHANGES", Hidden: true, Args: cobra.ExactArgs(2), RunE: func(_ *cobra.Command, args []string) error {
			addr, err := netip.ParseAddrPort(args[0])
			if err != nil {
				return err
			}
			changes, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			return bare(context.Background(), addr, shipped, changes)
		}})
	return cmd
}

func (o options) run() error {
	if o.services > 0 {
		return o.runCluster()
	}
	all, err := o.start(zoneName, names, o.servers)
	defer end(all)
	if err != nil {
		return err
	}
	rows, err := o.measure(all)
	if err != nil {
		return err
	}
	if err := o.print(rows, func() error { return printTable(os.Stdout, rows) }); err != nil {
		return err
	}
	return rightAnswers(rows)
}

func end(all []*server) {
	for _, s := range all {
		s.end()
	}
}

// measure has every server bear every load.
func (o options) measure(all []*server) ([]row, error) {
	loads := []load{
		{name: "random names", queries: queriesRandom, seconds: o.seconds},
		{name: "30 % NXDOMAIN", queries: queriesMissing, seconds: o.seconds},
		{name: "one name", queries: queriesRandom, hot: true, seconds: o.seconds},
		{name: fmt.Sprintf("%d q/s", o.rate), queries: queriesRandom, rate: o.rate, seconds: o.seconds},
	}
	return compare(loads, all, o.rounds, progress)
}

func progress(s string) { fmt.Fprintln(os.Stderr, s) }

// print prints what was measured for machines, or the table for people.
func (o options) print(measured any, table func() error) error {
	if o.output == "json" {
		return json.NewEncoder(os.Stdout).Encode(measured)
	}
	return table()
}

func (o options) servers() ([]*server, error) {
	self, err := os.Executable()
	return servers(self, o.bin), err
}

// start starts the servers that are wanted of those that list returns, and says what they are asked for: n names below a zone.
// Those that run are returned with an error too.
func (o options) start(below string, n int, list func() ([]*server, error)) (running []*server, err error) {
	all, err := list()
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
	if err := writeQueries(queriesRandom, below, n, 0); err != nil {
		return nil, err
	}
	if err := writeQueries(queriesMissing, below, n, 3); err != nil {
		return nil, err
	}
	for _, s := range all {
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
