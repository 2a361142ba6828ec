package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/pkg/client"
)

// httpFlags are those of `edgeprobe http` alone.
type httpFlags struct {
	ttl, order string
	cfg        client.HTTPConfig
}

func newHTTP() *cobra.Command {
	var f clientFlags
	var h httpFlags
	cmd := &cobra.Command{
		Use:   "http --server ADDR[:53] --name NAME --port PORT",
		Short: "Simulate clients of an HTTP service that DNS steers: latency, errors, gaps, the share of each pod",
		Long: `Simulate clients of an HTTP service that DNS steers.

Each client asks for the addresses of the name (AAAA and A), keeps them for their TTL, and connects to the pod itself by
Happy Eyeballs (RFC 8305). What cannot connect asks the DNS server again. Requests come on a schedule that waits for
nothing; latency counts from the moment when a request was due. docs/clients.md tells more.`,
		Example: `  edgeprobe http --server 2001:db8:53::53 --name api.edge.example. --port 8080 --clients 1000 --rate 200
  edgeprobe http --server [::1]:5353 --name api.edge.example. --port 8080 --path '/?cpu=2ms' --ttl ignore --json result.json
  edgeprobe http --server 192.0.2.53 --name api.edge.example. --port 8080 --keep-alive --spacing fixed --duration 0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return simulateHTTP(cmd, &f, h) },
	}
	flags := cmd.Flags()
	f.add(cmd, 5*time.Second)
	flags.Uint16Var(&h.cfg.Port, "port", 80, "of the pods")
	flags.StringVar(&h.cfg.Path, "path", "/", "of the requests")
	flags.StringVar(&h.ttl, "ttl", "honour", "honour, or ignore: a client keeps its first addresses for good")
	flags.StringVar(&h.order, "order", "answer", "in which a client tries addresses of one family: answer or random")
	flags.BoolVar(&h.cfg.KeepAlive, "keep-alive", false, "each client keeps one connection")
	flags.IntVar(&h.cfg.Retries, "retries", 2, "of a request that cannot connect; each asks the DNS server again")
	flags.DurationVar(&h.cfg.ConnectTimeout, "connect-timeout", time.Second, "of one address")
	flags.IntVar(&h.cfg.MaxSockets, "max-sockets", 4096, "requests that have one at a time; further ones wait")
	return cmd
}

func simulateHTTP(cmd *cobra.Command, f *clientFlags, h httpFlags) (err error) {
	cfg := h.cfg
	if cfg.Server, err = f.check(); err != nil {
		return err
	}
	if h.ttl != "honour" && h.ttl != "ignore" {
		return fmt.Errorf("--ttl %q: want honour or ignore", h.ttl)
	}
	if h.order != "answer" && h.order != "random" {
		return fmt.Errorf("--order %q: want answer or random", h.order)
	}
	cfg.Name, cfg.Load = f.name, f.load
	cfg.IgnoreTTL, cfg.Shuffle = h.ttl == "ignore", h.order == "random"
	if _, err := client.NewHTTP(cfg); err != nil {
		return err // before any file is touched
	}
	return f.simulate(cmd, func(onStatus func(client.Status)) (clientReport, error) {
		cfg.OnStatus = onStatus
		c, err := client.NewHTTP(cfg)
		if err != nil {
			return nil, err
		}
		return c.Run(cmd.Context())
	})
}
