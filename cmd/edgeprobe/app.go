package main

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/pkg/app"
)

// appPort is where apps listen unless told otherwise.
const appPort = 8080

// appFlags are those of `edgeprobe app`; those of `respond` mean the same.
type appFlags struct {
	respondFlags
	maxRequests, cpus int
	grace             time.Duration
}

func newApp() *cobra.Command {
	var f appFlags
	cmd := &cobra.Command{
		Use:   "app --name NAME [--listen ADDR[:PORT]]...",
		Short: "Be a small service: HTTP that says who it is and costs what is asked for, probes over UDP",
		Long: `Be a small service to steer traffic to.

HTTP: GET / says who it is, in JSON; ?cpu=5ms burns that much CPU time first (up to 1s), ?delay=20ms waits (up to 30s).
GET /load tells the load in JSON, /metrics for Prometheus, /healthz that it runs. UDP on the same port answers the
packets of edgeprobe run. An address to listen on need not be on the host yet.

On SIGTERM or Ctrl-C it takes no further requests and lets those under way finish. docs/clients.md tells more.`,
		Example: `  edgeprobe app --name mec-1-pod1 --listen [2001:db8:1:a::10]:8080 --listen 10.1.10.10
  edgeprobe app --name laptop                          # all addresses, port 8080
  edgeprobe app --name slow --cpus 1 --max-requests 16
  curl 'http://[::1]:8080/?cpu=5ms&delay=20ms'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runApp(cmd, f) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.listen, "listen", nil, "`ADDR[:PORT]` to listen on; repeatable (default: all addresses)")
	flags.StringVar(&f.site, "name", "", "`NAME` that answers carry: up to 32 printable ASCII characters")
	flags.Uint16Var(&f.port, "port", appPort, "port of addresses that name none")
	flags.IntVar(&f.maxRequests, "max-requests", app.DefaultMaxRequests, "at a time; more are refused with 503")
	flags.IntVar(&f.cpus, "cpus", 0, "how many requests burn CPU at a time, the others queue; 0: as many as there are CPUs")
	flags.DurationVar(&f.grace, "grace", app.DefaultGrace, "for requests under way at the end")
	flags.StringVar(&f.logFormat, "log-format", "text", "text or json")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

func runApp(cmd *cobra.Command, f appFlags) error {
	log, err := program.Logger(cmd.ErrOrStderr(), f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	addrs, err := f.addresses()
	if err != nil {
		return err
	}
	if f.site == "" {
		return errors.New("--name is missing: the name that answers shall carry")
	}
	registry := prometheus.NewRegistry()
	a, err := app.New(app.Config{
		Name: f.site, Listen: addrs, MaxRequests: f.maxRequests, CPUs: f.cpus, Grace: f.grace, Gatherer: registry, Log: log,
	})
	if err != nil {
		return err
	}
	for _, c := range []prometheus.Collector{a, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	log.Info("edgeprobe app", "version", program.Version(), "name", f.site, "listen", addrs)
	return a.Run(cmd.Context())
}
