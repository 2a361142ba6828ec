package labreport

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/anyedge/anyedge/internal/report"
	"github.com/anyedge/anyedge/pkg/lab"
)

// shownBars is how many runs a picture of bars shows.
const shownBars = 30

// phaseBars shows how long each step of each failover took.
func phaseBars(r lab.Result) (report.Section, error) {
	s := report.Section{
		Title: "Phases of each failover",
		Text:  "From the fault on: until the agent noticed, until the withdrawal was written to its routers, until the first and the last router changed its route, until the next site's first answer reached the client. A phase that was over before the one left of it, or that a run does not have, has no bar.",
	}
	runs := slices.DeleteFunc(numbered(r), func(n numberedRun) bool { return len(n.Phases) == 0 })
	if len(runs) > shownBars {
		s.Notes = []string{fmt.Sprintf("%d of %d runs, evenly from the fastest to the slowest.", shownBars, len(runs))}
		runs = spread(runs, shownBars)
	}
	var names []string
	for _, p := range phases() {
		names = append(names, "until "+p.meaning)
	}
	var bars []report.Bar
	for _, run := range runs {
		bars = append(bars, report.Bar{Name: fmt.Sprintf("run %d", run.number), Parts: parts(run.Measured)})
	}
	p, err := report.Bars("Phases", "after the fault, ms", names, bars)
	if len(p.Legend) > 0 {
		s.Pictures = []report.Picture{p}
	}
	return s, err
}

type numberedRun struct {
	lab.Measured
	number int
}

func numbered(r lab.Result) []numberedRun {
	var runs []numberedRun
	for i, m := range r.Runs {
		runs = append(runs, numberedRun{m, i + 1})
	}
	return runs
}

// spread picks n runs from the fastest to the slowest, both among them.
func spread(runs []numberedRun, n int) []numberedRun {
	slices.SortStableFunc(runs, func(a, b numberedRun) int { return cmp.Compare(end(a.Measured), end(b.Measured)) })
	picked := make([]numberedRun, 0, n)
	for i := range n {
		picked = append(picked, runs[i*(len(runs)-1)/(n-1)])
	}
	return picked
}

// end is when the last phase was over.
func end(m lab.Measured) (end float64) {
	for _, v := range m.Phases {
		end = max(end, v)
	}
	return end
}

// parts returns the time that each phase took beyond those before it.
func parts(m lab.Measured) []float64 {
	var parts []float64
	reached := 0.0
	for _, p := range phases() {
		at := max(reached, m.Phases[p.id])
		parts = append(parts, at-reached)
		reached = at
	}
	return parts
}
