package announce

import (
	"net/netip"
	"slices"
	"time"

	"github.com/anyedge/anyedge/pkg/health"
)

// A machine decides for all VIPs of a host, as Decide does for one. It knows no clock and does no I/O: what it is told
// stands in a view.
type machine struct {
	times    Times
	guards   Guards
	services []Service
	vips     []vipOf  // those of a service together
	first    []int    // VIP of each service
	memory   []Memory // of each VIP
	touched  []int    // VIPs that look different now; whoever shows them empties it
	levels   bool     // a VIP is to be announced otherwise than before; whoever announces resets it
	carriers bool     // a VIP is to be bridged otherwise than before; whoever bridges resets it
	braked   string   // why nothing may be withdrawn; empty: it may
}

// vipOf is one VIP and the index of its service.
type vipOf struct {
	VIP
	service int
}

func newMachine(cfg Config) *machine {
	m := &machine{times: cfg.Bridge.withDefaults(), guards: cfg.Guards}
	m.guards.Brake = cfg.Guards.Brake.withDefaults()
	for i, s := range cfg.Services {
		s.Guard = s.Guard.withDefaults()
		m.services, m.first = append(m.services, s), append(m.first, len(m.vips))
		for _, v := range s.VIPs {
			m.vips = append(m.vips, vipOf{v, i})
		}
	}
	m.memory = make([]Memory, len(m.vips))
	return m
}

// resume takes over the bridges that an earlier process left switched on, and tells whether there are any of ours.
func (m *machine) resume(found []Bridging, now time.Time) (any bool) {
	on := make(map[netip.Prefix][]Target, len(found))
	for _, b := range found {
		on[b.VIP] = b.Targets
	}
	for i, v := range m.vips {
		if targets := on[v.Address]; len(targets) > 0 {
			m.memory[i] = m.memory[i].carriedBy(targets, now)
			m.carriers, any = true, true
		}
	}
	return any
}

// A view is what a machine looks at.
type view struct {
	now                  time.Time
	health               []health.Status // of each service
	drain                []string        // why each service is to be drained
	written, stop, hurry bool
	world
}

// A world tells what few VIPs need to know, each by its index.
type world interface {
	address(vip int) error
	isolated(vip int) bool
	targets(vip int) ([]Target, error)
	busy(vip int) time.Time
	others(vip int) string
}

// A move is a decision about one VIP.
type move struct {
	vip  int
	from State
	to   Memory
	Decision
}

// step moves every VIP on, and returns those that moved and when to look again; zero: no need. The brake looks first, at
// all that fell sick until now.
func (m *machine) step(v view) (moves []move, again time.Time) {
	m.braked = m.guards.Brake.holds(m.braked != "", v.now, m.sick(v), len(m.services))
	for i := range m.vips {
		if m.calm(v, i) {
			continue
		}
		s, was := &m.services[m.vips[i].service], &m.memory[i]
		next, d, look := Decide(m.times, *s, *was, m.input(v, i))
		if was.moved(next) {
			moves = append(moves, move{vip: i, from: was.State, to: next, Decision: d})
		}
		if !was.shown(next) {
			m.touched = append(m.touched, i)
		}
		m.levels = m.levels || was.State.level() != next.State.level()
		m.carriers = m.carriers || !slices.Equal(was.Targets, next.Targets)
		m.memory[i] = next
		again = earliest(again, look)
	}
	return moves, again
}

// calm tells whether Decide would change nothing: so most VIPs are, most of the time.
func (m *machine) calm(v view, i int) bool {
	of := m.vips[i].service
	return m.memory[i].State == Up && v.health[of].State == health.Up && !v.health[of].Degraded && v.drain[of] == "" && !v.stop && !v.isolated(i)
}

// sick returns since when the sick services are, those included that fall now. What is to be drained is gone by order.
func (m *machine) sick(v view) (since []time.Time) {
	last := -1 // the service that was counted last: its VIPs stand together
	for i := range m.vips {
		was, of := &m.memory[i], m.vips[i].service
		at := was.Sick
		if at.IsZero() && v.health[of].State == health.Down && was.State.served() && v.drain[of] == "" {
			at = v.now
		}
		switch {
		case at.IsZero():
		case of == last:
			since[len(since)-1] = earliest(since[len(since)-1], at)
		default:
			since, last = append(since, at), of
		}
	}
	return since
}

// input asks the world for what the VIP's state needs: most are well, and the way of a failure must be short.
func (m *machine) input(v view, i int) Input {
	was, of := &m.memory[i], m.vips[i].service
	in := Input{
		Now: v.now, Health: v.health[of], Drain: v.drain[of], Written: v.written, Stop: v.stop, Hurry: v.hurry,
		Isolated: v.isolated(i), Brake: m.braked,
	}
	if was.State.announcement() == Withdraw {
		in.Address = v.address(i)
	}
	if in.Health.State == health.Down && was.State != Withdrawn || len(was.Targets) > 0 || was.State.marked() {
		in.Targets, in.Refused = v.targets(i)
	}
	if len(was.Targets) > 0 {
		in.Busy = v.busy(i)
	}
	if in.Health.State == health.Down || !was.Sick.IsZero() {
		in.Others = v.others(i)
	}
	return in
}

// has tells whether a VIP is in a state.
func (m *machine) has(s State) bool {
	return slices.ContainsFunc(m.memory, func(m Memory) bool { return m.State == s })
}

// earliest returns the earlier of two times; zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
