package announce

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/health"
)

// A Controller decides for a set of services and has the result bridged and announced.
type Controller struct {
	log     *slog.Logger
	parts   Parts
	plan    plan
	keeper  *keeper
	confirm *confirmer
	outside *outside
	repair  *repair
	metrics *metrics
	comers  *comers
	fixed   int // so many services, the first ones, are of Config
	hurry   chan struct{}
	hurried sync.Once
	changed chan struct{} // capacity 1: status

	statusMu sync.Mutex // guards status, served
	status   []ServiceStatus
	served   map[netip.Addr]serves // each VIP

	// What follows belongs to the goroutine of Run.
	index      map[string]int // of a service, by name
	machine    *machine
	health     []health.Status     // of each service
	drain      []string            // why each service is to be drained
	leaving    bool                // a service that comes and goes is to go
	refused    map[string]string   // services that do not come, and whose name or address they have; told
	carried    []Bridging          // after the last decision
	wanted     []bgp.Advertisement // after the last decision
	announced  []bgp.Advertisement // what the speaker took last
	generation uint64
	doubtful   bool      // the last Set failed: what the speaker has is not known
	pending    []outcome // decided, but not taken by the speaker yet
	again      backoff
	hurrying   bool // in stopping: no more waits
}

// NewController returns a controller; it starts nothing. Health and Speaker must be there; a nil log discards.
func NewController(log *slog.Logger, parts Parts, cfg Config) *Controller {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	machine := newMachine(cfg)
	p := newPlan(machine.vips)
	m := newMetrics()
	m.init()
	m.add(nil, machine.services, p)
	k := newKeeper(log, parts.Addresses, p.addresses, m)
	r := newRepair(log, parts, m)
	c := &Controller{
		log: log, parts: parts, plan: p, keeper: k, repair: r, metrics: m, machine: machine,
		confirm: newConfirmer(parts.Speaker),
		outside: &outside{parts: parts, vips: machine.vips, keeper: k, repair: r, isolation: make([]bool, len(machine.vips))},
		comers:  &comers{changed: make(chan struct{}, 1)},
		fixed:   len(cfg.Services),
		refused: make(map[string]string),
		hurry:   make(chan struct{}),
		changed: make(chan struct{}, 1),
		status:  make([]ServiceStatus, len(cfg.Services)),
		served:  make(map[netip.Addr]serves),
		drain:   make([]string, len(cfg.Services)),
		index:   make(map[string]int),
	}
	for i, s := range machine.services {
		c.index[s.Name] = i
	}
	for i := range c.status {
		c.status[i] = c.statusOf(i)
	}
	return c
}

// Run decides until ctx is done. Then it drains what is announced, each service for its own time, withdraws everything, waits
// a moment until that was written to the routers and what is under way was served, and returns nil. All the while addresses
// and bridges stay, for packets under way: the caller stops the speaker, and only then removes them. Run may be called once;
// the bridge must be ready, and speaker and bridge must take calls of Set from before Run until it has returned.
func (c *Controller) Run(ctx context.Context) error {
	var keeping sync.WaitGroup
	keeping.Go(func() { c.keeper.run(ctx) })
	keeping.Go(func() { c.confirm.run(ctx) })
	keeping.Go(func() { c.parts.Drains.watch(ctx) })
	defer keeping.Wait()
	c.repair.resume(c.machine)
	c.outside.look()
	c.readDrains()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			c.stop(context.WithoutCancel(ctx))
			return nil
		case <-timer.C:
		case <-c.parts.Health.Changed():
		case <-c.parts.Speaker.Changed():
			c.outside.look()
		case <-c.repair.bridgeChanged:
		case <-c.repair.peersChanged:
		case <-c.keeper.changed:
		case <-c.parts.Drains.signals():
			c.readDrains()
		case <-c.confirm.changed:
		case <-c.comers.changed:
			c.follow()
		}
		// A stop that comes meanwhile must not leave a change half made.
		again := c.step(context.WithoutCancel(ctx), false)
		if c.leaving {
			again = earliest(again, c.follow())
		}
		if again.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(again))
		}
	}
}

// Hurry cuts the waits of stopping short. It may be called at any time, more than once, from any goroutine.
func (c *Controller) Hurry() { c.hurried.Do(func() { close(c.hurry) }) }

// step decides once, and returns when to do it again if nothing changes before; zero: no need. Between the decision, the
// bridge and the speaker stands nothing that may be slow: it is told and recorded after that.
func (c *Controller) step(ctx context.Context, stop bool) (again time.Time) {
	decided, again := c.decide(stop)
	bridged := c.repair.set(ctx, c.bridges())
	if bridged.failed { // what cannot be bridged must go another way, at once
		var more []outcome
		more, again = c.decide(stop)
		decided = append(decided, more...)
		bridged = c.repair.set(ctx, c.bridges()).after(bridged)
	}
	want := c.advertisements()
	var err error
	if c.doubtful || !slices.Equal(want, c.announced) {
		var generation uint64
		if generation, err = c.parts.Speaker.Set(ctx, want...); err == nil {
			c.generation = generation
		}
	}
	at := time.Now()
	c.tellBridges(bridged)
	c.conclude(decided, want, err, at, bridged.at)
	c.publish()
	c.repair.urge()
	if !c.doubtful && c.machine.has(Withdrawing) {
		c.confirm.want(c.generation)
	}
	if err != nil {
		again = earliest(again, time.Now().Add(c.again.next()))
	}
	return earliest(again, bridged.again)
}

// bridges returns the whole wanted set of bridges, made anew only when it is another one.
func (c *Controller) bridges() []Bridging {
	if c.machine.carriers {
		c.carried, c.machine.carriers = c.plan.bridges(c.machine.memory), false
	}
	return c.carried
}

// advertisements does the same for what is announced.
func (c *Controller) advertisements() []bgp.Advertisement {
	if c.machine.levels {
		c.machine.levels = false
		return c.plan.advertisements(c.machine.memory)
	}
	return c.wanted
}

// decide moves every VIP on, and returns those that moved, with those of a service that moved alike together.
func (c *Controller) decide(stop bool) (decided []outcome, again time.Time) {
	c.readHealth()
	v := view{
		now: time.Now(), health: c.health, drain: c.drain,
		written: !c.doubtful && c.confirm.done(c.generation), stop: stop, hurry: c.hurrying, world: c.outside,
	}
	c.outside.now = v.now
	braked := c.machine.braked
	moves, again := c.machine.step(v)
	c.tellBrake(braked, c.machine.braked)
	for _, m := range moves {
		decided = c.join(decided, m, v.now)
	}
	return decided, again
}

// readHealth takes what is known of each service; in the order of the services, as it usually comes, at no cost.
func (c *Controller) readHealth() {
	all := c.parts.Health.Status()
	if slices.EqualFunc(all, c.machine.services, func(st health.Status, s Service) bool { return st.Service == s.Name }) {
		c.health = all
		return
	}
	c.health = make([]health.Status, len(c.machine.services))
	for _, st := range all {
		if i, ok := c.index[st.Service]; ok {
			c.health[i] = st
		}
	}
}

// readDrains takes what is to be drained.
func (c *Controller) readDrains() {
	for i, s := range c.machine.services {
		c.drain[i] = cmp.Or(s.Leave, c.parts.Drains.wanted(s))
	}
}

// tellBrake is loud: a common cause wants a person.
func (c *Controller) tellBrake(was, is string) {
	switch {
	case was == "" && is != "":
		c.log.Error("brake: nothing is withdrawn; look for a common cause, then repair or drain", "why", is)
	case was != "" && is == "":
		c.log.Warn("brake released")
	}
}

// outcome is what was decided for VIPs of one service that move alike, and what came of it.
type outcome struct {
	time       time.Time // of the decision
	index      int       // of the service
	service    string
	vips       []int
	state      State
	action     Action
	hold       Hold
	reason     string
	targets    []Target
	cause      Cause
	addresses  []netip.Prefix // of the VIPs
	prefixes   []netip.Prefix // that it moved
	bridged    time.Time      // when the bridge had it; zero: it is not bridged
	generation uint64
}

// join adds a move to the outcomes.
func (c *Controller) join(all []outcome, m move, now time.Time) []outcome {
	vip := c.machine.vips[m.vip]
	o := outcome{
		time: now, index: vip.service, service: c.machine.services[vip.service].Name, vips: []int{m.vip}, addresses: []netip.Prefix{vip.Address},
		state: m.to.State, action: m.Action, hold: m.to.Hold, reason: m.Reason, targets: m.to.Targets, cause: m.Cause,
	}
	if len(all) > 0 { // the VIPs of a service stand together
		if last := &all[len(all)-1]; last.alike(o) {
			last.vips, last.addresses = append(last.vips, m.vip), append(last.addresses, vip.Address)
			return all
		}
	}
	return append(all, o)
}

func (o outcome) alike(other outcome) bool {
	return o.index == other.index && o.state == other.state && o.action == other.action && o.reason == other.reason &&
		o.cause == other.cause && slices.Equal(o.targets, other.targets)
}

// moved returns the prefixes that an outcome moved.
func (c *Controller) moved(o outcome, after []bgp.Advertisement) []netip.Prefix {
	moved := []netip.Prefix{}
	for _, i := range o.vips {
		prefix := c.machine.vips[i].Announce
		if changed(prefix, o.action, c.wanted, after) && !slices.Contains(moved, prefix) {
			moved = append(moved, prefix)
		}
	}
	return moved
}

// conclude keeps what came of a Set at a time, and tells it. What the speaker did not take stays pending and is told
// with the Set that it takes: nothing is held to be announced, or withdrawn, before.
func (c *Controller) conclude(decided []outcome, want []bgp.Advertisement, err error, at, bridged time.Time) {
	for _, o := range decided {
		o.prefixes = c.moved(o, want)
		if len(o.targets) > 0 {
			o.bridged = bridged
		}
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
			c.metrics.took(at.Sub(o.cause.Noticed))
		}
		c.tell(o, at)
	}
	c.pending = nil
}

// tell puts one decision into the journal and the log.
func (c *Controller) tell(o outcome, at time.Time) {
	c.parts.Journal.decision(o)
	level := slog.LevelInfo
	attrs := []any{"service", o.service, "vips", o.addresses, "state", o.state.String(), "action", o.action.String(), "reason", o.reason}
	if o.action != None {
		attrs = append(attrs, "prefixes", o.prefixes, "generation", o.generation, "after", at.Sub(o.cause.Noticed))
	}
	if o.action == Withdraw || o.state.sick() {
		level = slog.LevelWarn
	}
	c.log.Log(context.Background(), level, "decision", attrs...)
}

// tellBridges puts what became of the bridges into the journal and the log.
func (c *Controller) tellBridges(r repaired) {
	for _, b := range r.changes(c.machine) {
		c.parts.Journal.bridge(b)
		c.log.Info("bridge "+b.action, "service", b.service, "vips", b.vips, "targets", b.targets)
	}
}
