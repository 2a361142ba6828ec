package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/internal/report"
	"github.com/anyedge/anyedge/pkg/probe"
)

// dnsPort is the port of DNS servers (RFC 1035).
const dnsPort = 53

// probeFlags are those of `edgeprobe run`.
type probeFlags struct {
	target, source     string
	interval, duration time.Duration
	dns, dnsType       string
	json, events       string
	html               string
	points             int
}

func newProbe() *cobra.Command {
	var f probeFlags
	cmd := &cobra.Command{
		Use:   "run --target ADDR:PORT",
		Short: "Probe an anycast service: who answers, what is lost, how long repair takes",
		Long: `Probe an anycast service on an exact schedule: who answers, what is lost, how long repair takes.

A probe unanswered after 1 s is lost. MTTR is lost probes x interval. Ends after --duration or on Ctrl-C, with the
result either way. docs/probe.md says what each number means.`,
		Example: `  edgeprobe run --target [2001:db8:80::80]:7000 --interval 1ms --duration 10s
  edgeprobe run --target [2001:db8:53::53]:53 --dns api.edge.example. --json result.json --html report.html
  edgeprobe run --target 192.0.2.80:7000 --duration 0 --events -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runProbe(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.target, "target", "", "`ADDR:PORT` of the service (port 53 by default with --dns)")
	flags.StringVar(&f.source, "source", "", "`ADDR` to send from")
	flags.DurationVar(&f.interval, "interval", 10*time.Millisecond, "between two probes")
	flags.DurationVar(&f.duration, "duration", 30*time.Second, "how long to send; 0: until interrupted")
	flags.StringVar(&f.dns, "dns", "", "send DNS queries for `QNAME` instead")
	flags.StringVar(&f.dnsType, "type", "AAAA", "`TYPE` of the DNS queries")
	flags.StringVar(&f.json, "json", "", "write the result as JSON to `FILE`, - for stdout")
	flags.IntVar(&f.points, "points", 1000, "of the course of the run in the result, at most")
	flags.StringVar(&f.html, "html", "", "write the result as a page with pictures to `FILE`")
	flags.StringVar(&f.events, "events", "", "write what happens as JSON lines to `FILE`, - for stdout")
	return cmd
}

func (f probeFlags) config() (cfg probe.ProberConfig, err error) {
	port := uint16(0)
	if f.dns != "" {
		port = dnsPort
		cfg.Question = &probe.Question{Name: f.dns, Type: f.dnsType}
	}
	if f.target == "" {
		return cfg, errors.New("--target is missing: ADDR:PORT of the service")
	}
	if f.json == "-" && f.events == "-" {
		return cfg, errors.New("--json - and --events -: only one of them can have stdout")
	}
	if f.html == "-" {
		return cfg, errors.New("--html -: must be a file")
	}
	if cfg.Target, err = parseAddress("--target", f.target, port); err != nil {
		return cfg, err
	}
	if f.source != "" {
		if cfg.Source, err = netip.ParseAddr(f.source); err != nil {
			return cfg, fmt.Errorf("--source %q: want an address", f.source)
		}
	}
	cfg.Interval, cfg.Duration, cfg.Points = f.interval, f.duration, f.points
	return cfg, nil
}

func runProbe(cmd *cobra.Command, f probeFlags) (err error) {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	if _, err := probe.NewProber(cfg); err != nil {
		return err // before any file is touched
	}
	result, err := openOutput(f.json, cmd.OutOrStdout())
	if err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	events, err := openOutput(f.events, cmd.OutOrStdout())
	if err != nil {
		return fmt.Errorf("--events: %w", err)
	}
	defer func() { err = errors.Join(err, events.Close()) }()
	page, err := openOutput(f.html, cmd.OutOrStdout())
	if err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	defer func() { err = errors.Join(err, page.Close()) }()

	machines := f.json == "-" || f.events == "-"
	watchers := watchers{events: json.NewEncoder(events)}
	if live := liveTerminal(cmd.OutOrStdout(), cmd.ErrOrStderr(), machines); live != nil {
		watchers.progress = &progress{terminal: live}
	}
	cfg.OnEvent = watchers.see
	p, err := probe.NewProber(cfg)
	if err != nil {
		return err
	}
	report, err := p.Run(cmd.Context())
	if err := watchers.close(); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	if f.html != "" {
		if err := writePage(report, page, f); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	return writeReport(report, result, summaryOutput(cmd, machines))
}

// summaryOutput is where people read, given that stdout is for machines only.
func summaryOutput(cmd *cobra.Command, machines bool) io.Writer {
	if machines {
		return cmd.ErrOrStderr()
	}
	return cmd.OutOrStdout()
}

// writePage writes the result with pictures, and how to get it again.
func writePage(r probe.Report, page io.Writer, f probeFlags) error {
	command := fmt.Sprintf("edgeprobe run --target %s --interval %s --duration %s", f.target, f.interval, f.duration)
	if f.dns != "" {
		command += fmt.Sprintf(" --dns %s --type %s", f.dns, f.dnsType)
	}
	if f.source != "" {
		command += " --source " + f.source
	}
	return report.Probe(page, r, program.Version(), command)
}

func writeReport(r probe.Report, result, summary io.Writer) error {
	enc := json.NewEncoder(result)
	enc.SetIndent("", "  ")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	return r.WriteText(summary)
}

// watchers show what happens while it happens.
type watchers struct {
	events   *json.Encoder
	err      error     // of events: told at the end, the measurement is worth more
	progress *progress // nil: no terminal
}

func (w *watchers) see(e probe.Event) {
	if w.err == nil {
		w.err = w.events.Encode(e) // unbuffered: each line is there at once
	}
	if w.progress != nil && e.Event == "progress" {
		w.progress.show(e)
	}
}

func (w *watchers) close() error {
	if w.progress != nil {
		w.progress.clear()
	}
	if w.err != nil {
		return fmt.Errorf("--events: %w", w.err)
	}
	return nil
}
