package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/debughttp"
	"github.com/anyedge/anyedge/internal/sdnotify"
	"github.com/anyedge/anyedge/internal/unixapi"
	"github.com/anyedge/anyedge/pkg/dnsapi"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

// daemon is everything that runs, opened and not started.
type daemon struct {
	log       *slog.Logger
	manager   *sdnotify.Notifier // nil: none
	listeners *dnsserver.Listeners
	metrics   net.Listener // nil: none
	server    *dnsserver.Server
	monitor   current
	loads     *loads
	source    *source
	cluster   *cluster // nil: none
	path      string   // of the configuration
	hangups   <-chan os.Signal
	reloads   reloads
	socket    net.Listener // of the admin API; nil: none
	drains    *drains
	queries   *dnsserver.QueryLog
	asked     chan func() // by the admin API, for the loop
	reload    dnsapi.Reload
	registry  *prometheus.Registry
}

// serve opens everything, then answers until ctx is done. A hangup reads the configuration at path again.
func serve(ctx context.Context, path string, cfg config.DNS, log *slog.Logger, hangups <-chan os.Signal) error {
	p, err := open(cfg, log)
	if err != nil {
		return err
	}
	defer p.close()
	// The loops that read queries wait in the kernel. While they have every processor of Go's between them, its monitor takes these away again and
	// again, each time after 20 us: one more, which is idle, and it lets them wait.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1))
	p.path, p.hangups = path, hangups
	p.reload = dnsapi.Reload{File: path, Loaded: time.Now(), Tried: time.Now()}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.server.Run(ctx) })
	g.Go(func() error { return p.follow(ctx) })
	g.Go(func() error { return p.loads.scraper.Run(ctx) })
	g.Go(func() error { return p.queries.Run(ctx) })
	g.Go(func() error { p.tellManager(ctx); return nil })
	g.Go(func() error { return p.serveAdmin(ctx) })
	if p.cluster != nil {
		g.Go(func() error { return p.cluster.source.Run(ctx) })
		if p.cluster.meter != nil {
			g.Go(func() error { return p.cluster.meter.Run(ctx) })
		}
	}
	if p.metrics != nil {
		g.Go(func() error { return debughttp.Serve(ctx, p.metrics, p.registry, log) })
	}
	return g.Wait()
}

// open takes what the program needs from the machine, and nothing if it cannot have all.
func open(cfg config.DNS, log *slog.Logger) (_ *daemon, err error) {
	p := &daemon{log: log, loads: newLoads(log, cfg.Services), reloads: newReloads(), registry: prometheus.NewRegistry(), asked: make(chan func())}
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
	if p.drains, err = openDrains(cfg.Admin.Drains); err != nil {
		return nil, err
	}
	p.source = &source{cfg: cfg, loads: p.loads, drains: p.drains, ways: make(ways)}
	if cfg.Admin.Socket != "" {
		if p.socket, err = unixapi.Listen(cfg.Admin.Socket, "admin.socket"); err != nil {
			return nil, err
		}
	}
	p.queries = dnsserver.NewQueryLog(log)
	if err = p.queries.Set(cfg.Queries); err != nil {
		return nil, err
	}
	if p.server, err = dnsserver.New(dnsserver.Config{
		Site: cfg.Site, Listeners: p.listeners, TCP: cfg.TCP, Protection: cfg.Protection, Log: log, Queries: p.queries,
	}); err != nil {
		return nil, err
	}
	if p.cluster, err = newCluster(cfg, p.loads, p.drains, log); err != nil {
		return nil, err
	}
	if p.cluster != nil {
		p.registry.MustRegister(p.cluster.source)
		if p.cluster.meter != nil {
			p.registry.MustRegister(p.cluster.meter)
		}
	}
	p.monitor.Store(health.NewMonitor(log, checks(cfg.Services)...))
	p.registry.MustRegister(p.server, p.queries, &p.monitor, p.loads.scraper, &p.loads.weights, p.reloads.success, p.reloads.last,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := p.server.Set(p.content()); err != nil {
		return nil, err
	}
	forgetFile()
	return p, nil
}

// forgetFile gives back what it took to read a configuration: several times what stays of it.
func forgetFile() { debug.FreeOSMemory() }

// close closes what is open; what ran has closed its own already.
func (p *daemon) close() {
	if p.listeners != nil {
		p.listeners.Close()
	}
	if p.metrics != nil {
		_ = p.metrics.Close()
	}
	if p.socket != nil {
		_ = p.socket.Close()
	}
	if p.queries != nil {
		_ = p.queries.Set(dnsserver.QueryPolicy{}) // opens nothing
	}
	_ = p.manager.Close()
}

// follow runs the checks, and tells the server whenever they, the loads or the configuration tell something new.
func (p *daemon) follow(ctx context.Context) error {
	w := p.watch(ctx)
	defer func() { w.stop() }()
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		due.Reset(time.Until(p.due()))
		select {
		case <-ctx.Done():
			return nil
		case <-w.ended:
			return w.err
		case <-p.monitor.Load().Changed():
			p.update()
		case <-due.C:
			p.update()
		case <-p.clusterChanged():
			p.updateCluster()
		case <-p.hangups:
			w = p.load(ctx, w)
		case f := <-p.asked:
			f()
		}
	}
}

// update tells the server of the services that changed.
func (p *daemon) update() {
	status := p.monitor.Load().Status()
	if !p.source.synced && allTold(status) {
		p.replace()
		return
	}
	p.loads.looked = time.Now()
	changed := p.source.changes(status)
	if p.cluster != nil {
		changed = append(changed, p.cluster.changes(time.Now())...)
	}
	for _, sv := range changed {
		p.tell(sv)
	}
}

// tell tells the server of a service whose names are as they were.
func (p *daemon) tell(sv steering.Service) {
	if err := p.server.Update(sv); err != nil {
		p.log.Error("a change is refused, the service stays as it was", "err", err)
	}
}

// replace gives the server all content anew.
func (p *daemon) replace() {
	if err := p.server.Set(p.content()); err != nil {
		p.log.Error("new content is refused, the old one stays", "err", err)
	}
}
