// Command edgedns answers DNS queries with the addresses of a site's own healthy pods.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/manual"
	"github.com/anyedge/anyedge/internal/program"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := command(stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	switch err := cmd.ExecuteContext(ctx); {
	case errors.Is(err, errNothing), errors.Is(err, errNotSynced):
		return 2 // which was shown
	case err != nil:
		// A configuration may have several errors, one a line.
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintln(stderr, "edgedns:", strings.TrimSuffix(line, "\n"))
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

func command(stderr io.Writer) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "edgedns --config FILE",
		Short: "Answer DNS queries with the addresses of this site's own pods",
		Long: "edgedns is the authoritative DNS server of a site: it answers for the services of its configuration with the\n" +
			"addresses of endpoints that work, over UDP and TCP, also at anycast addresses that are not on the host yet.\n" +
			"SIGHUP reads the configuration again; a bad one changes nothing. SIGTERM ends it; a second one does not wait.\n" +
			"Its commands talk to the edgedns that runs on this host, over its socket (admin: {socket: ...} in its file).",
		Example: "  edgedns --config /etc/anyedge/edgedns.yaml --check-config\n" +
			"  edgedns --config /etc/anyedge/edgedns.yaml --log-format json\n" +
			"  edgedns query api.edge.example\n" +
			"  edgedns drain api.edge.example 2001:db8:1::10",
		Version:       program.Version(),
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return o.run(cmd, stderr) },
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the configuration `FILE`")
	f.BoolVar(&o.check, "check-config", false, "check the configuration, open nothing, and exit: 0 when it is good")
	f.StringVar(&o.logFormat, "log-format", "text", "text or json")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	cmd.AddCommand(queryCommand(), servicesCommand(), drainCommand(), undrainCommand())
	return manual.Add(cmd)
}

func (o options) run(cmd *cobra.Command, stderr io.Writer) error {
	if o.config == "" {
		return fmt.Errorf("which configuration? --config FILE is needed")
	}
	log, err := program.Logger(stderr, o.logFormat, o.logLevel)
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
	log.Info("edgedns starts", "version", program.Version(), "config", o.config, "site", cfg.Site)
	ctx, hangups, release := onSignals(cmd.Context())
	defer release()
	if err := serve(ctx, o.config, cfg, log, hangups); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// load reads a configuration.
func load(path string) (config.DNS, error) {
	f, err := os.Open(path)
	if err != nil {
		return config.DNS{}, err
	}
	defer f.Close()
	return config.ParseDNS(path, f)
}
