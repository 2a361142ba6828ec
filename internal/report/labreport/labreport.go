// Package labreport writes the results of lab experiments as pages, and compares two of them.
package labreport

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/anyedge/anyedge/internal/report"
	"github.com/anyedge/anyedge/pkg/lab"
)

// foldedRuns is how many runs a table shows without being asked to.
const foldedRuns = 30

// Write writes the page of an experiment in a lab of the topology.
func Write(w io.Writer, r lab.Result, t lab.Topology) error {
	page := report.Page{
		Title: r.Experiment + " in " + r.Lab,
		Lead:  fmt.Sprintf("%s, a probe every %s.", count(len(r.Runs), "run"), interval(r)),
	}
	if len(r.Runs) == 0 {
		page.Sections = []report.Section{{Title: "No run was measured"}, made(r)}
		return page.Write(w)
	}
	page.Figures = headline(r)
	colors := siteColors(r)
	for _, draw := range []func() (report.Section, error){
		func() (report.Section, error) { return repairs(r) },
		func() (report.Section, error) { return course(r, colors) },
		func() (report.Section, error) { return phaseBars(r) },
		func() (report.Section, error) { return paths(r, t, colors), nil },
	} {
		s, err := draw()
		if err != nil {
			return err
		}
		if len(s.Pictures)+len(s.Tables) > 0 {
			page.Sections = append(page.Sections, s)
		}
	}
	full, err := timelines(r, colors)
	if err != nil {
		return err
	}
	page.Sections = append(page.Sections, full...)
	page.Sections = append(page.Sections, allRuns(r), made(r))
	return page.Write(w)
}

func siteColors(r lab.Result) map[string]report.Color {
	var sites []string
	for _, m := range r.Runs {
		sites = append(sites, m.SiteFrom, m.SiteTo)
		if m.Series != nil {
			for _, p := range m.Series.Points {
				sites = append(sites, p.Site)
			}
		}
	}
	return report.Sites(slices.DeleteFunc(sites, func(s string) bool { return s == "" }))
}

func headline(r lab.Result) []report.Figure {
	var figures []report.Figure
	for _, f := range []struct{ of, name string }{
		{"mttr_ms", "MTTR, median"}, {"lost", "Lost, median"}, {"rtt_ms", "Round trip, median"}, {"mttr_minus_rtt_ms", "MTTR - round trip"},
		{"gap_ms", "Longest gap"},
	} {
		measure := measureOf(f.of)
		values := measure.values(r)
		figures = append(figures, report.Figure{
			Name: f.name, Value: measure.show(report.Median(values)), Note: "worst " + measure.show(slices.Max(values)),
		})
	}
	return append(figures, report.Figure{Name: "Runs", Value: fmt.Sprint(len(r.Runs)), Note: takeovers(r)})
}

// takeovers says who took over from whom, where it was always the same.
func takeovers(r lab.Result) string {
	from, to := r.Runs[0].SiteFrom, r.Runs[0].SiteTo
	for _, m := range r.Runs {
		if m.SiteFrom != from || m.SiteTo != to {
			return "between several sites"
		}
	}
	return from + " → " + to
}

// repairs shows how the repair times spread.
func repairs(r lab.Result) (report.Section, error) {
	s := report.Section{
		Title: "Repair times",
		Text:  "MTTR is lost probes x probe interval. What is under way to the failed site when it fails is lost whatever anybody does: about a round trip between the diverting router and the site.",
	}
	values := measureOf("mttr_ms").values(r)
	sample := report.Sample{Name: r.Experiment, Values: values, Color: report.Site(0)}
	h, err := report.Histogram("Histogram", "MTTR, ms", sample, r.Runs[0].ProbeIntervalMs)
	if err != nil {
		return s, err
	}
	c, err := report.CDF("Cumulative", "MTTR, ms", sample)
	s.Pictures = []report.Picture{h, c}
	t := report.Table{Caption: "All figures", Head: []string{"", "runs", "best", "median", "mean", "worst"}, Words: 1}
	for _, m := range measures() {
		if v := m.values(r); len(v) > 0 {
			t.Rows = append(t.Rows, []string{m.Name + m.unit(), fmt.Sprint(len(v)), report.Number(slices.Min(v)),
				report.Number(report.Median(v)), report.Number(mean(v)), report.Number(slices.Max(v))})
		}
	}
	s.Tables = []report.Table{t}
	return s, err
}

// course shows what the client saw in the first run.
func course(r lab.Result, colors map[string]report.Color) (report.Section, error) {
	m := r.Runs[0]
	s := report.Section{Title: "What the client saw"}
	if m.Series == nil || len(m.Series.Points) == 0 {
		return s, nil
	}
	s.Text = fmt.Sprintf("The first run: %s answered, then %s. Each dot is the mean round trip of %s, at the time its probes were sent; red: they were lost. A probe sent before the fault may reach the site after it.",
		m.SiteFrom, m.SiteTo, report.Ms(m.Series.StepMs))
	p, err := report.Latency("Latency around the fault", "probe sent after the fault", *m.Series, colors, report.Mark{AtMs: 0, Name: m.Fault})
	s.Pictures = []report.Picture{p}
	return s, err
}

// aside are figures that are left out of the table of all runs, which would be too wide.
var aside = []string{
	"confirmed", "first_route", "withdrawn", "unbridged", "healed", "announced", "returned", "back", "route_changes", "tcp_timeouts", "tcp_silent_ms",
}

// allRuns lists every run.
func allRuns(r lab.Result) report.Section {
	t := report.Table{Head: []string{"run, from", "to"}, Words: 2, Caption: fmt.Sprintf("All %d runs", len(r.Runs)), Folded: len(r.Runs) > foldedRuns}
	var shown []measure
	for _, m := range measures() {
		if len(m.values(r)) > 0 && !slices.Contains(aside, m.ID) {
			shown = append(shown, m)
			t.Head = append(t.Head, m.Name)
		}
	}
	for i, run := range r.Runs {
		row := []string{fmt.Sprintf("%d: %s", i+1, run.SiteFrom), run.SiteTo}
		for _, m := range shown {
			cell := "-"
			if v, ok := m.of(run); ok {
				cell = report.Number(v)
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	if !t.Folded {
		t.Caption = ""
	}
	return report.Section{Title: "Every run", Text: "Times are in milliseconds; phases count from the fault.", Tables: []report.Table{t}}
}

// made tells how to get the result again.
func made(r lab.Result) report.Section {
	m := r.Machine
	return report.Section{Title: "How it was measured", Tables: []report.Table{{
		Words: 2, Rows: [][]string{
			{"command", fmt.Sprintf("edgelab run %s %s --runs %d --seed %d --probe-interval %s", r.Lab, r.Experiment, len(r.Runs), r.Seed, interval(r))},
			{"seed of the moments at which the faults came", fmt.Sprint(r.Seed)},
			{"version", r.Version},
			{"machine", fmt.Sprintf("%s, kernel %s, load %s when it began", count(m.CPUs, "CPU"), m.Kernel, m.Load)},
			{"link delays by", m.Delay},
		},
	}}}
}

func interval(r lab.Result) time.Duration {
	if len(r.Runs) == 0 {
		return 0
	}
	return time.Duration(r.Runs[0].ProbeIntervalMs * float64(time.Millisecond))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / math.Max(1, float64(len(values)))
}
