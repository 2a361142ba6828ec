package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

// shownOutages is how many outages a page lists.
const shownOutages = 1000

// Probe writes the page of a prober's report. Version and command say how it was made.
func Probe(w io.Writer, r probe.Report, version, command string) error {
	page := Page{
		Title: "Probe of " + r.Target,
		Lead: fmt.Sprintf("%s, a probe every %s for %s (%s).", r.Started.Format(time.RFC1123), Ms(r.IntervalMs),
			length(float64(r.Scheduled)*r.IntervalMs), r.Mode),
		Figures: headline(r),
	}
	colors := Sites(slices.Collect(maps.Keys(r.BySite)))
	course, err := courseSection(r, colors)
	if err != nil {
		return err
	}
	trips, err := tripsSection(r, colors)
	if err != nil {
		return err
	}
	page.Sections = []Section{course, trips, outageSection(r), madeSection(r, version, command)}
	return page.Write(w)
}

func headline(r probe.Report) []Figure {
	return []Figure{
		{Name: "Answered", Value: share(r.Received, r.Sent), Note: fmt.Sprintf("%d of %d probes", r.Received, r.Sent)},
		{Name: "Lost", Value: fmt.Sprint(r.Lost), Note: share(r.Lost, r.Sent)},
		{Name: "MTTR", Value: Ms(r.MTTRMs), Note: "lost x interval"},
		{Name: "Outages", Value: fmt.Sprint(len(r.Outages) + r.MoreOutages), Note: longest(r.Outages)},
		{Name: "Round trip, median", Value: known(r.RTTMs.P50), Note: "99 % within " + known(r.RTTMs.P99)},
		{Name: "Sites", Value: fmt.Sprint(len(r.BySite)), Note: "that answered"},
	}
}

func longest(outages []probe.Outage) string {
	gap := 0.0
	for _, o := range outages {
		gap = max(gap, o.DurationMs)
	}
	if gap == 0 {
		return ""
	}
	return "longest " + Ms(gap)
}

func courseSection(r probe.Report, colors map[string]Color) (Section, error) {
	s := Section{
		Title: "Who answered, and how fast",
		Text: fmt.Sprintf("A dot is the mean round trip of %s, a bar behind it reaches from the shortest to the longest. Red: probes were lost.",
			Ms(r.Series.StepMs)),
		Tables: []Table{siteTable(r)},
	}
	p, err := Latency("Latency over time", "probe sent after", r.Series, colors)
	if len(p.svg) > 0 {
		s.Pictures = []Picture{p}
	} else {
		s.Text = "No probe was sent."
	}
	return s, err
}

func siteTable(r probe.Report) Table {
	t := Table{Caption: "Sites", Head: []string{"site", "answered", "share", "p50 ms", "p90 ms", "p99 ms", "max ms"}, Words: 1}
	for _, site := range slices.Sorted(maps.Keys(r.BySite)) {
		t.Rows = append(t.Rows, append([]string{site, fmt.Sprint(r.BySite[site]), share(r.BySite[site], r.Received)}, percentiles(r.RTTBySiteMs[site])...))
	}
	if len(r.BySite) != 1 {
		t.Rows = append(t.Rows, append([]string{"all", fmt.Sprint(r.Received), share(r.Received, r.Sent) + " of sent"}, percentiles(r.RTTMs)...))
	}
	return t
}

func percentiles(p probe.Percentiles) []string {
	return []string{Number(p.P50), Number(p.P90), Number(p.P99), Number(p.Max)}
}

func tripsSection(r probe.Report, colors map[string]Color) (Section, error) {
	s := Section{Title: "Round trips", Text: "Of answered probes, by site, in bins of equal ratio."}
	var samples []WeightedSample
	for _, site := range slices.Sorted(maps.Keys(r.RTTBins)) {
		sample := WeightedSample{Name: site, Color: colors[site]}
		for _, b := range r.RTTBins[site] {
			sample.Values = append(sample.Values, Weighted{b.FromMs, b.ToMs, b.N})
		}
		samples = append(samples, sample)
	}
	var err error
	if s.Pictures, err = Spread("round trip, ms", "probes", samples...); len(s.Pictures) == 0 {
		s.Text = "Nobody answered."
	}
	return s, err
}

func outageSection(r probe.Report) Section {
	s := Section{
		Title: "Outages",
		Text: fmt.Sprintf("MTTR %s: %d lost probes x %s, in %d outages. An outage is a run of consecutive lost probes, as precise as the interval.",
			Ms(r.MTTRMs), r.Lost, Ms(r.IntervalMs), len(r.Outages)+r.MoreOutages),
	}
	if len(r.Outages) == 0 {
		s.Text = "None: every probe was answered."
		if r.Sent == 0 {
			s.Text = "None."
		}
		return s
	}
	t := Table{Words: 3, Head: []string{"at", "from", "to", "after the start, s", "lost", "lost x interval, ms", "gap, ms"}}
	for _, o := range r.Outages[:min(len(r.Outages), shownOutages)] {
		gap := "-"
		if o.GapMs > 0 {
			gap = Number(o.GapMs)
		}
		t.Rows = append(t.Rows, []string{o.Start.Format("15:04:05.000"), name(o.FromSite), name(o.ToSite),
			fmt.Sprintf("%.3f", float64(o.StartMonoNs-r.StartMonoNs)/1e9), fmt.Sprint(o.Lost), Number(o.DurationMs), gap})
	}
	s.Tables = []Table{t}
	if more := len(r.Outages) - len(t.Rows) + r.MoreOutages; more > 0 {
		s.Notes = []string{fmt.Sprintf("%d more are not listed.", more)}
	}
	return s
}

func madeSection(r probe.Report, version, command string) Section {
	rows := [][]string{
		{"command", command}, {"version", version},
		{"started, ended", r.Started.Format(time.RFC3339Nano) + ", " + r.Ended.Format(time.RFC3339Nano)},
		{"probes due, sent", fmt.Sprintf("%d, %d", r.Scheduled, r.Sent)},
		{"sent after they were due", fmt.Sprintf("p50 %s, p99 %s, max %s", Ms(r.SendLateMs.P50), Ms(r.SendLateMs.P99), Ms(r.SendLateMs.Max))},
		{"late answers, duplicates, failed, ignored", fmt.Sprintf("%d, %d, %d, %d", r.Late, r.Duplicates, r.Failed, r.Ignored)},
		{"errors", fmt.Sprintf("%d %s", r.Errors, r.LastError)},
	}
	return Section{Title: "How it was measured", Tables: []Table{{Rows: rows, Words: 2}}}
}

func name(site string) string {
	if site == "" {
		return "-"
	}
	return site
}

func known(ms float64) string {
	if ms == 0 {
		return "-"
	}
	return Ms(ms)
}

func share(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(of))
}

func length(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(time.Millisecond).String()
}
