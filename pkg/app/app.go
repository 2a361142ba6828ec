// Package app is a small service to steer traffic to: HTTP that says who it is and costs what the request asks for, and
// edgeprobe's packets over UDP on the same port.
package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/anyedge/anyedge/pkg/probe"
)

const (
	// DefaultMaxRequests is how many requests an App serves at a time unless told otherwise.
	DefaultMaxRequests = 256
	// DefaultGrace is how long requests under way may take to finish at the end unless told otherwise.
	DefaultGrace = 10 * time.Second
	// maxLimit bounds both limits of a Config.
	maxLimit = 65536
	// Bounds of what strangers send and how slowly.
	headerTimeout, idleTimeout = 5 * time.Second, 30 * time.Second
	maxHeaderBytes             = 16 << 10
)

// A Config tells an App what to do.
type Config struct {
	Name        string           // 1 to probe.MaxSite printable ASCII characters without spaces
	Listen      []netip.AddrPort // HTTP and UDP both; an address need not be on the host yet; port 0: any
	MaxRequests int              // at a time; more are refused with 503; 0: DefaultMaxRequests
	CPUs        int              // how many requests burn CPU at a time, the others queue; 0: as many as Go uses
	Grace       time.Duration    // for requests under way at the end; 0: DefaultGrace

	Gatherer prometheus.Gatherer // of /metrics; nil: there is none
	Log      *slog.Logger        // nil: none
}

// An App answers HTTP requests and probes. It is a prometheus.Collector of its load, and safe for concurrent use.
type App struct {
	cfg       Config
	responder *probe.Responder
	burner    burner
	load      *load
}

// New returns an App. It opens nothing.
func New(cfg Config) (*App, error) {
	if cfg.MaxRequests == 0 {
		cfg.MaxRequests = DefaultMaxRequests
	}
	if cfg.CPUs == 0 {
		cfg.CPUs = runtime.GOMAXPROCS(0)
	}
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case cfg.MaxRequests < 1 || cfg.MaxRequests > maxLimit:
		return nil, fmt.Errorf("requests at a time %d: want 1 to %d", cfg.MaxRequests, maxLimit)
	case cfg.CPUs < 1 || cfg.CPUs > maxLimit:
		return nil, fmt.Errorf("CPUs %d: want 1 to %d", cfg.CPUs, maxLimit)
	case cfg.Grace < 0:
		return nil, fmt.Errorf("grace %s: want more than 0", cfg.Grace)
	}
	a := &App{cfg: cfg, burner: newBurner(cfg.CPUs), load: newLoad(cfg.MaxRequests, cfg.CPUs)}
	var err error
	a.responder, err = probe.NewResponder(probe.ResponderConfig{
		Site: cfg.Name, Listen: cfg.Listen, Log: cfg.Log, ServeTCP: a.serve,
	})
	return a, err
}

// Ready is closed once all addresses are listened on.
func (a *App) Ready() <-chan struct{} { return a.responder.Ready() }

// Addrs returns the addresses that are listened on, in the order of the config. Call it once Ready is closed.
func (a *App) Addrs() []netip.AddrPort { return a.responder.Addrs() }

// Run serves until ctx is done, lets requests under way finish, and returns nil. It fails when it cannot listen on all
// addresses.
func (a *App) Run(ctx context.Context) error { return a.responder.Run(ctx) }

// serve has the TCP side of one address.
func (a *App) serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           a.handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout, // bodies are of no use
		IdleTimeout:       idleTimeout,
		WriteTimeout:      maxCost + maxDelay + headerTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(a.cfg.Log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(stopped)
		a.stop(ctx, server)
	})
	err := server.Serve(l)
	switch {
	case !cancel():
		<-stopped // what is under way ends first
	case ctx.Err() != nil: // the listener was closed sooner than the function above was called
		a.stop(ctx, server)
	default:
		_ = server.Close()
		return fmt.Errorf("http %s: %w", l.Addr(), err)
	}
	return nil
}

func (a *App) stop(ctx context.Context, server *http.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.Grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		a.cfg.Log.Warn("requests under way were cut off", "after", a.cfg.Grace, "requests", a.load.snapshot(time.Now()).RequestsInFlight)
		_ = server.Close()
	}
}
