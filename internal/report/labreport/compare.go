package labreport

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/anyedge/anyedge/internal/report"
	"github.com/anyedge/anyedge/pkg/lab"
)

// enough is how many runs each side needs before a difference is claimed: that all of four runs lie on one side of all
// of four others comes by chance once in 35 times.
const enough = 4

// A Named result is one that has to be told from another.
type Named struct {
	Name   string
	Result lab.Result
}

// A Comparison sets two results side by side.
type Comparison struct {
	A           Side         `json:"a"`
	B           Side         `json:"b"`
	Differences []Difference `json:"differences"` // why figures are not like for like
	Figures     []Compared   `json:"figures"`

	a, b Named
}

// A Side names one of the two results.
type Side struct {
	Name       string `json:"name"`
	Lab        string `json:"lab"`
	Experiment string `json:"experiment"`
	Version    string `json:"version"`
	Runs       int    `json:"runs"`
}

// A Difference between how two results came about.
type Difference struct {
	What string `json:"what"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// Compared is one figure of both results. Less is better in all of them.
type Compared struct {
	Measure string  `json:"measure"`
	A       *Spread `json:"a"` // nil: no run has it
	B       *Spread `json:"b"`
	Ratio   float64 `json:"ratio,omitempty"` // of the medians, B to A; 0: none
	Verdict Verdict `json:"verdict"`

	measure measure
}

// Spread is how the values of a figure lie.
type Spread struct {
	Runs   int     `json:"runs"`
	Best   float64 `json:"best"`
	Median float64 `json:"median"`
	Worst  float64 `json:"worst"`
}

// A Verdict says what may be claimed of two sets of values.
type Verdict string

// Verdicts.
const (
	Missing Verdict = "missing in one"
	TooFew  Verdict = "too few runs to tell"
	Unclear Verdict = "no clear difference" // the ranges overlap
	LowerA  Verdict = "A is lower"          // every run of A is below every run of B
	LowerB  Verdict = "B is lower"
)

// Compare sets two results side by side.
func Compare(a, b Named) Comparison {
	c := Comparison{A: side(a), B: side(b), Differences: differences(a.Result, b.Result), Figures: []Compared{}, a: a, b: b}
	for _, m := range measures() {
		before, after := m.values(a.Result), m.values(b.Result)
		if len(before)+len(after) > 0 {
			c.Figures = append(c.Figures, compare(m, before, after))
		}
	}
	return c
}

func side(n Named) Side {
	return Side{Name: n.Name, Lab: n.Result.Lab, Experiment: n.Result.Experiment, Version: n.Result.Version, Runs: len(n.Result.Runs)}
}

// differences lists what must be equal for figures to be like for like. Versions may differ: that is what one compares.
func differences(a, b lab.Result) []Difference {
	found := []Difference{}
	for _, d := range []Difference{
		{"lab", a.Lab, b.Lab},
		{"experiment", a.Experiment, b.Experiment},
		{"probe interval", interval(a).String(), interval(b).String()},
		{"CPUs", fmt.Sprint(a.Machine.CPUs), fmt.Sprint(b.Machine.CPUs)},
		{"kernel", a.Machine.Kernel, b.Machine.Kernel},
		{"link delays by", a.Machine.Delay, b.Machine.Delay},
	} {
		if d.A != d.B {
			found = append(found, d)
		}
	}
	return found
}

func compare(m measure, a, b []float64) Compared {
	c := Compared{Measure: m.ID, A: spreadOf(a), B: spreadOf(b), measure: m}
	if c.A != nil && c.B != nil && c.A.Median > 0 && c.B.Median > 0 {
		c.Ratio = c.B.Median / c.A.Median
	}
	switch {
	case c.A == nil || c.B == nil:
		c.Verdict = Missing
	case min(len(a), len(b)) < enough:
		c.Verdict = TooFew
	case c.A.Worst < c.B.Best:
		c.Verdict = LowerA
	case c.B.Worst < c.A.Best:
		c.Verdict = LowerB
	default:
		c.Verdict = Unclear
	}
	return c
}

func spreadOf(values []float64) *Spread {
	if len(values) == 0 {
		return nil
	}
	return &Spread{len(values), slices.Min(values), report.Median(values), slices.Max(values)}
}

// WriteJSON writes the comparison for machines.
func (c Comparison) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(c)
}

// WriteText writes the comparison for people.
func (c Comparison) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "A  %s\nB  %s\n", c.A, c.B)
	for _, d := range c.Differences {
		fmt.Fprintf(&b, "not like for like: %s: %s and %s\n", d.What, cmp.Or(d.A, "-"), cmp.Or(d.B, "-"))
	}
	b.WriteByte('\n')
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tA median\tA range\tB median\tB range\tB / A\t")
	for _, f := range c.Figures {
		fmt.Fprintln(t, strings.Join(f.row(), "\t"))
	}
	_ = t.Flush() // to memory
	b.WriteString("\n" + rule + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// String describes a result in a line.
func (s Side) String() string {
	return fmt.Sprintf("%s: %s %s, %s, %s", s.Name, s.Lab, s.Experiment, count(s.Runs, "run"), s.Version)
}

const rule = "\"Lower\" is said only where every run of one lies below every run of the other, with at least 4 runs each."

func (f Compared) row() []string {
	row := []string{f.measure.Name + f.measure.unit()}
	for _, s := range []*Spread{f.A, f.B} {
		if s == nil {
			row = append(row, "-", "-")
			continue
		}
		row = append(row, report.Number(s.Median), report.Number(s.Best)+" to "+report.Number(s.Worst))
	}
	ratio := "-"
	if f.Ratio > 0 {
		ratio = fmt.Sprintf("%.2f", f.Ratio)
	}
	return append(row, ratio, string(f.Verdict))
}

// WriteHTML writes the comparison as a page.
func (c Comparison) WriteHTML(w io.Writer) error {
	page := report.Page{
		Title: "A: " + c.A.Name + ", B: " + c.B.Name,
		Lead:  fmt.Sprintf("A is %s. B is %s.", c.A, c.B),
	}
	if len(c.Differences) > 0 {
		t := report.Table{Head: []string{"", "A", "B"}, Words: 3}
		for _, d := range c.Differences {
			t.Rows = append(t.Rows, []string{d.What, d.A, d.B})
		}
		page.Sections = append(page.Sections, report.Section{Title: "Not like for like", Tables: []report.Table{t}})
	}
	figures := report.Section{Title: "Side by side", Text: rule, Tables: []report.Table{{
		Head: []string{"", "A median", "A range", "B median", "B range", "B / A", ""}, Words: 1,
	}}}
	for _, f := range c.Figures {
		figures.Tables[0].Rows = append(figures.Tables[0].Rows, f.row())
	}
	pictures, err := c.pictures()
	if err != nil {
		return err
	}
	if len(pictures.Pictures) > 0 {
		page.Sections = append(page.Sections, pictures)
	}
	page.Sections = append(page.Sections, figures)
	return page.Write(w)
}

// pictures lays the distributions of both results over each other.
func (c Comparison) pictures() (report.Section, error) {
	s := report.Section{Title: "Cumulative", Text: "The share of runs that were at most so long: what lies further left is faster."}
	for _, id := range []string{"mttr_ms", "gap_ms", "noticed", "written", "diverted", "first_answer"} {
		m := measureOf(id)
		a, b := m.values(c.a.Result), m.values(c.b.Result)
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		p, err := report.CDF(m.Name, m.Name+m.unit(), report.Sample{Name: "A", Values: a, Color: report.Site(0)},
			report.Sample{Name: "B", Values: b, Color: report.Site(1)})
		if err != nil {
			return s, err
		}
		s.Pictures = append(s.Pictures, p)
	}
	return s, nil
}
