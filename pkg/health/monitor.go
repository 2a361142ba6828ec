package health

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Monitor runs the checks of a set of services and keeps the latest Status of each. It is a prometheus.Collector.
type Monitor struct {
	log     *slog.Logger
	changed chan struct{}
	came    chan struct{} // capacity 1: there is something in coming
	metrics *metrics
	open    func(Namespace, []Listener) (kernel, error)

	openDeaths func() (*deaths, error)

	fixed int // so many services, the first ones, are there from the start

	mu       sync.Mutex // guards what follows, and what the services and their checks know
	services []*service // those of the start are never changed
	coming   []*service // whose checks are to begin
	news     []func()   // what is to be logged once mu is free: a slow log must not hold up a failover
}

// NewMonitor returns a monitor of services; it starts nothing. A nil log discards.
func NewMonitor(log *slog.Logger, services ...Service) *Monitor {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m := &Monitor{
		log: log, changed: make(chan struct{}, 1), came: make(chan struct{}, 1), metrics: newMetrics(),
		open: openKernel, openDeaths: openDeaths, fixed: len(services),
	}
	now := time.Now()
	for _, s := range services {
		m.services = append(m.services, newService(s, now))
	}
	m.metrics.init(m.services)
	return m
}

// Run checks until ctx is done and then returns nil; it may be called once. It fails at once when a check is not valid or
// the kernel cannot tell about the listeners of this network namespace that are to be watched; a check that fails later is
// a result, never an error. That the kernel does not tell early of the deaths of processes is logged: it needs CAP_NET_ADMIN,
// and that this process is in the machine's first PID and network namespaces.
func (m *Monitor) Run(ctx context.Context) error {
	if err := m.validate(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if err := m.watchListeners(ctx, g); err != nil {
		return err
	}
	m.watchProcesses(ctx, g)
	m.warn()
	start, shift := time.Now(), rand.Float64()
	checks := m.checks()
	for i, c := range checks {
		g.Go(func() error {
			m.loop(ctx, c, firstDelay(i), newSchedule(c.Check, i, shift, start))
			return nil
		})
	}
	g.Go(func() error { return m.runComers(ctx, g, len(checks), start, shift) })
	return g.Wait()
}

// warn tells at the start what nobody should overlook.
func (m *Monitor) warn() {
	for _, c := range m.checks() {
		if c.warning != "" {
			m.log.Warn(c.warning, "service", c.service.name, "check", c.Name)
		}
	}
}

func (m *Monitor) validate() error {
	for _, s := range m.ofStart() {
		if local := len(s.statusOf(false)); s.need > local {
			return fmt.Errorf("health: service %s: %d checks required of %d that are not remote", s.name, s.need, local)
		}
	}
	for _, c := range m.checks() {
		if why := c.invalid(); why != "" {
			return fmt.Errorf("health: check %s/%s: %s", c.service.name, c.Name, why)
		}
	}
	return nil
}

func (c *check) invalid() string {
	switch {
	case count(c.Checker != nil, c.Listener != nil, c.Process != nil) != 1:
		return "exactly one of Checker, Listener and Process must be set"
	case c.watches() && c.Remote:
		return "what is watched is on this host: it cannot be remote"
	case c.Listener != nil:
		return c.Listener.invalid()
	case c.Process != nil:
		return c.Process.invalid()
	default:
		return ""
	}
}

func (l Listener) invalid() string {
	switch {
	case protocol(l.Network) == 0:
		return fmt.Sprintf("network %q: must be tcp or udp", l.Network)
	case l.Port == 0:
		return "port 0: must be 1 to 65535"
	case count(l.Namespace.Path != "", l.Namespace.PID != 0, l.Namespace.PIDFile != "") > 1:
		return "namespace: at most one of Path, PID and PIDFile may be set"
	default:
		return ""
	}
}

func (p Process) invalid() string {
	if count(p.PIDFile != "", p.Cgroup != "", p.Unit != "") != 1 {
		return "process: exactly one of PIDFile, Cgroup and Unit must be set"
	}
	return ""
}

func count(set ...bool) (n int) {
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

// checks are those of the start.
func (m *Monitor) checks() []*check {
	var all []*check
	for _, s := range m.ofStart() {
		all = append(all, s.checks...)
	}
	return all
}

// ofStart are the services of NewMonitor.
func (m *Monitor) ofStart() []*service {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.services[:m.fixed]
}

// Changed receives after something in Status changed. It holds one signal, not a queue: read Status after each receive.
func (m *Monitor) Changed() <-chan struct{} { return m.changed }

// Status returns what is known now, in the order of the services. The caller owns the result; safe for concurrent use.
func (m *Monitor) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Status, len(m.services))
	for i, s := range m.services {
		all[i] = Status{
			Service: s.name,
			State:   s.verdict.state,
			Reason:  s.reason(),
			Since:   s.since,
			Noticed: s.noticed,
			Rising:  s.rising(),
			Checks:  s.checkStatus(),

			Degraded:       s.degraded,
			DegradedReason: s.degradedReason,
		}
	}
	return all
}

// update runs f under mu and logs what it found out after that.
func (m *Monitor) update(f func()) {
	m.mu.Lock()
	f()
	news := m.news
	m.news = nil
	m.mu.Unlock()
	for _, tell := range news {
		tell()
	}
}

// record applies a result of c to its state and that of its service. The caller holds mu.
func (m *Monitor) record(c *check, err error, at time.Time) {
	before := c.status()
	c.take(err, at)
	after := c.status()
	if after == before {
		return
	}
	if unsure(err) {
		m.news = append(m.news, func() { m.log.Warn("check tells nothing", "service", c.service.name, "check", c.Name, "err", err) })
	}
	if after.State != before.State {
		m.metrics.transition(c)
		if c.watches() {
			m.follow(c)
		}
	}
	m.combine(c.service, at)
	m.signal()
}

func (m *Monitor) combine(s *service, at time.Time) {
	m.degrade(s)
	was := s.verdict.state
	s.verdict = s.verdict.combine(s.statusOf(false), s.need)
	if s.verdict.state == was {
		return
	}
	s.since, s.noticed = time.Now(), at
	m.metrics.serviceState(s)
	now, reason := s.verdict, s.reason()
	m.news = append(m.news, func() {
		m.log.Info("service "+now.state.String(), "service", s.name, "was", was.String(), "reason", reason)
	})
}

func (m *Monitor) degrade(s *service) {
	was := s.degraded
	s.degraded, s.degradedReason = degraded(s.statusOf(true))
	if s.degraded == was {
		return
	}
	m.metrics.degraded(s)
	now, reason := s.degraded, s.degradedReason
	m.news = append(m.news, func() {
		if !now {
			m.log.Info("service no longer degraded", "service", s.name)
			return
		}
		m.log.Warn("service degraded", "service", s.name, "reason", reason)
	})
}

func (m *Monitor) signal() { poke(m.changed) }
