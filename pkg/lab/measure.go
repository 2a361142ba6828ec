package lab

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/anyedge/anyedge/pkg/probe"
)

// schedule is the share of its schedule that a prober must have sent for a run to be valid.
const schedule = 0.99

// A failure is one fault that was injected and healed. Moments are CLOCK_MONOTONIC in nanoseconds; 0: there is none.
type failure struct {
	fault  Fault
	from   string         // site that was hit
	to     string         // site that took over; empty: none
	next   string         // site that was hit as the second one
	target netip.AddrPort // that the prober asks

	at     int64   // just before the fault
	second int64   // just before the second one
	answer int64   // the next site's first answer
	healed int64   // just before the healing
	back   int64   // the healed site's first answer
	spells []spell // who answered since the fault
}

// saw is what the machinery around a failure has to say.
type saw struct {
	report   probe.Report
	journals map[string][]entry // by agent
	changes  []routeChange      // of routes to the measured address, by time
	tcp      *TCP               // nil: not tried
	drops    drops
}

// measure turns what prober, journals and routers saw into figures.
func (f failure) measure(p parts, s saw) (Measured, error) {
	r := s.report
	f.complete(r)
	if float64(r.Sent) < schedule*float64(r.Scheduled) {
		return Measured{}, fmt.Errorf("%w: the prober sent %d of %d", errInvalid, r.Sent, r.Scheduled)
	}
	m := Measured{
		Fault: f.fault.Name, SiteFrom: f.from, SiteTo: f.to, ProbeIntervalMs: r.IntervalMs,
		RTTMs: r.RTTBySiteMs[f.from].P50, ReturnMs: float64(max(0, f.back-f.healed)) / 1e6,
		TCP: s.tcp, Drops: s.drops,
	}
	f.losses(&m, r)
	if f.at-int64(before) > r.StartMonoNs && m.Lost != r.Lost {
		return Measured{}, fmt.Errorf("%w: %d lost before the fault", errInvalid, r.Lost-m.Lost)
	}
	m.Phases = f.phases(p, s)
	m.RouteChanges = len(s.changes)
	for _, entries := range s.journals {
		m.Updates += updates(entries, f.at)
	}
	m.DetectMs, m.WithdrawMs = m.Phases["noticed"], m.Phases["written"]
	if m.DetectMs == 0 { // no agent did: the routers themselves
		m.DetectMs, m.WithdrawMs = m.Phases["first_route"], m.Phases["first_route"]
	}
	m.Trace = f.trace(p, s.journals, s.changes, r)
	m.Series = f.course(r)
	return m, nil
}

// complete finds who took over and when the healed site was back, where nobody waited for it.
func (f *failure) complete(r probe.Report) {
	i := slices.IndexFunc(f.spells, func(s spell) bool { return s.site != f.from && (f.healed == 0 || s.from < f.healed) })
	if f.to == "" && i >= 0 {
		f.to = f.spells[i].site
	}
	if f.answer == 0 && i >= 0 {
		f.answer = f.spells[i].from
	}
	for _, o := range r.Outages {
		if f.back == 0 && o.StartMonoNs < f.healed && o.FirstAnswerMonoNs > f.healed && o.ToSite == f.from {
			f.back = o.FirstAnswerMonoNs
		}
	}
}

// phases returns when each step was done, in ms after the fault.
func (f failure) phases(p parts, s saw) map[string]float64 {
	phases := map[string]float64{}
	phase := func(name string, at int64) {
		if at > 0 {
			phases[name] = float64(at-f.at) / 1e6
		}
	}
	addr, healed := f.target.Addr(), f.healed
	if healed == 0 {
		healed = math.MaxInt64
	}
	agent, _ := p.player("agent", f.from) // nobody: no journal
	reacted := react(s.journals[agent], addr, f.at, healed)
	phase("noticed", reacted.noticed)
	phase("confirmed", reacted.confirmed)
	phase("bridged", reacted.bridged)
	phase("written", reacted.written)
	phase("withdrawn", reacted.withdrawn)
	phase("unbridged", reacted.unbridged)

	diverting := f.answer // what routers do later does not move the client
	if reacted.bridged > 0 {
		diverting = healed // with a bridge it has its answers before they do anything
	}
	first, last := firstAndLast(s.changes, diverting)
	phase("first_route", first.at)
	phase("diverted", last.at)
	phase("first_answer", f.answer)
	phase("healed", f.healed)
	if f.healed > 0 && f.back > f.healed {
		f.failback(phase, p, s)
		phase("back", f.back)
	}
	return phases
}

// failback tells when the healed site announced again, and when the last router had changed that was to.
func (f failure) failback(phase func(string, int64), p parts, s saw) {
	agent, _ := p.player("agent", f.from)
	decided, announced := announcement(s.journals[agent], f.target.Addr(), f.healed)
	phase("announced", announced)
	var later []routeChange
	for _, c := range s.changes {
		if c.at > max(f.healed, decided) { // it is told late that an UPDATE was written
			later = append(later, c)
		}
	}
	_, last := firstAndLast(later, f.back)
	phase("returned", last.at)
}

// losses adds up the outages from just before the fault on.
func (f failure) losses(m *Measured, r probe.Report) {
	for _, o := range r.Outages {
		if o.StartMonoNs < f.at-int64(before) {
			continue
		}
		m.Lost += o.Lost
		if o.StartMonoNs > f.healed && f.healed > 0 {
			m.LostOnReturn += o.Lost
		}
		m.GapMs = max(m.GapMs, o.GapMs)
	}
	m.MTTRMs = float64(m.Lost) * r.IntervalMs
}
