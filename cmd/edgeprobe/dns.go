package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/pkg/client"
)

func newDNS() *cobra.Command {
	var f clientFlags
	var cfg client.DNSConfig
	cmd := &cobra.Command{
		Use:   "dns --server ADDR[:53] --name NAME",
		Short: "Simulate clients of a DNS server: latency, and the share of each answer",
		Long: `Simulate clients of a DNS server: how fast it answers, and what share each answer has.

Requests come on a schedule that waits for nothing; latency counts from the moment when a request was due. With --cache
each client keeps an answer for its TTL, and the shares are those that clients see. docs/clients.md tells more.`,
		Example: `  edgeprobe dns --server 2001:db8:53::53 --name api.edge.example. --rate 1000 --duration 30s
  edgeprobe dns --server [::1]:5353 --name api.edge.example. --clients 2000 --cache --rate 500 --json result.json
  edgeprobe dns --server 192.0.2.53 --name edge.example. --type SOA --spacing fixed --duration 0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return simulateDNS(cmd, &f, cfg) },
	}
	f.add(cmd, 2*time.Second)
	cmd.Flags().StringVar(&cfg.Type, "type", "AAAA", "`TYPE` of the queries")
	cmd.Flags().BoolVar(&cfg.Cache, "cache", false, "each client keeps an answer for its TTL; else every request is a query")
	return cmd
}

func simulateDNS(cmd *cobra.Command, f *clientFlags, cfg client.DNSConfig) (err error) {
	if cfg.Server, err = f.check(); err != nil {
		return err
	}
	cfg.Name, cfg.Load = f.name, f.load
	if _, err := client.NewDNS(cfg); err != nil {
		return err // before any file is touched
	}
	return f.simulate(cmd, func(onStatus func(client.Status)) (clientReport, error) {
		cfg.OnStatus = onStatus
		d, err := client.NewDNS(cfg)
		if err != nil {
			return nil, err
		}
		return d.Run(cmd.Context())
	})
}
