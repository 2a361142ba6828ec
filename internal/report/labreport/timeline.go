package labreport

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/anyedge/anyedge/internal/report"
	"github.com/anyedge/anyedge/pkg/lab"
)

const (
	// shownTimelines is how many runs are told in full.
	shownTimelines = 5
	// unusual is how many times the median a run must have lost to be told in full, unusualLost how many probes more.
	unusual, unusualLost = 1.5, 3
	// around is the least time that a picture shows around something, ms.
	around = 50
)

// timelines tells all that is known of the first run, and of those that lost more than usual.
func timelines(r lab.Result, colors map[string]report.Color) ([]report.Section, error) {
	var sections []report.Section
	for _, run := range told(r) {
		s, err := timeline(run, colors)
		if err != nil {
			return nil, err
		}
		sections = append(sections, s)
	}
	return sections, nil
}

// told picks the runs: the first one, then those that lost more than usual, the worst first.
func told(r lab.Result) []numberedRun {
	runs := slices.DeleteFunc(numbered(r), func(n numberedRun) bool { return len(n.Trace.Events) == 0 })
	if len(runs) == 0 {
		return nil
	}
	usual := report.Median(measureOf("lost").values(r))
	rest := slices.DeleteFunc(slices.Clone(runs[1:]), func(n numberedRun) bool {
		return float64(n.Lost) <= usual*unusual || float64(n.Lost) <= usual+unusualLost
	})
	slices.SortStableFunc(rest, func(a, b numberedRun) int { return cmp.Compare(b.Lost, a.Lost) })
	return append(runs[:1:1], rest[:min(len(rest), shownTimelines)]...)
}

func timeline(run numberedRun, colors map[string]report.Color) (report.Section, error) {
	s := report.Section{
		Title: fmt.Sprintf("Run %d in full: %s lost", run.number, count(run.Lost, "probe")),
		Text:  "Each row is somebody: for how long who answered the client (red: probes were lost), in which state an agent had the address, and strokes where a router's table changed for it.",
	}
	if run.number > 1 {
		s.Title += ", more than usual"
	}
	lanes, legend := lanesOf(run.Measured, colors)
	for i, window := range windows(run.Measured) {
		title := fmt.Sprintf("Run %d around %s", run.number, report.Ms(window.middle))
		if i == 0 {
			title = fmt.Sprintf("Run %d", run.number)
		}
		p, err := report.Lanes(title, "after the fault, ms", window.from, window.to, lanes)
		if err != nil {
			return s, err
		}
		p.Legend = legend
		s.Pictures = append(s.Pictures, p)
	}
	s.Tables = []report.Table{traceTable(run.Measured)}
	if len(run.Drops) > 0 {
		s.Tables = append(s.Tables, dropTable(run.Drops))
	}
	return s, nil
}

type window struct{ from, to, middle float64 }

// windows are the times that pictures show: all of the run, then what the client lost, the largest outages first.
func windows(m lab.Measured) []window {
	first, last := math.Inf(1), math.Inf(-1)
	var outages []lab.TraceEvent
	for _, e := range m.Trace.Events {
		first, last = min(first, e.AtMs), max(last, e.AtMs, e.UntilMs)
		if e.What == lab.TraceOutage && e.UntilMs > e.AtMs {
			outages = append(outages, e)
		}
	}
	slices.SortStableFunc(outages, func(a, b lab.TraceEvent) int { return cmp.Compare(b.Lost, a.Lost) })
	margin := max(around, (last-first)/50)
	all := []window{{from: first - margin, to: last + margin}}
	for _, o := range outages[:min(len(outages), 2)] {
		margin := max(around, (o.UntilMs-o.AtMs)/2)
		all = append(all, window{o.AtMs - margin, o.UntilMs + margin, (o.AtMs + o.UntilMs) / 2})
	}
	return all
}

// stateColors are those of the states that an agent may have an address in, paler than those of sites; others are not drawn.
var stateColors = map[string]report.Color{
	"up": report.Site(2).Pale(), "settling": report.Site(6).Pale(), "bridged": report.Site(3).Pale(), "depreferred": report.Site(4).Pale(),
	"held": report.Site(1).Pale(), "withdrawn": report.Soft, "draining": report.Site(5).Pale(), "degraded": report.Site(7).Pale(),
}

// lanesOf makes rows of a trace.
func lanesOf(m lab.Measured, colors map[string]report.Color) (lanes []report.Lane, legend []report.Key) {
	end := 0.0
	for _, e := range m.Trace.Events {
		end = max(end, e.AtMs, e.UntilMs)
	}
	end += 10 * around
	rows := map[string]*report.Lane{}
	var names []string
	row := func(who string) *report.Lane {
		if rows[who] == nil {
			rows[who] = &report.Lane{Name: short(who)}
			names = append(names, who)
		}
		return rows[who]
	}
	known := map[string]bool{}
	span := func(who, name string, from float64, color report.Color) {
		l := row(who)
		if n := len(l.Spans); n > 0 {
			l.Spans[n-1].To = from
		}
		l.Spans = append(l.Spans, report.Span{From: from, To: end, Color: color})
		if !known[name] {
			known[name] = true
			legend = append(legend, report.Key{Name: name, Color: color})
		}
	}
	for _, e := range m.Trace.Events {
		if e.What == lab.TraceOutage || e.What == lab.TraceAnswers {
			span(e.Who, m.SiteFrom+" answers", -end, colors[m.SiteFrom])
			break
		}
	}
	var outages []lab.TraceEvent
	for _, e := range m.Trace.Events {
		switch e.What {
		case lab.TraceAnswers:
			span(e.Who, e.Detail+" answers", e.AtMs, colors[e.Detail])
		case lab.TraceOutage:
			outages = append(outages, e)
		case lab.TraceDecision:
			state := stateOf(e.Detail)
			if color, ok := stateColors[state]; ok {
				span(e.Who, state, e.AtMs, color)
			}
		case lab.TraceRoute, lab.TraceFault, lab.TraceHealed, lab.TraceWritten:
			row(e.Who).Marks = append(row(e.Who).Marks, e.AtMs)
		}
	}
	for _, o := range outages {
		row(o.Who).Spans = append(row(o.Who).Spans, report.Span{From: o.AtMs, To: max(o.UntilMs, o.AtMs), Color: report.Bad})
	}
	if len(outages) > 0 {
		legend = append(legend, report.Key{Name: "lost", Color: report.Bad})
	}
	for _, name := range names {
		lanes = append(lanes, *rows[name])
	}
	return lanes, legend
}

// stateOf finds the state in "SERVICE STATE, ACTION: REASON".
func stateOf(detail string) string {
	words, _, _ := strings.Cut(detail, ",")
	return words[strings.LastIndexByte(words, ' ')+1:]
}

// traceTable lists a trace.
func traceTable(m lab.Measured) report.Table {
	t := report.Table{
		Head: []string{"who", "what", "detail", "ms"}, Words: 3, Folded: true,
		Caption: count(len(m.Trace.Events)+m.Trace.More, "event"),
	}
	for _, e := range m.Trace.Events {
		detail := e.Detail
		if e.What == lab.TraceOutage {
			detail = fmt.Sprintf("%s, until %s: %d lost", detail, report.Ms(e.UntilMs), e.Lost)
		}
		t.Rows = append(t.Rows, []string{e.Who, string(e.What), detail, report.Number(e.AtMs)})
	}
	if m.Trace.More > 0 {
		t.Rows = append(t.Rows, []string{"", "", fmt.Sprintf("%d later ones are not kept", m.Trace.More), ""})
	}
	return t
}

// dropTable lists what kernels threw away.
func dropTable(drops map[string]map[string]int64) report.Table {
	t := report.Table{Head: []string{"node", "counter of its kernel", "packets"}, Words: 2, Caption: "Thrown away or sent back"}
	for _, node := range slices.Sorted(maps.Keys(drops)) {
		for _, name := range slices.Sorted(maps.Keys(drops[node])) {
			t.Rows = append(t.Rows, []string{node, name, fmt.Sprint(drops[node][name])})
		}
	}
	return t
}
