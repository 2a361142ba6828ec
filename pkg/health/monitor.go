package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Monitor runs the checks of a set of services and keeps the latest Status of each. It is a prometheus.Collector.
type Monitor struct {
	log       *slog.Logger
	services  []*service
	listeners []*check // those that watch a Listener
	changed   chan struct{}
	metrics   *metrics
	open      func([]Listener) (kernel, error)

	mu   sync.Mutex // guards what the services and their checks know, and news
	news []func()   // what is to be logged once mu is free: a slow log must not hold up a failover
}

// kernel is what tells about bound sockets. It is asked from many goroutines.
type kernel interface {
	// bound tells whether a socket serves l now.
	bound(l Listener) (bool, error)
	// watch calls saw for each idle socket destroyed on the port of a watched listener, and when such events were lost,
	// from one goroutine until ctx is done.
	watch(ctx context.Context, saw func(socketEvent)) error
	Close() error
}

// socketEvent tells that a socket was destroyed, or that such an event was lost.
type socketEvent struct {
	network string
	port    uint16
	at      time.Time // when it was read
	lost    bool
}

func (e socketEvent) concerns(l Listener) bool {
	return e.lost || e.network == l.Network && e.port == l.Port
}

// service is one Service and what is known of it.
type service struct {
	name   string
	checks []*check

	verdict verdict
	since   time.Time
	noticed time.Time
}

// check is one Check and what is known of it.
type check struct {
	Check
	service *service
	kick    chan struct{} // capacity 1: run at once

	counter counter
	reason  string
	since   time.Time
	epoch   int                // attempts begun in an earlier epoch do not count
	cancel  context.CancelFunc // ends the attempt under way; nil between attempts
}

// NewMonitor returns a monitor of services; it starts nothing. A nil log discards.
func NewMonitor(log *slog.Logger, services ...Service) *Monitor {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m := &Monitor{log: log, changed: make(chan struct{}, 1), metrics: newMetrics(), open: openKernel}
	now := time.Now()
	for _, s := range services {
		m.services = append(m.services, newService(s, now))
	}
	for _, c := range m.checks() {
		if c.Listener != nil {
			m.listeners = append(m.listeners, c)
		}
	}
	m.metrics.init(m.services)
	return m
}

func newService(s Service, now time.Time) *service {
	svc := &service{name: s.Name, since: now}
	for _, c := range s.Checks {
		c = withDefaults(c)
		svc.checks = append(svc.checks, &check{
			Check:   c,
			service: svc,
			kick:    make(chan struct{}, 1),
			counter: counter{rise: c.Rise, fall: c.Fall},
			reason:  "no result yet",
			since:   now,
		})
	}
	svc.verdict = verdict{}.combine(svc.checkStatus())
	return svc
}

func withDefaults(c Check) Check {
	if c.Interval <= 0 {
		c.Interval = time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 500 * time.Millisecond
	}
	if c.FastInterval <= 0 {
		c.FastInterval = c.Interval
	}
	c.Rise, c.Fall = max(c.Rise, 1), max(c.Fall, 1)
	if c.Listener != nil {
		c.Rise, c.Fall = 1, 1
	}
	return c
}

// Run checks until ctx is done and then returns nil; it may be called once. It fails at once when a check is not valid or
// the kernel cannot tell about the listeners that are to be watched; a check that fails later is a result, never an error.
func (m *Monitor) Run(ctx context.Context) error {
	if err := m.validate(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if err := m.watch(ctx, g); err != nil {
		return err
	}
	start, shift := time.Now(), rand.Float64()
	for i, c := range m.checks() {
		g.Go(func() error {
			m.loop(ctx, c, firstDelay(i), newSchedule(c.Check, i, shift, start))
			return nil
		})
	}
	return g.Wait()
}

// watch opens the kernel's socket table when a listener is to be watched, and starts to read its events. That comes
// before the first look at the table, so that nothing happens unseen in between.
func (m *Monitor) watch(ctx context.Context, g *errgroup.Group) error {
	var listeners []Listener
	for _, c := range m.listeners {
		listeners = append(listeners, *c.Listener)
	}
	if len(listeners) == 0 {
		return nil
	}
	k, err := m.open(listeners)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	for _, c := range m.listeners {
		c.Checker = boundCheck{k, *c.Listener}
	}
	g.Go(func() error {
		defer k.Close()
		return k.watch(ctx, func(e socketEvent) { m.socketGone(k, e) })
	})
	return nil
}

func (m *Monitor) validate() error {
	for _, c := range m.checks() {
		if (c.Checker == nil) == (c.Listener == nil) {
			return fmt.Errorf("health: check %s/%s: exactly one of Checker and Listener must be set", c.service.name, c.Name)
		}
		if c.Listener != nil && protocol(c.Listener.Network) == 0 {
			return fmt.Errorf("health: check %s/%s: network %q: must be tcp or udp", c.service.name, c.Name, c.Listener.Network)
		}
		if c.Listener != nil && c.Listener.Port == 0 {
			return fmt.Errorf("health: check %s/%s: port 0: must be 1 to 65535", c.service.name, c.Name)
		}
	}
	return nil
}

func (m *Monitor) checks() []*check {
	var all []*check
	for _, s := range m.services {
		all = append(all, s.checks...)
	}
	return all
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
			Reason:  s.verdict.reason,
			Since:   s.since,
			Noticed: s.noticed,
			Checks:  s.checkStatus(),
		}
	}
	return all
}

func (s *service) checkStatus() []CheckStatus {
	all := make([]CheckStatus, len(s.checks))
	for i, c := range s.checks {
		all[i] = CheckStatus{Name: c.Name, State: c.counter.state, Reason: c.reason, Since: c.since}
	}
	return all
}

// loop makes the attempts of one check, one at a time.
func (m *Monitor) loop(ctx context.Context, c *check, first time.Duration, s schedule) {
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.kick:
		}
		started := time.Now()
		m.attempt(ctx, c, started)
		timer.Reset(time.Until(m.next(c, s, started)))
	}
}

// next tells when c is to be tried again.
func (m *Monitor) next(c *check, s schedule, started time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	// A look at the socket table is cheap, and a socket that comes back has no event: look often while there is none.
	if c.counter.changing() || c.Listener != nil && c.counter.state == Down {
		return s.soon(started)
	}
	return s.settled(time.Now())
}

// attempt makes one attempt and records it, unless something in between made it worthless.
func (m *Monitor) attempt(parent context.Context, c *check, started time.Time) {
	ctx, cancel := context.WithTimeout(parent, c.Timeout)
	defer cancel()
	epoch := m.begin(c, cancel)
	err := c.Checker.Check(ctx)
	ended := time.Now()
	if err == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("answered after more than %v", c.Timeout)
	}
	if parent.Err() == nil {
		m.end(c, epoch, err, ended, ended.Sub(started))
	}
}

func (m *Monitor) begin(c *check, cancel context.CancelFunc) (epoch int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.cancel = cancel
	return c.epoch
}

func (m *Monitor) end(c *check, epoch int, err error, at time.Time, took time.Duration) {
	m.update(func() {
		c.cancel = nil
		if epoch != c.epoch {
			return
		}
		m.metrics.attempt(c, err, took)
		m.record(c, err, at)
	})
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

// socketGone takes the kernel's word that a socket on a watched port was destroyed. If it was the last one, its service is
// down now; if others serve on, the service's own checks tell at once whether it still works.
func (m *Monitor) socketGone(k kernel, e socketEvent) {
	m.metrics.event(e)
	for _, c := range m.listeners {
		if !e.concerns(*c.Listener) {
			continue
		}
		bound, err := k.bound(*c.Listener)
		m.update(func() { m.sawGone(c, bound, err, e) })
	}
}

func (m *Monitor) sawGone(c *check, bound bool, err error, e socketEvent) {
	switch {
	case err != nil:
		c.run() // the table could not be read: look again
	case bound:
		c.service.kickActive()
	default:
		c.restart() // a look begun before must not bring it back
		m.record(c, gone(*c.Listener, e), e.at)
		c.run() // and look often from now on
	}
}

func gone(l Listener, e socketEvent) error {
	if e.lost {
		return fmt.Errorf("no %s", l.describe())
	}
	return fmt.Errorf("last %s destroyed", l.describe())
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
		if c.Listener != nil {
			m.follow(c)
		}
	}
	m.combine(c.service, at)
	m.signal()
}

// follow makes the active checks of a service follow the fate of its socket. Gone: what they have seen is worthless, even
// if another process answers soon. Back: they need not wait for their next turn.
func (m *Monitor) follow(listener *check) {
	s := listener.service
	if listener.counter.state == Up {
		s.kickActive()
		return
	}
	for _, c := range s.checks {
		if c.Listener == nil {
			c.forget(listener.since)
			m.metrics.state(c)
		}
	}
}

func (m *Monitor) combine(s *service, at time.Time) {
	was := s.verdict.state
	s.verdict = s.verdict.combine(s.checkStatus())
	if s.verdict.state == was {
		return
	}
	s.since, s.noticed = time.Now(), at
	m.metrics.serviceState(s)
	now := s.verdict
	m.news = append(m.news, func() {
		m.log.Info("service "+now.state.String(), "service", s.name, "was", was.String(), "reason", now.reason)
	})
}

func (m *Monitor) signal() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

func (c *check) status() CheckStatus {
	return CheckStatus{State: c.counter.state, Reason: c.reason, Since: c.since}
}

// take counts one result. The caller holds the monitor's mu.
func (c *check) take(err error, at time.Time) {
	if unsure(err) {
		c.reason = err.Error()
		return
	}
	was := c.counter.state
	c.counter.observe(err == nil)
	if c.counter.state != was {
		c.since = at
	} else if c.Listener != nil && was == Down {
		return // how the socket went says more than that it is still not there
	}
	c.reason = c.explain(err)
}

func (c *check) explain(err error) string {
	switch {
	case err != nil && c.counter.state == Up:
		return fmt.Sprintf("failed %d of %d: %v", c.counter.streak, c.counter.fall, err)
	case err != nil:
		return err.Error()
	case c.counter.state == Up:
		return "ok"
	default:
		return fmt.Sprintf("ok, %d of %d in a row", c.counter.streak, c.counter.rise)
	}
}

// forget starts c anew: unknown, the attempt under way does not count, the next one runs at once.
func (c *check) forget(at time.Time) {
	c.counter.reset()
	c.reason, c.since = "starts anew: the socket is gone", at
	c.restart()
	c.run()
}

// restart ends the attempt under way without a result.
func (c *check) restart() {
	c.epoch++
	if c.cancel != nil {
		c.cancel()
	}
}

// run makes the next attempt run at once, or right after the one under way.
func (c *check) run() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func (s *service) kickActive() {
	for _, c := range s.checks {
		if c.Listener == nil {
			c.run()
		}
	}
}
