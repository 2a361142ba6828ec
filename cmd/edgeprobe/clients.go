package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/anyedge/anyedge/pkg/client"
)

// clientFlags are those that `edgeprobe dns` and `edgeprobe http` share.
type clientFlags struct {
	load         client.Load
	server, name string
	spacing      string
	json         string
}

func (f *clientFlags) add(cmd *cobra.Command, timeout time.Duration) {
	flags := cmd.Flags()
	flags.StringVar(&f.server, "server", "", "`ADDR[:PORT]` of the DNS server (port 53 by default)")
	flags.StringVar(&f.name, "name", "", "`NAME` of the service")
	flags.IntVar(&f.load.Clients, "clients", 1, "how many are simulated")
	flags.Float64Var(&f.load.Rate, "rate", 100, "requests per second of all clients together")
	flags.StringVar(&f.spacing, "spacing", "poisson", "of requests: poisson (random and independent) or fixed")
	flags.Uint64Var(&f.load.Seed, "seed", 1, "of what is random")
	flags.DurationVar(&f.load.Duration, "duration", 10*time.Second, "how long; 0: until interrupted")
	flags.DurationVar(&f.load.Timeout, "timeout", timeout, "of a request, from the moment when it is due")
	flags.StringVar(&f.json, "json", "", "write the result as JSON to `FILE`, - for stdout")
}

// check completes the load and returns the server.
func (f *clientFlags) check() (netip.AddrPort, error) {
	switch {
	case f.server == "":
		return netip.AddrPort{}, errors.New("--server is missing: ADDR[:PORT] of the DNS server")
	case f.name == "":
		return netip.AddrPort{}, errors.New("--name is missing: the name of the service")
	case f.spacing != "poisson" && f.spacing != "fixed":
		return netip.AddrPort{}, fmt.Errorf("--spacing %q: want poisson or fixed", f.spacing)
	}
	f.load.Fixed = f.spacing == "fixed"
	return parseAddress("--server", f.server, dnsPort)
}

// A clientReport is what simulated clients found.
type clientReport interface{ WriteText(w io.Writer) error }

// simulate runs clients and shows their progress and what they found. run gets the load with its OnStatus.
func (f *clientFlags) simulate(cmd *cobra.Command, run func(onStatus func(client.Status)) (clientReport, error)) (err error) {
	result, err := openOutput(f.json, cmd.OutOrStdout())
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	machines := f.json == "-"
	var onStatus func(client.Status)
	live := liveTerminal(cmd.OutOrStdout(), cmd.ErrOrStderr(), machines)
	if live != nil {
		onStatus = func(s client.Status) { showStatus(live, s) }
	}
	report, err := run(onStatus)
	if live != nil {
		fmt.Fprint(live, "\r\x1b[K")
	}
	if err != nil {
		return err
	}
	enc := json.NewEncoder(result)
	enc.SetIndent("", "  ")
	if err := enc.Encode(report); err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return report.WriteText(summaryOutput(cmd, machines))
}

func showStatus(terminal *os.File, s client.Status) {
	width, _, err := term.GetSize(int(terminal.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	line := statusLine(s)
	// A full last column makes some terminals wrap.
	fmt.Fprint(terminal, "\r\x1b[K", line[:min(len(line), width-1)])
}

func statusLine(s client.Status) string {
	return strings.Join([]string{
		fmt.Sprintf("OK %d", s.OK), fmt.Sprintf("failed %d", s.Failed), fmt.Sprintf("under way %d", s.InFlight),
		fmt.Sprintf("latency %.2f ms", s.LatencyMs), fmt.Sprintf("due %d", s.Due),
	}, "  ")
}
