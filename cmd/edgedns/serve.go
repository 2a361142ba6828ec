package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/debughttp"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

// serve opens everything, then answers until ctx is done.
func serve(ctx context.Context, cfg config.DNS, log *slog.Logger) error {
	listeners, err := dnsserver.Listen(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	debug, err := listenDebug(cfg.Metrics)
	if err != nil {
		listeners.Close()
		return err
	}
	monitor := health.NewMonitor(log, checks(cfg.Services)...)
	c := compiler{cfg: cfg, start: rand.Uint64(), log: log}
	first, err := c.compile(monitor.Status())
	if err != nil {
		listeners.Close()
		return err
	}
	server := dnsserver.New(cfg.Site, first)
	registry := prometheus.NewPedanticRegistry()
	if err := register(registry, server, monitor); err != nil {
		return err
	}
	log.Info("serving", "addresses", fmt.Sprint(listeners.Addrs()), "services", len(cfg.Services))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Run(ctx, listeners) })
	g.Go(func() error { return monitor.Run(ctx) })
	g.Go(func() error { return c.follow(ctx, monitor, server) })
	if debug != nil {
		g.Go(func() error { return debughttp.Serve(ctx, debug, registry, log) })
	}
	return g.Wait()
}

func listenDebug(addr netip.AddrPort) (net.Listener, error) {
	if !addr.IsValid() {
		return nil, nil
	}
	return debughttp.Listen(addr)
}

func register(r prometheus.Registerer, cs ...prometheus.Collector) error {
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// checkName names what the monitor calls a service: one endpoint of ours.
func checkName(service string, endpoint int) string { return fmt.Sprintf("%s/%d", service, endpoint) }

// checks makes a health service of every endpoint that has a check.
func checks(services []config.DNSService) []health.Service {
	var all []health.Service
	for _, s := range services {
		for _, c := range s.Checks {
			all = append(all, health.Service{Name: checkName(s.Name, c.Index), Checks: []health.Check{c.Check}})
		}
	}
	return all
}

// A compiler joins what the checks say with the configuration.
type compiler struct {
	cfg   config.DNS
	start uint64
	log   *slog.Logger
}

// follow sets a new snapshot whenever the checks say something new.
func (c compiler) follow(ctx context.Context, monitor *health.Monitor, server *dnsserver.Server) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-monitor.Changed():
		}
		snapshot, err := c.compile(monitor.Status())
		if err != nil {
			c.log.Error("what was answered before is answered on", "err", err)
			continue
		}
		server.Set(snapshot)
	}
}

func (c compiler) compile(status []health.Status) (*dnsserver.Snapshot, error) {
	states := make(map[string]health.State, len(status))
	for _, s := range status {
		states[s.Service] = s.State
	}
	var services []steering.Service
	for _, s := range c.cfg.Services {
		services = append(services, withStates(s, states))
	}
	return dnsserver.Compile(c.cfg.Zones, services, time.Now(), c.start)
}

func withStates(s config.DNSService, states map[string]health.State) steering.Service {
	joined := s.Service
	joined.Endpoints = slices.Clone(s.Endpoints)
	for _, c := range s.Checks {
		joined.Endpoints[c.Index].State = stateOf(states[checkName(s.Name, c.Index)])
	}
	return joined
}

func stateOf(s health.State) steering.State {
	switch s {
	case health.Up:
		return steering.Up
	case health.Down:
		return steering.Down
	default:
		return steering.Unknown
	}
}
