package labreport

import (
	"fmt"

	"github.com/anyedge/anyedge/internal/report"
	"github.com/anyedge/anyedge/pkg/lab"
)

// A measure is one figure of every run; less is better.
type measure struct {
	ID, Name string
	Count    bool // of packets; else milliseconds
	of       func(lab.Measured) (float64, bool)
}

// measures returns all of them in the order of tables.
func measures() []measure {
	always := func(v float64) (float64, bool) { return v, true }
	list := []measure{
		{"mttr_ms", "MTTR", false, func(m lab.Measured) (float64, bool) { return always(m.MTTRMs) }},
		{"lost", "lost", true, func(m lab.Measured) (float64, bool) { return always(float64(m.Lost)) }},
		{"lost_on_return", "lost on return", true, func(m lab.Measured) (float64, bool) { return always(float64(m.LostOnReturn)) }},
		{"gap_ms", "longest gap", false, func(m lab.Measured) (float64, bool) { return always(m.GapMs) }},
		{"rtt_ms", "round trip", false, func(m lab.Measured) (float64, bool) { return always(m.RTTMs) }},
		{"mttr_minus_rtt_ms", "MTTR - round trip", false, func(m lab.Measured) (float64, bool) { return always(m.MTTRMs - m.RTTMs) }},
	}
	for _, p := range phases() {
		list = append(list, measure{p.id, p.name, false, func(m lab.Measured) (float64, bool) { v, ok := m.Phases[p.id]; return v, ok }})
	}
	return append(list,
		measure{"updates", "UPDATEs", true, func(m lab.Measured) (float64, bool) { return always(float64(m.Updates)) }},
		measure{"route_changes", "route changes", true, func(m lab.Measured) (float64, bool) { return always(float64(m.RouteChanges)) }},
		measure{"tcp_resets", "TCP resets", true, ofTCP(func(t lab.TCP) float64 { return float64(t.Resets) })},
		measure{"tcp_timeouts", "TCP timeouts", true, ofTCP(func(t lab.TCP) float64 { return float64(t.Timeouts) })},
		measure{"tcp_silent_ms", "TCP silent", false, ofTCP(func(t lab.TCP) float64 { return t.SilentMs })},
	)
}

// ofTCP is a figure of the TCP client, which not every run has.
func ofTCP(of func(lab.TCP) float64) func(lab.Measured) (float64, bool) {
	return func(m lab.Measured) (float64, bool) {
		if m.TCP == nil {
			return 0, false
		}
		return of(*m.TCP), true
	}
}

// A phase of a failover, as people read it.
type phase struct{ id, name, meaning string }

// phases are in the order of tables. Those that are the agent's are missing where it is the victim, those of a bridge where
// there is none.
func phases() []phase {
	return []phase{
		{"noticed", "noticed", "the agent noticed"},
		{"confirmed", "confirmed", "the agent was sure"},
		{"bridged", "bridged", "packets took the bridge"},
		{"written", "written", "the first UPDATE was written"},
		{"first_route", "first route", "the first router changed its route"},
		{"diverted", "diverted", "the last router changed its route"},
		{"first_answer", "first answer", "the next site's first answer arrived"},
		{"withdrawn", "withdrawn", "the withdrawal was written"},
		{"unbridged", "unbridged", "packets took the bridge no more"},
		{"healed", "healed", "the fault was undone"},
		{"announced", "announced", "the healed site announced again"},
		{"returned", "returned", "the last router changed back"},
		{"back", "back", "the healed site answered"},
	}
}

func measureOf(id string) measure {
	for _, m := range measures() {
		if m.ID == id {
			return m
		}
	}
	return measure{ID: id, Name: id, of: func(lab.Measured) (float64, bool) { return 0, false }}
}

// values returns the measure of every run that has it.
func (m measure) values(r lab.Result) []float64 {
	var values []float64
	for _, run := range r.Runs {
		if v, ok := m.of(run); ok {
			values = append(values, v)
		}
	}
	return values
}

func (m measure) unit() string {
	if m.Count {
		return ""
	}
	return ", ms"
}

func (m measure) show(v float64) string {
	if m.Count {
		return report.Number(v)
	}
	return fmt.Sprint(report.Ms(v))
}
