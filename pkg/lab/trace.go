package lab

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/anyedge/anyedge/pkg/probe"
)

// maxTrace bounds the events of a trace: a run usually has some thirty, a flapping site has thousands.
const maxTrace = 400

// A Trace is all that is known of one run, in the order of time.
type Trace struct {
	Events []TraceEvent `json:"events"`
	More   int          `json:"more,omitempty"` // later ones that are left out: the list is bounded
}

// A TraceEvent is one thing that happened. Times are in milliseconds after the fault.
type TraceEvent struct {
	AtMs    float64 `json:"at_ms"`
	UntilMs float64 `json:"until_ms,omitempty"` // of an outage: the first answer after it arrived
	Who     string  `json:"who"`                // a node of the lab; the experiment itself is "edgelab"
	What    What    `json:"what"`
	Detail  string  `json:"detail,omitempty"` // for people
	Lost    int     `json:"lost,omitempty"`   // of an outage
}

// What happened.
type What string

// What a trace tells of.
const (
	TraceFault     What = "fault"     // edgelab broke something
	TraceHealed    What = "healed"    // edgelab undid it
	TraceNoticed   What = "noticed"   // the agent had the event, or the failed check
	TraceConfirmed What = "confirmed" // the agent took its verdict
	TraceBridged   What = "bridged"   // packets take the bridge
	TraceDecision  What = "decision"  // of the agent on the address: state, action, reason
	TraceBridge    What = "bridge"    // the agent's bridge: on, to other hosts, off
	TraceWritten   What = "written"   // an UPDATE reached a neighbor's socket
	TraceSession   What = "session"   // BGP or BFD of the agent
	TraceStart     What = "start"     // of the agent
	TraceRoute     What = "route"     // a router's table changed for the address
	TraceOutage    What = "outage"    // probes that follow each other were lost
	TraceAnswers   What = "answers"   // another site answers the client
)

// trace puts together what agents, routers and prober saw.
func (f failure) trace(p parts, journals map[string][]entry, changes []routeChange, r probe.Report) Trace {
	t := tracer{origin: f.at}
	t.add(f.at, "edgelab", TraceFault, strings.TrimSpace(f.fault.Name+" at "+f.from))
	if f.second > 0 {
		t.add(f.second, "edgelab", TraceFault, f.fault.Name+" at "+f.next)
	}
	if f.healed > 0 {
		t.add(f.healed, "edgelab", TraceHealed, "")
	}
	for _, agent := range p.agents() {
		t.addJournal(agent, journals[agent], f.target.Addr())
	}
	for _, c := range changes {
		t.add(c.at, c.node, TraceRoute, c.String())
	}
	t.addAnswers(p.client, f, r)
	return t.bounded()
}

type tracer struct {
	origin int64
	events []TraceEvent
}

func (t *tracer) add(at int64, who string, what What, detail string) {
	if at > 0 {
		t.events = append(t.events, TraceEvent{AtMs: t.ms(at), Who: who, What: what, Detail: detail})
	}
}

// ms tells a moment of CLOCK_MONOTONIC as milliseconds after the fault.
func (t *tracer) ms(at int64) float64 { return float64(at-t.origin) / 1e6 }

// addJournal takes what an agent wrote since just before the fault: its decisions on the address, and all that is about no
// address.
func (t *tracer) addJournal(agent string, entries []entry, addr netip.Addr) {
	since := t.origin - int64(before)
	var told entry // of which noticed, confirmed and bridged stand in the trace: they are those of a row of decisions
	for _, e := range entries {
		if e.MonoNs < since {
			continue
		}
		switch e.Event {
		case "decision":
			if !e.covers(addr) {
				continue
			}
			for _, step := range []struct {
				what     What
				at, told int64
			}{{TraceNoticed, e.NoticedNs, told.NoticedNs}, {TraceConfirmed, e.ConfirmedNs, told.ConfirmedNs}, {TraceBridged, e.BridgedNs, told.BridgedNs}} {
				if step.at != step.told && step.at >= since {
					t.add(step.at, agent, step.what, "")
				}
			}
			told = e
			t.add(e.MonoNs, agent, TraceDecision, fmt.Sprintf("%s %s, %s: %s", e.Service, e.State, e.Action, e.Reason))
		case "bridge":
			if e.covers(addr) {
				t.add(e.MonoNs, agent, TraceBridge, joinWords(e.Action, e.peers(), e.Reason))
			}
		case "written":
			t.add(e.WrittenNs, agent, TraceWritten, "UPDATE to "+e.Neighbor)
		case "session":
			t.add(e.MonoNs, agent, TraceSession, joinWords(e.Protocol, e.Neighbor, e.State, e.Reason))
		case "start":
			t.add(e.MonoNs, agent, TraceStart, "")
		}
	}
}

// peers names the hosts that packets are bridged to.
func (e entry) peers() string {
	if len(e.Targets) == 0 {
		return ""
	}
	var names []string
	for _, t := range e.Targets {
		names = append(names, t.Peer)
	}
	return "to " + strings.Join(names, ", ") + ":"
}

func joinWords(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// addAnswers takes what the client saw.
func (t *tracer) addAnswers(client string, f failure, r probe.Report) {
	for _, s := range f.spells {
		t.add(s.from, client, TraceAnswers, s.site)
	}
	for _, o := range r.Outages {
		if o.StartMonoNs < f.at-int64(before) {
			continue
		}
		e := TraceEvent{AtMs: t.ms(o.StartMonoNs), Who: client, What: TraceOutage, Lost: o.Lost}
		if o.FirstAnswerMonoNs > 0 {
			e.UntilMs = t.ms(o.FirstAnswerMonoNs)
			e.Detail = cmp.Or(o.FromSite, "nobody") + " -> " + cmp.Or(o.ToSite, "nobody")
		}
		t.events = append(t.events, e)
	}
}

func (t *tracer) bounded() Trace {
	slices.SortStableFunc(t.events, func(a, b TraceEvent) int { return cmp.Compare(a.AtMs, b.AtMs) })
	n := min(len(t.events), maxTrace)
	return Trace{Events: t.events[:n], More: len(t.events) - n}
}
