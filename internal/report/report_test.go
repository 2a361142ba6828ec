package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/anyedge/anyedge/internal/report"
	"github.com/anyedge/anyedge/internal/report/reporttest"
	"github.com/anyedge/anyedge/pkg/probe"
)

// bad is the colour of losses in light pages: see page.html.
var bad = color.RGBA{0xC6, 0x28, 0x28, 0xFF}

// twoSites is a run of 3 s: a takes 12 ms, 20 probes are lost, b takes 24 ms.
func twoSites(a, b string) probe.Report {
	start := time.Date(2026, 11, 23, 22, 0, 0, 0, time.UTC)
	r := probe.Report{
		Target: "[2001:db8:80::80]:7000", Mode: "udp", Scheduled: 3000, Sent: 3000, Received: 2980, Lost: 20, IntervalMs: 1, MTTRMs: 20,
		BySite: map[string]int{a: 1500, b: 1480}, Started: start, Ended: start.Add(4 * time.Second),
		RTTMs:       probe.Percentiles{P50: 12.1, P90: 24.2, P99: 24.4, Max: 26},
		RTTBySiteMs: map[string]probe.Percentiles{a: {P50: 12.1, P90: 12.2, P99: 12.4, Max: 13}, b: {P50: 24.1, P90: 24.2, P99: 24.4, Max: 26}},
		RTTBins: map[string][]probe.Bin{
			a: {{FromMs: 12, ToMs: 12.2, N: 1200}, {FromMs: 12.2, ToMs: 12.4, N: 300}},
			b: {{FromMs: 24, ToMs: 24.2, N: 1400}, {FromMs: 25.8, ToMs: 26, N: 80}},
		},
		Outages: []probe.Outage{{
			Start: start.Add(1500 * time.Millisecond), End: start.Add(1520 * time.Millisecond), Lost: 20, DurationMs: 20, GapMs: 21,
			FromSite: a, ToSite: b, StartMonoNs: 1500e6,
		}},
		Series: probe.Series{StepMs: 5},
	}
	for at := 0.0; at < 3000; at += 5 {
		p := probe.Point{AtMs: at, Site: a, Probes: 5, MinMs: 12, MeanMs: 12.1, MaxMs: 13}
		switch {
		case at >= 1520:
			p = probe.Point{AtMs: at, Site: b, Probes: 5, MinMs: 24, MeanMs: 24.1, MaxMs: 26}
		case at >= 1500:
			p = probe.Point{AtMs: at, Probes: 5}
		}
		r.Series.Points = append(r.Series.Points, p)
	}
	return r
}

func page(t *testing.T, r probe.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.Probe(&b, r, "v1.2.3", "edgeprobe run --target x"); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestProbePage(t *testing.T) {
	t.Parallel()
	many := twoSites("a", "b")
	many.MoreOutages = 5
	for len(many.Outages) < 1200 {
		many.Outages = append(many.Outages, many.Outages[0])
	}
	tests := []struct {
		name     string
		report   probe.Report
		pictures int
		want     []string
	}{
		{"nothing sent", probe.Report{Target: "[::1]:1"}, 0, []string{"Probe of [::1]:1", "No probe was sent.", "Nobody answered.", "None."}},
		{"nothing answered", probe.Report{Target: "[::1]:1", Sent: 2, Lost: 2, IntervalMs: 10, MTTRMs: 20, Series: probe.Series{
			StepMs: 10, Points: []probe.Point{{AtMs: 0, Probes: 1}, {AtMs: 10, Probes: 1}},
		}}, 1, []string{"2 lost", "Nobody answered."}},
		{"one answer", probe.Report{Target: "[::1]:1", Sent: 1, Received: 1, BySite: map[string]int{"x": 1},
			RTTBins: map[string][]probe.Bin{"x": {{FromMs: 0, ToMs: 0.001, N: 1}}},
			Series:  probe.Series{StepMs: 10, Points: []probe.Point{{Site: "x", Probes: 1, MinMs: 0, MeanMs: 0, MaxMs: 0}}},
		}, 3, []string{"100.00 %", "every probe was answered"}},
		{"two sites", twoSites("mec-1", "mec-2"), 3, []string{
			"mec-1", "mec-2", "20 lost", "20 ms", "49.66 %", "v1.2.3", "edgeprobe run --target x", "22:00:01.500", "1.500",
			"mec-1 answered 1500, in 12 ms to 13 ms. mec-2 answered 1480, in 24 ms to 26 ms. 20 were lost.",
		}},
		{"many outages", many, 3, []string{"205 more are not listed."}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			html := page(t, tt.report)
			text := reporttest.Check(t, html)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is missing in %s", want, text)
				}
			}
			if n := bytes.Count(html, []byte("<svg ")); n != tt.pictures {
				t.Errorf("%d pictures, want %d", n, tt.pictures)
			}
		})
	}
}

// Names come from packets and files: whatever they are, they stay text.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"<script>alert(1)</script>", `"/><script>x</script>`, `' onload="x"`, "]]>", "<!--", "</svg>", "&amp;&", "a\x00b\x1bc\uffff", "\xff\xfe",
		"{{.Title}}", "fill:#A55A00", strings.Repeat("long", 100), "--", "javascript:x", "\u202eright to left",
	} {
		r := twoSites(name, "b")
		r.Target, r.Mode, r.LastError = name, name, name
		html := page(t, r)
		text := reporttest.Check(t, html)
		if plain := strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, name); plain == name && !strings.Contains(text, name) {
			t.Errorf("%q is not in the page", name)
		}
	}
}

func TestPageIsSmall(t *testing.T) {
	t.Parallel()
	r := twoSites("a", "b")
	for range 2000 {
		r.Series.Points = append(r.Series.Points, r.Series.Points[len(r.Series.Points)-1])
	}
	if n := len(page(t, r)); n > 400_000 {
		t.Errorf("a page of %d bytes", n)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWriteFails(t *testing.T) {
	t.Parallel()
	if err := report.Probe(broken{}, twoSites("a", "b"), "", ""); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("error %v, want disk full", err)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 14: "14", 0.9034: "0.903", 2.6666: "2.67", 16.04: "16.0", 1234.5: "1234", -3.14159: "-3.14", 0.00001: "0.000",
	} {
		if got := report.Number(v); got != want {
			t.Errorf("Number(%v) = %q, want %q", v, got, want)
		}
	}
}

// Values that are multiples of the probe interval lie in the middle of bins; no value is left out.
func TestHistogram(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		values  []float64
		quantum float64
		want    string
	}{
		{"one value", []float64{15}, 1, "1 values in bins of 1 from 14.5 to 15.5; the fullest bin has 1"},
		{"multiples", []float64{14, 15, 15, 17}, 1, "4 values in bins of 1 from 13.5 to 17.5; the fullest bin has 2"},
		{"zeros", []float64{0, 0, 0}, 1, "3 values in bins of 1 from -0.500 to 0.500; the fullest bin has 3"},
		{"far apart", []float64{0, 1000}, 1, "2 values in bins of 200 from -0.500 to 1200; the fullest bin has 1"},
		{"no quantum", []float64{0.1, 0.2, 0.95}, 0, "3 values in bins of 0.200 from 0 to 1; the fullest bin has 1"},
		{"equal without quantum", []float64{3.5, 3.5}, 0, "2 values in bins of 1 from 3 to 4; the fullest bin has 2"},
		{"huge", []float64{-1e300, 1e300}, 1, ""},
		{"tiny", []float64{5e-324, 1e-320}, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := report.Histogram("h", "ms", report.Sample{Values: tt.values}, tt.quantum)
			if err != nil || !strings.Contains(p.Desc, tt.want) {
				t.Errorf("%q, %v, want %q", p.Desc, err, tt.want)
			}
		})
	}
}

// Whatever the figures, drawing ends, and in well-formed SVG.
func TestExtremes(t *testing.T) {
	t.Parallel()
	for _, v := range []float64{0, -1, 5e-324, 1e-9, 1e15, 1e300, math.MaxFloat64, -math.MaxFloat64} {
		for _, w := range []float64{0, v, 1} {
			sample := report.Sample{Name: "s", Values: []float64{v, w, v}}
			cdf, err := report.CDF("c", "ms", sample, report.Sample{})
			if err != nil {
				t.Fatal(err)
			}
			bars, err := report.Bars("b", "ms", []string{"p", "q"}, []report.Bar{{Name: "1", Parts: []float64{math.Abs(v), math.Abs(w)}}})
			if err != nil {
				t.Fatal(err)
			}
			over, err := report.Latency("l", "after", probe.Series{StepMs: math.Abs(w), Points: []probe.Point{
				{AtMs: min(v, w), Site: "s", Probes: 1, MinMs: v, MeanMs: v, MaxMs: v}, {AtMs: max(v, w), Probes: 1},
			}}, report.Sites([]string{"s"}), report.Mark{AtMs: v, Name: "m"})
			if err != nil {
				t.Fatal(err)
			}
			large, err := report.Spread("ms", "probes", report.WeightedSample{Values: []report.Weighted{{Low: math.Abs(v), High: math.Abs(v) + 1, N: 3}}})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range append(large, cdf, bars, over) {
				if p.Title == "" {
					continue // nothing to draw
				}
				var b bytes.Buffer
				if err := (report.Page{Sections: []report.Section{{Pictures: []report.Picture{p}}}}).Write(&b); err != nil {
					t.Fatal(err)
				}
				reporttest.Check(t, b.Bytes())
			}
		}
	}
}

func TestProbePageInBrowser(t *testing.T) {
	t.Parallel()
	counts := reporttest.Colors(reporttest.Show(t, page(t, twoSites("mec-1", "mec-2"))))
	if len(counts) < 50 || counts[bad] < 50 {
		t.Errorf("%d colours, %d pixels of losses: the page looks blank", len(counts), counts[bad])
	}
}

// FuzzProbePage feeds any report, as a file may hold it.
func FuzzProbePage(f *testing.F) {
	seed, err := json.Marshal(twoSites("a", "b"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed[:0])
	f.Add([]byte(fmt.Sprintf(`{"series":{"step_ms":1,"points":[{"at_ms":%g,"site":"a"},{"at_ms":-1}]},"rtt_bins":{"a":[{"from_ms":-1,"to_ms":0,"n":-3}]}}`, 1e308)))
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var r probe.Report
		if json.Unmarshal(data, &r) != nil {
			return
		}
		var b bytes.Buffer
		if err := report.Probe(&b, r, "", ""); err != nil {
			t.Fatal(err)
		}
		reporttest.Check(t, b.Bytes())
	})
}
