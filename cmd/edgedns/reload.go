package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/health"
)

// current is the monitor of the configuration that is in force, for metrics and the watchdog, which read it at any time.
type current struct{ atomic.Pointer[health.Monitor] }

// Describe implements prometheus.Collector.
func (c *current) Describe(ch chan<- *prometheus.Desc) { c.Load().Describe(ch) }

// Collect implements prometheus.Collector.
func (c *current) Collect(ch chan<- prometheus.Metric) { c.Load().Collect(ch) }

// reloads are the metrics of reloads; the start counts as one.
type reloads struct{ success, last prometheus.Gauge }

func newReloads() reloads {
	r := reloads{
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "anyedge_dns_config_reload_success", Help: "1 when the last reload took the file; 0 when it was refused, and the one before is in force.",
		}),
		last: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "anyedge_dns_config_reload_success_timestamp_seconds", Help: "When the configuration that is in force was read.",
		}),
	}
	r.done(nil)
	return r
}

func (r reloads) done(err error) {
	if err != nil {
		r.success.Set(0)
		return
	}
	r.success.Set(1)
	r.last.SetToCurrentTime()
}

// A watch is a monitor that runs.
type watch struct {
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // once ended is closed
}

// watch runs the current monitor.
func (p *daemon) watch(ctx context.Context) *watch {
	ctx, cancel := context.WithCancel(ctx)
	w, m := &watch{cancel: cancel, ended: make(chan struct{})}, p.monitor.Load()
	go func() {
		defer close(w.ended)
		if w.err = m.Run(ctx); w.err == nil {
			<-ctx.Done() // a monitor without checks has nothing to wait for
		}
	}()
	return w
}

func (w *watch) stop() {
	w.cancel()
	<-w.ended
}

// load puts the file in force as it is now, all of it or nothing, and returns what watches from then on. Answers go on
// meanwhile. What is known of checks that stay the same is kept: nobody waits for a verdict that was there already.
func (p *daemon) load(ctx context.Context, w *watch) *watch {
	cfg, err := load(p.path)
	if err == nil {
		err = needsRestart(p.source.cfg, cfg)
	}
	if err == nil {
		err = p.queries.Set(cfg.Queries) // also when it stays: its file may have been moved away
	}
	p.reloads.done(err)
	p.reload.Tried, p.reload.Error = time.Now(), ""
	if err != nil {
		p.reload.Error = err.Error()
		for line := range strings.Lines(err.Error()) {
			p.log.Error("not reloaded, the old configuration stays", "err", strings.TrimSpace(line))
		}
		return w
	}
	w.stop()
	m := health.NewMonitor(p.log, checks(cfg.Services)...)
	m.Inherit(p.monitor.Load())
	p.monitor.Store(m)
	p.server.Protect(cfg.Protection)
	p.source = p.source.reloaded(cfg)
	p.reload.Loaded = p.reload.Tried
	if p.cluster != nil {
		p.cluster.source.Accept(acceptable(cfg))
		p.cluster.take(time.Now()) // before the sources are joined: a name of the file may be one that the cluster had
	}
	p.replace()
	forgetFile()
	p.log.Info("reloaded", "config", p.path, "services", len(cfg.Services))
	return p.watch(ctx)
}

// needsRestart refuses what a reload cannot change: sockets are opened at the start, perhaps with rights that are gone.
func needsRestart(old, cfg config.DNS) error {
	switch {
	case cfg.Site != old.Site:
		return fmt.Errorf("site: changed from %s to %s: needs a restart", old.Site, cfg.Site)
	case !slices.Equal(cfg.Listen, old.Listen):
		return fmt.Errorf("listen: changed from %v to %v: needs a restart", old.Listen, cfg.Listen)
	case cfg.Admin != old.Admin:
		return fmt.Errorf("admin: changed: needs a restart")
	case cfg.TCP != old.TCP:
		return fmt.Errorf("tcp: changed: needs a restart")
	case !reflect.DeepEqual(cfg.Kubernetes, old.Kubernetes):
		return fmt.Errorf("kubernetes: changed: needs a restart")
	case cfg.Kubernetes != nil && cfg.Node != old.Node:
		return fmt.Errorf("node: changed from %q to %q: needs a restart, since kubernetes is configured", old.Node, cfg.Node)
	case cfg.Metrics != old.Metrics:
		return fmt.Errorf("metrics.listen: changed: needs a restart")
	default:
		return nil
	}
}
