package main

import (
	"context"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/debughttp"
	"github.com/anyedge/anyedge/internal/sdnotify"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
)

// program is everything that runs, opened and not started.
type program struct {
	log       *slog.Logger
	manager   *sdnotify.Notifier // nil: none
	listeners *dnsserver.Listeners
	metrics   net.Listener // nil: none
	server    *dnsserver.Server
	monitor   *health.Monitor
	source    *source
	registry  *prometheus.Registry
}

// serve opens everything, then answers until ctx is done.
func serve(ctx context.Context, cfg config.DNS, log *slog.Logger) error {
	p, err := open(cfg, log)
	if err != nil {
		return err
	}
	defer p.close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.server.Run(ctx) })
	g.Go(func() error { return p.monitor.Run(ctx) })
	g.Go(func() error { return p.follow(ctx) })
	g.Go(func() error { p.tellManager(ctx); return nil })
	if p.metrics != nil {
		g.Go(func() error { return debughttp.Serve(ctx, p.metrics, p.registry, log) })
	}
	return g.Wait()
}

// open takes what the program needs from the machine, and nothing if it cannot have all.
func open(cfg config.DNS, log *slog.Logger) (_ *program, err error) {
	p := &program{log: log, source: &source{cfg: cfg}, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.manager, err = sdnotify.New(); err != nil {
		return nil, err
	}
	if p.listeners, err = dnsserver.Listen(cfg.Listen); err != nil {
		return nil, err
	}
	if cfg.Metrics.IsValid() {
		if p.metrics, err = debughttp.Listen(cfg.Metrics); err != nil {
			return nil, err
		}
	}
	if p.server, err = dnsserver.New(dnsserver.Config{Site: cfg.Site, Listeners: p.listeners, Log: log}); err != nil {
		return nil, err
	}
	p.monitor = health.NewMonitor(log, checks(cfg.Services)...)
	p.registry.MustRegister(p.server, p.monitor,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return p, p.server.Set(p.source.content(p.monitor.Status()))
}

// close closes what is open; what ran has closed its own already.
func (p *program) close() {
	if p.listeners != nil {
		p.listeners.Close()
	}
	if p.metrics != nil {
		_ = p.metrics.Close()
	}
	_ = p.manager.Close()
}

// follow gives the server new content whenever the checks tell something new.
func (p *program) follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.monitor.Changed():
			if err := p.server.Set(p.source.content(p.monitor.Status())); err != nil {
				p.log.Error("new content is refused, the old one stays", "err", err)
			}
		}
	}
}
