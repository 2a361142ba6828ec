package announce

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/health"
)

// Health tells the state of the services, as health.Monitor does.
type Health interface {
	Changed() <-chan struct{} // one signal, not a queue
	Status() []health.Status
}

// Speaker announces, as bgp.Speaker does.
type Speaker interface {
	// Set makes ads the whole wanted set and returns as soon as the change is taken.
	Set(ctx context.Context, ads ...bgp.Advertisement) (generation uint64, err error)
	// Wait returns when every neighbor that can be told was told.
	Wait(ctx context.Context, generation uint64) error
}

// A Controller decides for a set of services and has the result announced.
type Controller struct {
	log      *slog.Logger
	health   Health
	speaker  Speaker
	journal  *Journal
	services []Service
	plan     plan
	keeper   *keeper
	confirm  *confirmer
	drains   *Drains // nil: nothing but stopping drains
	metrics  *metrics
	hurry    chan struct{}
	hurried  sync.Once
	changed  chan struct{} // capacity 1: status

	statusMu sync.Mutex // guards status
	status   []ServiceStatus

	// What follows belongs to the goroutine of Run.
	index      map[string]int // of a service, by name
	memory     []Memory
	wanted     []bgp.Advertisement // after the last decision
	announced  []bgp.Advertisement // what the speaker took last
	generation uint64
	doubtful   bool      // the last Set failed: what the speaker has is not known
	pending    []outcome // decided, but not taken by the speaker yet
	again      backoff
	hurrying   bool // in stopping: no more waits
}

// NewController returns a controller of services; it starts nothing. Nil addresses: somebody else puts them on the host.
// A nil journal records nothing, nil drains ask for nothing, a nil log discards. Health may leave out services: these stay unknown.
func NewController(log *slog.Logger, h Health, addresses Addresses, speaker Speaker, journal *Journal, drains *Drains, services ...Service) *Controller {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	m, p := newMetrics(), newPlan(services)
	m.init(services, p)
	c := &Controller{
		log: log, health: h, speaker: speaker, journal: journal,
		services: slices.Clone(services),
		plan:     p,
		keeper:   newKeeper(log, addresses, p.addresses, m),
		confirm:  newConfirmer(speaker),
		drains:   drains,
		metrics:  m,
		hurry:    make(chan struct{}),
		changed:  make(chan struct{}, 1),
		status:   make([]ServiceStatus, len(services)),
		index:    make(map[string]int),
		memory:   make([]Memory, len(services)),
	}
	for i, s := range services {
		c.index[s.Name] = i
		c.status[i].Service = s.Name
	}
	return c
}

// Run decides until ctx is done. Then it drains what is announced, each service for its own time, withdraws everything, waits
// a moment until that was written to the routers and what is under way was served, and returns nil. All the while the addresses stay on the host, for packets under
// way: the caller stops the speaker, and only then removes them. Run may be called once; the speaker must take calls of Set
// from before Run until it has returned.
func (c *Controller) Run(ctx context.Context) error {
	var keeping sync.WaitGroup
	keeping.Go(func() { c.keeper.run(ctx) })
	keeping.Go(func() { c.confirm.run(ctx) })
	keeping.Go(func() { c.drains.watch(ctx) })
	defer keeping.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			c.stop(context.WithoutCancel(ctx))
			return nil
		case <-timer.C:
		case <-c.health.Changed():
		case <-c.keeper.changed:
		case <-c.drains.signals():
		case <-c.confirm.changed:
		}
		// A stop that comes meanwhile must not leave a change half made.
		if again := c.step(context.WithoutCancel(ctx), false); again.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(again))
		}
	}
}

// Hurry cuts the waits of stopping short. It may be called at any time, more than once, from any goroutine.
func (c *Controller) Hurry() { c.hurried.Do(func() { close(c.hurry) }) }

// step decides once, and returns when to do it again if nothing changes before; zero: no need. Between the decision and
// the speaker stands nothing that may be slow: it is told and recorded after that.
func (c *Controller) step(ctx context.Context, stop bool) (again time.Time) {
	decided, again := c.decide(stop)
	want := c.plan.wanted(c.memory)
	var err error
	if c.doubtful || !slices.Equal(want, c.announced) {
		var generation uint64
		if generation, err = c.speaker.Set(ctx, want...); err == nil {
			c.generation = generation
		}
	}
	c.conclude(decided, want, err, time.Now())
	c.publish()
	if !c.doubtful && slices.ContainsFunc(c.memory, func(m Memory) bool { return m.State == Withdrawing }) {
		c.confirm.want(c.generation)
	}
	if err != nil {
		again = earliest(again, time.Now().Add(c.again.next()))
	}
	return again
}

// decide moves every service on, and returns those that moved.
func (c *Controller) decide(stop bool) (decided []outcome, again time.Time) {
	status := make([]health.Status, len(c.services))
	for _, st := range c.health.Status() {
		if i, ok := c.index[st.Service]; ok {
			status[i] = st
		}
	}
	written := !c.doubtful && c.confirm.done(c.generation)
	now := time.Now()
	for i, s := range c.services {
		in := Input{
			Now: now, Health: status[i], Drain: c.drains.wanted(s), Written: written, Stop: stop, Hurry: c.hurrying,
		}
		if c.memory[i].State.announcement() == Withdraw { // only what is to be announced asks for addresses
			in.Address = c.keeper.blocked(s)
		}
		next, d, look := Decide(s, c.memory[i], in)
		if next != c.memory[i] {
			decided = append(decided, outcome{
				time: now, index: i, service: s.Name, state: next.State, action: d.Action, reason: d.Reason, noticed: d.Noticed,
			})
		}
		c.memory[i] = next
		again = earliest(again, look)
	}
	return decided, again
}

// conclude keeps what came of a Set at a time, and tells it. What the speaker did not take stays pending and is told
// with the Set that it takes: nothing is held to be announced, or withdrawn, before.
func (c *Controller) conclude(decided []outcome, want []bgp.Advertisement, err error, at time.Time) {
	for _, o := range decided {
		o.prefixes = changed(c.services[o.index], o.action, c.wanted, want)
		c.metrics.decided(o)
		c.pending = append(c.pending, o)
	}
	c.wanted = want
	if err != nil {
		c.doubtful = true
		c.metrics.errors.WithLabelValues("speaker").Inc()
		c.log.Error("bgp speaker did not take the wanted set, trying again", "prefixes", len(want), "err", err)
		return
	}
	c.metrics.wanted(c.announced, want)
	c.announced, c.doubtful, c.again = want, false, backoff{}
	for _, o := range c.pending {
		o.generation = c.generation
		if o.action != None {
			c.metrics.took(at.Sub(o.noticed))
		}
		c.tell(o, at)
	}
	c.pending = nil
}

// tell puts one decision into the journal and the log.
func (c *Controller) tell(o outcome, at time.Time) {
	c.journal.decision(o)
	level := slog.LevelInfo
	attrs := []any{"service", o.service, "state", o.state.String(), "action", o.action.String(), "reason", o.reason}
	if o.action != None {
		attrs = append(attrs, "prefixes", o.prefixes, "generation", o.generation, "after", at.Sub(o.noticed))
	}
	if o.action == Withdraw {
		level = slog.LevelWarn
	}
	c.log.Log(context.Background(), level, "decision", attrs...)
}

// outcome is one decision and what came of it.
type outcome struct {
	time       time.Time // of the decision
	index      int       // of the service
	service    string
	state      State
	action     Action
	reason     string
	noticed    time.Time
	prefixes   []netip.Prefix // that it moved
	generation uint64
}

// earliest returns the earlier of two times; zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
