package labreport

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/internal/report"
	"github.com/anyedge/anyedge/internal/report/reporttest"
	"github.com/anyedge/anyedge/pkg/lab"
)

// bridgedTrace is a failover with a bridge, and its failback.
func bridgedTrace() lab.Trace {
	return lab.Trace{Events: []lab.TraceEvent{
		{AtMs: -1, UntilMs: 4, Who: "client", What: lab.TraceOutage, Detail: "mec-1 -> mec-2", Lost: 3},
		{AtMs: 0, Who: "edgelab", What: lab.TraceFault, Detail: "service-kill at mec-1"},
		{AtMs: 1, Who: "mec1-agent", What: lab.TraceNoticed},
		{AtMs: 3, Who: "mec1-agent", What: lab.TraceDecision, Detail: "app bridged, announce: socket gone"},
		{AtMs: 4, Who: "client", What: lab.TraceAnswers, Detail: "mec-2"},
		{AtMs: 1004, Who: "mec1-agent", What: lab.TraceDecision, Detail: "app depreferred, deprefer: not back within 1s"},
		{AtMs: 1010, Who: "r1", What: lab.TraceRoute, Detail: "route to 2001:db8:80::80/128 via fd00::2"},
		{AtMs: 3000, Who: "edgelab", What: lab.TraceHealed},
		{AtMs: 4000, Who: "client", What: lab.TraceAnswers, Detail: "mec-1"},
	}}
}

func TestTimelines(t *testing.T) {
	t.Parallel()
	r := result(20, 3)
	for i := range r.Runs {
		r.Runs[i].Lost, r.Runs[i].Trace = 3, bridgedTrace()
	}
	r.Runs[7].Lost, r.Runs[9].Lost, r.Runs[11].Lost = 4, 700, 30
	r.Runs[9].Trace.More = 12
	r.Runs[9].Drops = map[string]map[string]int64{"mec1": {"Udp6RcvbufErrors": 77}}
	var numbers []int
	for _, n := range told(r) {
		numbers = append(numbers, n.number)
	}
	if diff := cmp.Diff([]int{1, 10, 12}, numbers); diff != "" {
		t.Errorf("runs in full (-want +got):\n%s", diff)
	}
	text := reporttest.Check(t, page(t, r, quickstart(t)))
	for _, want := range []string{
		"Run 1 in full: 3 probes lost", "Run 10 in full: 700 probes lost, more than usual", "9 events", "21 events",
		"12 later ones are not kept", "mec-1 -> mec-2, until 4 ms: 3 lost", "app depreferred, deprefer: not back within 1s", "mec-2 answers",
		"Udp6RcvbufErrors", "77",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestLanes(t *testing.T) {
	t.Parallel()
	colors := map[string]report.Color{"mec-1": report.Site(0), "mec-2": report.Site(1)}
	lanes, legend := lanesOf(lab.Measured{SiteFrom: "mec-1", SiteTo: "mec-2", Trace: bridgedTrace()}, colors)
	const end = 4500.0
	want := []report.Lane{
		{Name: "client", Spans: []report.Span{
			{From: -end, To: 4, Color: report.Site(0)}, {From: 4, To: 4000, Color: report.Site(1)}, {From: 4000, To: end, Color: report.Site(0)},
			{From: -1, To: 4, Color: report.Bad},
		}},
		{Name: "edgelab", Marks: []float64{0, 3000}},
		{Name: "mec1-agent", Spans: []report.Span{{From: 3, To: 1004, Color: stateColors["bridged"]}, {From: 1004, To: end, Color: stateColors["depreferred"]}}},
		{Name: "r1", Marks: []float64{1010}},
	}
	if diff := cmp.Diff(want, lanes); diff != "" {
		t.Errorf("lanes (-want +got):\n%s", diff)
	}
	if len(legend) != 5 {
		t.Errorf("legend %v: want two sites, two states and losses", legend)
	}
}

// Files may hold any number.
func TestWildTrace(t *testing.T) {
	t.Parallel()
	r := result(2, 14)
	r.Runs[0].Trace.Events = []lab.TraceEvent{
		{AtMs: math.MaxFloat64, UntilMs: -math.MaxFloat64, What: lab.TraceOutage}, {AtMs: -math.MaxFloat64, What: lab.TraceRoute},
		{AtMs: 1, UntilMs: math.MaxFloat64, What: lab.TraceOutage}, {What: lab.TraceDecision, Detail: ","},
	}
	reporttest.Check(t, page(t, r, quickstart(t)))
}
