package announce

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// ServiceStatus is where one service stands now: in the worst of its VIPs' states.
type ServiceStatus struct {
	Service string
	State   State
	Since   time.Time // of State; in Settling, since when the service is up
	Reason  string    // of State, for people
	Drain   string    // why it is to be drained, for people; empty: it is not
	Guard   Guard
	VIPs    []VIPStatus
}

// VIPStatus is where one VIP stands now.
type VIPStatus struct {
	VIP        netip.Prefix
	Announce   netip.Prefix // what announces it
	State      State
	Since      time.Time // of State; in Settling, since when the service is up
	Reason     string    // of State, for people
	Announced  string    // plain, de-preferred, or marked (de-preferred, and marked as sick), as wanted; empty: not at all
	Targets    []Target  // who its packets are carried to; none: it is not bridged
	Bridged    time.Time // since when; zero: it is not
	Hold       Hold      // the guard that keeps it announced
	Next       string    // what becomes of it if nothing changes, for people; empty: nothing
	Suppressed time.Time // not announced in full before, after it failed so often; zero: only as Settle says
	Left       int       // how often it went away for being sick within Guard.Per
}

// Status returns where the services stand, in the order in which they were given, as a copy. Safe for concurrent use.
func (c *Controller) Status() []ServiceStatus {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	all := slices.Clone(c.status)
	for i := range all {
		all[i].VIPs = slices.Clone(all[i].VIPs)
	}
	return all
}

// Changed returns a channel of capacity 1 that has a value when Status changed since the last receive.
func (c *Controller) Changed() <-chan struct{} { return c.changed }

// Serves tells other hosts whether a VIP is served here, and whether it is wanted announced as such. What is about to leave,
// or has not settled, is not: nobody should rely on it. It does not block, and is safe for concurrent use.
func (c *Controller) Serves(vip netip.Addr) (serving, announcing bool) {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	m := c.served[vip] // says no of one that is not ours
	return m.serving, m.announcing
}

// serves is what other hosts are told of a VIP.
type serves struct{ serving, announcing bool }

func (m Memory) serves() serves {
	serving := m.State.served() || m.Well
	return serves{serving, serving && m.State != Isolated && m.State.announcement() != Withdraw}
}

// publish makes Status what was decided for some VIPs, and is cheap when that is nothing new.
func (c *Controller) publish() {
	touched := make(map[int]bool)
	for _, i := range c.machine.touched {
		touched[c.machine.vips[i].service] = true
	}
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	for i := range c.machine.services {
		if c.status[i].Drain != c.drain[i] {
			touched[i] = true
		}
	}
	for _, i := range c.machine.touched {
		c.served[c.machine.vips[i].Address.Addr()] = c.machine.memory[i].serves()
	}
	c.machine.touched = c.machine.touched[:0]
	for i := range touched {
		was := c.status[i].State
		c.status[i] = c.statusOf(i)
		if c.status[i].State != was {
			c.metrics.enter(c.status[i].Service, c.status[i].State)
		}
	}
	if len(touched) == 0 {
		return
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// statusOf tells where a service stands.
func (c *Controller) statusOf(service int) ServiceStatus {
	s := c.machine.services[service]
	status := ServiceStatus{Service: s.Name, Drain: c.drain[service], Guard: s.Guard}
	first := c.machine.first[service]
	for i := first; i < first+len(s.VIPs); i++ {
		m := c.machine.memory[i]
		status.VIPs = append(status.VIPs, VIPStatus{
			VIP: c.machine.vips[i].Address, Announce: c.machine.vips[i].Announce, State: m.State, Since: m.Since, Reason: m.Reason, Announced: m.State.level().String(),
			Targets: slices.Clone(m.Targets), Bridged: m.Bridged, Hold: m.Hold,
			Next: m.next(c.machine.times, s), Suppressed: m.Suppressed, Left: len(m.Left),
		})
	}
	status.summarize()
	return status
}

// summarize tells of the service what is true of the worst of its VIPs, the first of them.
func (s *ServiceStatus) summarize() {
	if len(s.VIPs) == 0 {
		return
	}
	worst := slices.MaxFunc(s.VIPs, func(a, b VIPStatus) int { return badness(a.State) - badness(b.State) })
	s.State, s.Since, s.Reason = worst.State, worst.Since, worst.Reason
}

func badness(s State) int { return slices.Index(states[:], s) }

// next says what becomes of a VIP if nothing changes.
func (m Memory) next(t Times, s Service) string {
	at := func(t time.Time) string { return t.Format("15:04:05.000") }
	switch m.State {
	case Settling:
		return fmt.Sprintf("announced at %s, once its address is on the host", at(later(m.Since.Add(s.Settle), m.Suppressed)))
	case Bridged:
		return fmt.Sprintf("routers are told at %s unless it passes its checks again by then; served here again once it is up for %s", at(m.Sick.Add(t.Grace)), s.Settle)
	case DePreferred:
		return m.nextDePreferred(t)
	case Held:
		return "withdrawn once " + map[Hold]string{
			LastAnnouncer: "another host is seen to announce it", Braked: "the brake is released", Budget: "it has not failed for long enough",
		}[m.Hold]
	case Draining:
		return "withdrawn at " + at(m.Since.Add(s.Drain))
	case Withdrawing:
		return "drained once every router was told"
	case Isolated:
		return "announced once a session carries it"
	case Withdrawn:
		if len(m.Targets) > 0 {
			return fmt.Sprintf("no longer bridged once that was quiet for %s", Quiet)
		}
	}
	return ""
}

func (m Memory) nextDePreferred(t Times) string {
	switch {
	case !m.Suppressed.IsZero():
		return "announced in full at " + m.Suppressed.Format("15:04:05.000")
	case m.Hold != NoHold:
		return "withdrawn once no guard holds it"
	default:
		return fmt.Sprintf("withdrawn once its bridge was quiet for %s, at the latest at %s", Quiet, m.Bridged.Add(t.Max).Format("15:04:05.000"))
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
