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
)

// A Table shows many results, a line each. Of one experiment in several labs the first line is what the others are
// measured by.
type Table []Line

// A Line is one result. Times are in milliseconds.
type Line struct {
	Experiment string  `json:"experiment"`
	Lab        string  `json:"lab"`  // or the result's name, where two of one experiment and lab are shown
	Name       string  `json:"name"` // of the result
	Ratio      *Ratio  `json:"ratio"`
	Runs       int     `json:"runs"`
	Detected   *Spread `json:"detected_ms"` // nil: nobody had to
	Moved      *Spread `json:"moved_ms"`    // packets took the bridge; without one, the withdrawal was written
	Bridged    bool    `json:"bridged"`     // most runs were
	Lost       *Spread `json:"lost"`
	MTTR       *Spread `json:"mttr_ms"`
	OnReturn   *Spread `json:"lost_on_return"`
	RTT        *Spread `json:"rtt_ms"`
	Updates    *Spread `json:"updates"`
	TCPResets  *Spread `json:"tcp_resets"`

	interval float64
}

// A Ratio is that of the median MTTR to that of the first line of the experiment.
type Ratio struct {
	Value float64 `json:"value"`
	Least bool    `json:"at_least"` // the first line lost nothing: it is taken as one probe
}

// NewTable sets results below each other: those of one experiment together, else in their order.
func NewTable(results ...Named) Table {
	t := Table{}
	for _, n := range results {
		t = append(t, line(n))
	}
	given := slices.Clone(t)
	slices.SortStableFunc(t, func(a, b Line) int { return cmp.Compare(given.firstOf(a.Experiment), given.firstOf(b.Experiment)) })
	t.name()
	for i := range t {
		if first := t.firstOf(t[i].Experiment); first != i {
			t[i].Ratio = ratio(t[i], t[first])
		}
	}
	return t
}

// firstOf returns the first line of an experiment.
func (t Table) firstOf(experiment string) int {
	return slices.IndexFunc(t, func(l Line) bool { return l.Experiment == experiment })
}

// name tells lines of one experiment and lab from each other.
func (t Table) name() {
	seen := map[[2]string]int{}
	for _, l := range t {
		seen[[2]string{l.Experiment, l.Lab}]++
	}
	for i, l := range t {
		if seen[[2]string{l.Experiment, l.Lab}] > 1 {
			t[i].Lab = l.Name
		}
	}
}

func line(n Named) Line {
	spread := func(id string) *Spread { return spreadOf(measureOf(id).values(n.Result)) }
	l := Line{
		Experiment: n.Result.Experiment, Lab: n.Result.Lab, Name: n.Name, Runs: len(n.Result.Runs),
		Lost: spread("lost"), MTTR: spread("mttr_ms"), OnReturn: spread("lost_on_return"), RTT: spread("rtt_ms"),
		Updates: spread("updates"), TCPResets: spread("tcp_resets"),
		interval: n.Result.Runs[0].ProbeIntervalMs,
	}
	var detected, moved, bridged []float64
	for _, m := range n.Result.Runs {
		if m.DetectMs > 0 {
			detected, moved = append(detected, m.DetectMs), append(moved, m.WithdrawMs)
		}
		if at, ok := m.Phases["bridged"]; ok {
			bridged = append(bridged, at)
		}
	}
	l.Detected, l.Moved, l.Bridged = spreadOf(detected), spreadOf(moved), 2*len(bridged) > l.Runs
	if l.Bridged {
		l.Moved = spreadOf(bridged)
	}
	return l
}

func ratio(l, first Line) *Ratio {
	r := Ratio{Value: first.MTTR.Median, Least: first.MTTR.Median <= 0}
	if r.Least {
		r.Value = first.interval
	}
	if r.Value <= 0 {
		return nil
	}
	r.Value = l.MTTR.Median / r.Value
	return &r
}

// String is short: 1.0x, or >=12x.
func (r *Ratio) String() string {
	switch {
	case r == nil:
		return "1"
	case r.Least:
		return fmt.Sprintf(">=%.3gx", r.Value)
	default:
		return fmt.Sprintf("%.3gx", r.Value)
	}
}

// several tells whether results of more than one lab, or of one experiment more than once, are shown.
func (t Table) several() bool {
	return slices.ContainsFunc(t, func(l Line) bool { return l.Ratio != nil || l.Lab != t[0].Lab })
}

// rows are the table's cells below its heads.
func (t Table) rows() (heads []string, rows [][]string) {
	heads = []string{"experiment"}
	if t.several() {
		heads = append(heads, "lab", "MTTR ratio")
	}
	heads = append(heads, "runs", "detected", "bridged or withdrawn", "lost, median", "worst", "MTTR, median", "worst",
		"lost on return", "worst", "UPDATEs", "TCP resets", "RTT")
	for _, l := range t {
		row := []string{l.Experiment}
		if t.several() {
			row = append(row, l.Lab, l.Ratio.String())
		}
		rows = append(rows, append(row, fmt.Sprint(l.Runs), median(l.Detected), l.moved(),
			median(l.Lost), worst(l.Lost), median(l.MTTR), worst(l.MTTR), median(l.OnReturn), worst(l.OnReturn),
			median(l.Updates), median(l.TCPResets), median(l.RTT)))
	}
	return heads, rows
}

func (l Line) moved() string {
	switch {
	case l.Moved == nil:
		return "-"
	case l.Bridged:
		return "bridged " + median(l.Moved)
	default:
		return "withdrawn " + median(l.Moved)
	}
}

func median(s *Spread) string {
	if s == nil {
		return "-"
	}
	return report.Number(s.Median)
}

func worst(s *Spread) string {
	if s == nil {
		return "-"
	}
	return report.Number(s.Worst)
}

// WriteText writes the table for people.
func (t Table) WriteText(w io.Writer) error {
	heads, rows := t.rows()
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.ToUpper(strings.Join(heads, "\t")))
	for _, r := range rows {
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "Times are medians in ms unless another column says worst; MTTR is lost x probe interval.")
	return err
}

// WriteMarkdown writes the table for a document.
func (t Table) WriteMarkdown(w io.Writer) error {
	heads, rows := t.rows()
	var b strings.Builder
	write := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	write(heads)
	b.WriteString(strings.Repeat("|---", len(heads)) + "|\n")
	for _, r := range rows {
		write(r)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the table for machines.
func (t Table) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(t)
}
