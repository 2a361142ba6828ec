package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/debughttp"
	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/internal/sdnotify"
	"github.com/anyedge/anyedge/internal/unixapi"
	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bridge"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/peers"
	"github.com/anyedge/anyedge/pkg/session"
	"github.com/anyedge/anyedge/pkg/siteapi"
	"github.com/anyedge/anyedge/pkg/vip"
)

// removeLimit bounds the removal of the addresses at the end.
const removeLimit = 2 * time.Second

// agent is everything that runs, opened and not started.
type agent struct {
	cfg        config.Agent
	log        *slog.Logger
	manager    *sdnotify.Notifier // nil: none
	lock       net.Listener
	metrics    net.Listener // nil: none
	socket     net.Listener // of the API; nil: none
	journal    *announce.Journal
	addresses  *vip.Addresses // nil: not managed
	bridge     *bridge.Bridge
	peers      *peers.Peers // nil: none
	load       peers.Load
	speaker    *bgp.Speaker
	announcer  announcer
	sessions   *session.Sessions // nil: no neighbor is watched by BFD
	monitor    *health.Monitor
	drains     *announce.Drains
	controller *announce.Controller
	cluster    *cluster // nil: none
	api        *siteapi.Server
	registry   *prometheus.Registry
}

// serve runs an agent until ctx is done, in stages: the controller withdraws and waits, the speaker closes its sessions,
// the addresses go, the journal ends. Closing hurry cuts the waits short. A component that fails stops the agent the same way.
func serve(ctx context.Context, hurry <-chan struct{}, cfg config.Agent, log *slog.Logger) error {
	a, err := open(cfg, log)
	if err != nil {
		return err
	}
	defer a.close()
	endJournal := inBackground(a.journal.Run)
	defer endJournal()
	a.journal.Started(program.Version())
	err = a.run(ctx, hurry)
	err = errors.Join(err, a.removeAddresses())
	a.journal.Stopped()
	return err
}

// open takes what the agent needs from the machine, and nothing if it cannot have all. The lock comes first: a second
// agent, started by mistake, must not touch anything.
func open(cfg config.Agent, log *slog.Logger) (_ *agent, err error) {
	a := &agent{cfg: cfg, log: log, registry: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if a.lock, err = lockNamespace(); err != nil {
		return nil, err
	}
	if a.manager, err = sdnotify.New(); err != nil {
		return nil, err
	}
	if cfg.Journal != "" {
		if a.journal, err = announce.OpenJournal(log, cfg.Journal, cfg.Site); err != nil {
			return nil, err
		}
		a.registry.MustRegister(a.journal)
	}
	if cfg.Metrics.IsValid() {
		if a.metrics, err = debughttp.Listen(cfg.Metrics); err != nil {
			return nil, err
		}
	}
	if a.drains, err = openDrains(cfg, log); err != nil {
		return nil, err
	}
	if cfg.API.Socket != "" {
		if a.socket, err = unixapi.Listen(cfg.API.Socket, "api.socket"); err != nil {
			return nil, err
		}
	}
	if cfg.VIP.Manage {
		if a.addresses, err = vip.New(log, cfg.VIP.Interface); err != nil {
			return nil, err
		}
	}
	return a, a.wire(cfg)
}

// wire makes the components and joins them.
func (a *agent) wire(cfg config.Agent) (err error) {
	cfg.BGP.OnReport = a.journal.Written // which never blocks
	if a.speaker, err = bgp.NewSpeaker(cfg.BGP, a.log); err != nil {
		return err
	}
	var announced []announce.Service
	var checked []health.Service
	for _, s := range cfg.Services {
		announced, checked = append(announced, s.Announce), append(checked, s.Health)
	}
	a.monitor = health.NewMonitor(a.log, checked...)
	a.announcer = announcer{a.speaker, make(chan struct{}, 1)}
	parts := announce.Parts{Health: a.monitor, Speaker: a.announcer, Journal: a.journal, Drains: a.drains}
	if a.cluster, err = newCluster(cfg, a.log); err != nil {
		return err
	}
	switch {
	case a.addresses == nil: // it stays nil
	case a.cluster != nil:
		parts.Addresses = keeping{a.addresses, a.cluster}
	default:
		parts.Addresses = a.addresses
	}
	if err := a.openSessions(cfg); err != nil {
		return err
	}
	if err := a.openRepair(cfg); err != nil {
		return err
	}
	if a.peers != nil {
		parts.Bridge, parts.Peers = carrier{a.bridge}, others{a.peers}
		a.registry.MustRegister(a.peers)
	}
	a.controller = announce.NewController(a.log, parts, announce.Config{Services: announced, Bridge: cfg.Times, Guards: cfg.Guards})
	a.api = siteapi.NewServer(orders{a}, a.log)
	if a.cluster != nil {
		a.cluster.monitor, a.cluster.controller, a.cluster.notify = a.monitor, a.controller, a.api.Notify
		a.registry.MustRegister(a.cluster)
	}
	a.registry.MustRegister(a.speaker, a.monitor, a.controller,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return nil
}

// openDrains reads which services are to be drained.
func openDrains(cfg config.Agent, log *slog.Logger) (*announce.Drains, error) {
	var services []announce.Service
	for _, s := range cfg.Services {
		services = append(services, s.Announce)
	}
	return announce.OpenDrains(log, cfg.API.Drains, services...)
}

// run starts the speaker and the bridge, and once they take orders the rest; it returns when all have ended, the bridge
// last: it carries packets until no router sends any.
func (a *agent) run(ctx context.Context, hurry <-chan struct{}) error {
	deciding, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	bridging, unbridge := context.WithCancel(context.WithoutCancel(ctx))
	defer unbridge()
	var components, repair errgroup.Group
	background := func(run func(context.Context) error) {
		components.Go(func() error {
			err := run(serving)
			stop(err)
			return err
		})
	}
	repair.Go(func() error { return a.bridge.Run(bridging) })
	if a.sessions != nil {
		background(a.sessions.Run) // before the speaker: strict neighbors get no session before BFD is up
	}
	background(a.speaker.Run)
	background(a.serveMetrics)
	var err error
	if a.prepared(deciding) {
		for _, run := range a.components() {
			background(run)
		}
		background(func(serving context.Context) error { return a.tellStopping(deciding, serving) })
		err = a.control(deciding, hurry)
	}
	end()
	err = errors.Join(err, components.Wait())
	unbridge()
	return errors.Join(err, repair.Wait())
}

// prepared waits until the speaker takes orders and the bridge has looked at the host; false: ctx is done before.
func (a *agent) prepared(ctx context.Context) bool {
	for _, ready := range []<-chan struct{}{a.speaker.Ready(), a.bridge.Ready()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// components are what runs beside the controller.
func (a *agent) components() []func(context.Context) error {
	all := []func(context.Context) error{
		a.monitor.Run, a.followSessions, a.followDecisions, a.serveAPI, a.tellManager,
	}
	if a.peers != nil {
		all = append(all, a.peers.Run, a.load.Run)
	}
	if a.cluster != nil {
		all = append(all, a.cluster.Run, a.cluster.follow)
	}
	return all
}

// control runs the controller, and hurries it when told so.
func (a *agent) control(ctx context.Context, hurry <-chan struct{}) error {
	stopHurry := inBackground(func(ctx context.Context) error {
		select {
		case <-hurry:
			a.controller.Hurry()
		case <-ctx.Done():
		}
		return nil
	})
	defer stopHurry()
	return a.controller.Run(ctx)
}

// serveMetrics outlives trouble with its listener: nobody is to lose a service because it cannot be measured.
func (a *agent) serveMetrics(ctx context.Context) error {
	if a.metrics == nil {
		<-ctx.Done()
		return nil
	}
	if err := debughttp.Serve(ctx, a.metrics, a.registry, a.log); err != nil {
		a.log.Error("metrics are no longer served", "err", err)
		<-ctx.Done()
	}
	return nil
}

// removeAddresses takes ours from the host, also those of an agent that was killed before.
func (a *agent) removeAddresses() error {
	if a.addresses == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeLimit)
	defer cancel()
	if err := a.addresses.Set(ctx); err != nil {
		return fmt.Errorf("service addresses stay on the host: %w", err)
	}
	a.log.Info("service addresses removed")
	return nil
}

// close lets go of what is not let go of by its component's Run.
func (a *agent) close() {
	for _, l := range []net.Listener{a.lock, a.metrics, a.socket} {
		if l != nil {
			l.Close()
		}
	}
	_ = a.manager.Close()
}

// inBackground runs a component; the returned function ends it and waits.
func inBackground(run func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = run(ctx) // none of those started here fails
	}()
	return func() { cancel(); <-done }
}

// lockName is in Linux' abstract namespace: it belongs to the network namespace, leaves no file, and ends with the process.
const lockName = "@anyedge/edgeagent"

// lockNamespace makes sure that this is the only agent in this network namespace. Two would take each other's addresses
// and sessions away.
func lockNamespace() (net.Listener, error) {
	l, err := net.Listen("unix", lockName)
	if err != nil {
		return nil, fmt.Errorf("another edgeagent runs in this network namespace (it holds unix socket %s): stop it first: %w", lockName, err)
	}
	return l, nil
}
