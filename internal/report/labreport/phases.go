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

// answered ends a failover as the client sees it.
const answered = "first_answer"

// phaseBars shows how long each step of each failover took: until the client was answered again, and until all was as before.
func phaseBars(r lab.Result) (report.Section, error) {
	s := report.Section{
		Title: "Phases of each failover",
		Text:  "From the fault on, in the order of the median. A phase that was over before the one left of it, or that a run does not have, has no bar.",
	}
	runs := slices.DeleteFunc(numbered(r), func(n numberedRun) bool { return len(n.Phases) == 0 })
	if len(runs) > shownBars {
		s.Notes = []string{fmt.Sprintf("%d of %d runs, evenly from the fastest to the slowest.", shownBars, len(runs))}
		runs = spread(runs, shownBars)
	}
	order := byMedian(r)
	split := slices.IndexFunc(order, func(p phase) bool { return p.id == answered }) + 1
	if split == 0 {
		split = len(order) // nobody took over
	}
	for _, picture := range []struct {
		title  string
		phases []phase
	}{{"Until the client is answered again", order[:split]}, {"Failover and failback", order[max(0, split-1):]}} {
		if len(picture.phases) < 2 {
			continue
		}
		p, err := bars(picture.title, runs, picture.phases)
		if err != nil {
			return s, err
		}
		if len(p.Legend) > 0 {
			s.Pictures = append(s.Pictures, p)
		}
	}
	return s, nil
}

// byMedian returns the phases that runs have, in the order in which they usually end.
func byMedian(r lab.Result) []phase {
	medians := map[string]float64{}
	for _, p := range phases() {
		if v := measureOf(p.id).values(r); len(v) > 0 {
			medians[p.id] = report.Median(v)
		}
	}
	order := slices.DeleteFunc(phases(), func(p phase) bool { _, ok := medians[p.id]; return !ok })
	slices.SortStableFunc(order, func(a, b phase) int { return cmp.Compare(medians[a.id], medians[b.id]) })
	return order
}

func bars(title string, runs []numberedRun, of []phase) (report.Picture, error) {
	var names []string
	for _, p := range of {
		names = append(names, "until "+p.meaning)
	}
	var bars []report.Bar
	for _, run := range runs {
		bars = append(bars, report.Bar{Name: fmt.Sprintf("run %d", run.number), Parts: parts(run.Measured, of)})
	}
	return report.Bars(title, "after the fault, ms", names, bars)
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

// end is when the client was answered again; without that, when the last phase was over.
func end(m lab.Measured) (end float64) {
	if v, ok := m.Phases[answered]; ok {
		return v
	}
	for _, v := range m.Phases {
		end = max(end, v)
	}
	return end
}

// parts returns the time that each of some phases took beyond those before it.
func parts(m lab.Measured, of []phase) []float64 {
	var parts []float64
	reached := 0.0
	for _, p := range of {
		at := max(reached, m.Phases[p.id])
		parts = append(parts, at-reached)
		reached = at
	}
	return parts
}
