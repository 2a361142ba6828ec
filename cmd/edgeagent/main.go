// Command edgeagent announces the service addresses of an edge host by BGP exactly while the services work.
package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/manual"
	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/pkg/bgp"
)

func main() { os.Exit(run()) }

// run returns the exit status.
func run() int {
	if err := command().Execute(); err != nil {
		// A configuration may have several errors, one a line.
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintln(os.Stderr, "edgeagent:", strings.TrimSuffix(line, "\n"))
		}
		return 1
	}
	return 0
}

// options are the flags.
type options struct {
	config, logFormat, logLevel string
	check                       bool
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "edgeagent --config FILE",
		Short: "Announce the service addresses of this host by BGP while the services work",
		Long: "edgeagent runs on every edge host: it checks services, puts their addresses on the host, and announces them to the\n" +
			"rack's routers exactly while they work. SIGTERM withdraws, waits until what is under way is served, and leaves\n" +
			"no address behind; a second one does not wait. What it decides is in its journal, its log and its metrics.",
		Example: "  edgeagent --config /etc/anyedge/agent.yaml --check-config\n" +
			"  edgeagent --config /etc/anyedge/agent.yaml --log-format json",
		Version:       program.Version(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the configuration `FILE`")
	f.BoolVar(&o.check, "check-config", false, "check the configuration, open nothing, and exit: 0 when it is good")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	return manual.Add(cmd)
}

func (o options) run(cmd *cobra.Command) error {
	if o.config == "" {
		return fmt.Errorf("which configuration? --config FILE is needed")
	}
	sink := newLogSink(os.Stderr)
	log, err := program.Logger(sink, o.logFormat, o.logLevel)
	if err != nil {
		return err
	}
	cfg, err := load(o.config)
	if err != nil {
		return err
	}
	if o.check {
		fmt.Fprintln(cmd.OutOrStdout(), o.config+": ok")
		return nil
	}
	ctx, hurry, release := onSignals(cmd.Context(), log)
	defer release()
	defer sink.start()()
	log.Info("edgeagent starts", "version", program.Version(), "config", o.config, "site", cfg.Site)
	return serve(ctx, hurry, cfg, log)
}

// load reads and checks everything that can be wrong without looking at the machine.
func load(path string) (config.Agent, error) {
	f, err := os.Open(path)
	if err != nil {
		return config.Agent{}, err
	}
	defer f.Close()
	cfg, err := config.ParseAgent(path, f)
	if err != nil {
		return config.Agent{}, err
	}
	if _, err := bgp.NewSpeaker(cfg.BGP, slog.New(slog.DiscardHandler)); err != nil {
		return config.Agent{}, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}
