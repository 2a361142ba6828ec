package labreport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/report/reporttest"
	"github.com/anyedge/anyedge/pkg/lab"
	"github.com/anyedge/anyedge/pkg/probe"
)

// bad is the colour of losses in light pages: see page.html of the pages' room.
var bad = color.RGBA{0xC6, 0x28, 0x28, 0xFF}

// quickstart is the lab that is shipped.
func quickstart(t testing.TB) lab.Topology {
	t.Helper()
	name := filepath.Join("..", "..", "..", "labs", "containerlab", "quickstart", "quickstart.clab.yml")
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	topology, err := config.ParseTopology(name, f)
	if err != nil {
		t.Fatal(err)
	}
	return topology
}

// result has so many runs, of which the first lost the least; all phases but those left out.
func result(runs, lost int, without ...string) lab.Result {
	r := lab.Result{
		Lab: "quickstart", Experiment: "service-kill", Seed: 42, Version: "v1.2.3",
		Machine: lab.Machine{CPUs: 2, Kernel: "6.1.0", Load: "0.1 0.2 0.3", Delay: "netem"},
	}
	for i := range runs {
		m := lab.Measured{
			Fault: "service-kill", SiteFrom: "mec-1", SiteTo: "mec-2", Lost: lost + i, MTTRMs: float64(lost + i), GapMs: float64(lost + i + 1),
			RTTMs: 12.2, ProbeIntervalMs: 1,
			Phases: map[string]float64{"noticed": 0.9, "written": 1.4, "first_route": 2, "diverted": 8, "first_answer": 33 + float64(i)},
		}
		for _, phase := range without {
			delete(m.Phases, phase)
		}
		r.Runs = append(r.Runs, m)
	}
	if runs > 0 {
		r.Runs[0].Series = course12()
	}
	return r
}

// course12 is a fault's course: a site 12 ms away, losses, a site 24 ms away.
func course12() *probe.Series {
	s := &probe.Series{StepMs: 1}
	for at := -50.0; at < 150; at++ {
		p := probe.Point{AtMs: at, Site: "mec-1", Probes: 1, MinMs: 12, MeanMs: 12, MaxMs: 12}
		switch {
		case at >= 9:
			p = probe.Point{AtMs: at, Site: "mec-2", Probes: 1, MinMs: 24, MeanMs: 24, MaxMs: 24}
		case at >= -6:
			p = probe.Point{AtMs: at, Probes: 1}
		}
		s.Points = append(s.Points, p)
	}
	return s
}

func page(t testing.TB, r lab.Result, topology lab.Topology) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r, topology); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPage(t *testing.T) {
	t.Parallel()
	lossless := result(20, 0)
	for i := range lossless.Runs {
		lossless.Runs[i].Lost, lossless.Runs[i].MTTRMs, lossless.Runs[i].GapMs, lossless.Runs[i].Phases = 0, 0, 0, nil
	}
	tests := []struct {
		name     string
		result   lab.Result
		topology lab.Topology
		pictures int
		want     []string
	}{
		{"no runs", result(0, 0), quickstart(t), 0, []string{"No run was measured", "service-kill in quickstart", "0 runs"}},
		{"one run", result(1, 14), quickstart(t), 5, []string{
			"1 run, a probe every 1ms", "14 ms", "mec-1 → mec-2", "1.80 ms",
			"Before: client, r0, r1, mec1. After: client, r0, p1, r2, mec2.", "2 pods", "6ms",
			"edgelab run quickstart service-kill --runs 1 --seed 42 --probe-interval 1ms", "v1.2.3", "2 CPUs, kernel 6.1.0, load 0.1 0.2 0.3 when it began", "netem",
		}},
		{"without an agent", result(3, 14, "noticed", "written"), quickstart(t), 5, []string{"3 bars", "first route"}},
		{"nothing lost", lossless, quickstart(t), 4, []string{"0 ms", "20 runs"}},
		{"a thousand runs", result(1000, 14), quickstart(t), 5, []string{"All 1000 runs", "30 of 1000 runs, evenly from the fastest to the slowest.", "513.5 ms", "worst 1013 ms"}},
		{"a lab that is not known", result(1, 14), lab.Topology{}, 4, []string{"14 ms"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			html := page(t, tt.result, tt.topology)
			text := reporttest.Check(t, html)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is missing in %s", want, text[:min(len(text), 3000)])
				}
			}
			if n := bytes.Count(html, []byte("<svg ")); n != tt.pictures {
				t.Errorf("%d pictures, want %d", n, tt.pictures)
			}
		})
	}
}

func TestHostileNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"<script>alert(1)</script>", `" onload="x"`, "</svg>", "a\x00b", "\xff", "]]>"} {
		r := result(2, 14)
		r.Lab, r.Experiment, r.Version, r.Machine.Kernel = name, name, name, name
		r.Runs[0].SiteFrom, r.Runs[1].SiteTo, r.Runs[0].Fault, r.Runs[0].Series.Points[0].Site = name, name, name, name
		r.Runs[0].Phases[name] = 1
		topology := lab.Topology{Nodes: []lab.Node{
			{Name: "c" + name, Labels: map[string]string{lab.LabelRole: "client"}},
			{Name: name, Labels: map[string]string{lab.LabelRole: "service", lab.LabelSite: name}},
		}, Links: []lab.Link{{A: lab.Endpoint{Node: "c" + name}, B: lab.Endpoint{Node: name}}}}
		reporttest.Check(t, page(t, r, topology))
		var b bytes.Buffer
		if err := Compare(Named{name, r}, Named{"b", result(4, 10)}).WriteHTML(&b); err != nil {
			t.Fatal(err)
		}
		reporttest.Check(t, b.Bytes())
	}
}

func TestPhaseParts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		phases map[string]float64
		want   []float64
	}{
		{"all", map[string]float64{"noticed": 1, "written": 2, "first_route": 4, "diverted": 8, "first_answer": 16}, []float64{1, 1, 2, 4, 8}},
		{"some are missing", map[string]float64{"first_route": 4, "first_answer": 16}, []float64{0, 0, 4, 0, 12}},
		{"one is over before the one before it", map[string]float64{"noticed": 3, "written": 5, "first_route": 4, "diverted": 6}, []float64{3, 2, 0, 1, 0}},
		{"none", nil, []float64{0, 0, 0, 0, 0}},
	}
	five := []phase{{id: "noticed"}, {id: "written"}, {id: "first_route"}, {id: "diverted"}, {id: "first_answer"}}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, parts(lab.Measured{Phases: tt.phases}, five)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", tt.name, diff)
		}
	}
}

func TestSpreadOfRuns(t *testing.T) {
	t.Parallel()
	picked := spread(numbered(result(1000, 14)), 30)
	if len(picked) != 30 || picked[0].number != 1 || picked[29].number != 1000 {
		t.Errorf("%d runs from %d to %d, want 30 from the fastest to the slowest", len(picked), picked[0].number, picked[len(picked)-1].number)
	}
}

// The picture of any topology: nodes do not overlap, ways begin at the client.
func TestNetwork(t *testing.T) {
	t.Parallel()
	client := lab.Node{Name: "c", Labels: map[string]string{lab.LabelRole: "client"}}
	link := func(a, b string) lab.Link { return lab.Link{A: lab.Endpoint{Node: a}, B: lab.Endpoint{Node: b}} }
	service := func(name, site string) lab.Node {
		return lab.Node{Name: name, Labels: map[string]string{lab.LabelRole: "service", lab.LabelSite: site}}
	}
	tests := []struct {
		name     string
		topology lab.Topology
		drawn    int
		path     string
	}{
		{"quickstart", quickstart(t), 10, "client r0 r1 mec1"},
		{"no client", lab.Topology{Nodes: []lab.Node{service("s", "mec-1")}}, 0, ""},
		{"no link", lab.Topology{Nodes: []lab.Node{client, service("s", "mec-1")}}, 1, ""},
		{"a ring", lab.Topology{
			Nodes: []lab.Node{client, {Name: "x"}, {Name: "y"}, {Name: "z"}, service("s", "mec-1")},
			Links: []lab.Link{link("c", "x"), link("x", "y"), link("y", "z"), link("z", "x"), link("z", "s"), link("y", "s")},
		}, 5, "c x z s"}, // the link that comes first in the file
		{"two hosts at a site", lab.Topology{
			Nodes: []lab.Node{client, {Name: "s", Labels: map[string]string{lab.LabelRole: "service", lab.LabelSite: "mec", lab.LabelHost: "mec-1"}}},
			Links: []lab.Link{link("c", "s")},
		}, 2, "c s"},
		{"two links between the same", lab.Topology{
			Nodes: []lab.Node{client, service("s", "mec-1")}, Links: []lab.Link{link("c", "s"), link("c", "s"), link("s", "s")},
		}, 2, "c s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, ok := newNetwork(tt.topology)
			if ok != (tt.drawn > 0) || len(n.place) != tt.drawn {
				t.Fatalf("%v, nodes %v, want %d", ok, n.place, tt.drawn)
			}
			if got := strings.Join(n.path("mec-1"), " "); ok && got != tt.path {
				t.Errorf("way %q, want %q", got, tt.path)
			}
			taken := map[string]string{}
			for node := range n.place {
				x, y := n.at(node)
				at := fmt.Sprint(x, y)
				if other := taken[at]; other != "" {
					t.Errorf("%s lies on %s", node, other)
				}
				taken[at] = node
			}
		})
	}
}

func TestPagesInBrowser(t *testing.T) {
	t.Parallel()
	var comparison bytes.Buffer
	if err := Compare(Named{"before", result(20, 30)}, Named{"after", result(20, 14)}).WriteHTML(&comparison); err != nil {
		t.Fatal(err)
	}
	if counts := reporttest.Colors(reporttest.Show(t, page(t, result(20, 14), quickstart(t)))); len(counts) < 50 || counts[bad] < 50 {
		t.Errorf("report: %d colours, %d pixels of losses: the page looks blank", len(counts), counts[bad])
	}
	if counts := reporttest.Colors(reporttest.Show(t, comparison.Bytes())); len(counts) < 50 {
		t.Errorf("comparison: %d colours: the page looks blank", len(counts))
	}
}

// FuzzResult feeds what a file may hold to the page and to the comparison.
func FuzzResult(f *testing.F) {
	seed, err := json.Marshal(result(2, 14))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"runs":[{}]}`))
	f.Add([]byte(`{"runs":[{"mttr_ms":-1e308,"lost":-5,"phases":{"noticed":1e308,"written":-1e308},"probe_interval_ms":1e308},{"mttr_ms":1e308}]}`))
	topology := quickstart(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		var r lab.Result
		if json.Unmarshal(data, &r) != nil {
			return
		}
		reporttest.Check(t, page(t, r, topology))
		var b bytes.Buffer
		if err := Compare(Named{"a", r}, Named{"b", result(4, 14)}).WriteHTML(&b); err != nil {
			t.Fatal(err)
		}
		reporttest.Check(t, b.Bytes())
	})
}

// The same result makes the same page: what changed between two is the result.
func TestPageIsStable(t *testing.T) {
	t.Parallel()
	first := page(t, result(5, 14), quickstart(t))
	for range 5 {
		if !bytes.Equal(first, page(t, result(5, 14), quickstart(t))) {
			t.Fatal("two pages of one result differ")
		}
	}
}
