package labreport

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/internal/report/reporttest"
	"github.com/anyedge/anyedge/pkg/lab"
)

// No claim where ranges touch, or where chance explains it.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		a, b  []float64
		want  Verdict
		ratio float64
	}{
		{"none", nil, []float64{1}, Missing, 0},
		{"too few", []float64{1, 2, 3}, []float64{10, 20, 30, 40, 50}, TooFew, 15},
		{"equal", []float64{5, 5, 5, 5}, []float64{5, 5, 5, 5}, Unclear, 1},
		{"ranges touch", []float64{1, 2, 3, 4}, []float64{4, 5, 6, 7}, Unclear, 2.2},
		{"one of many within", []float64{1, 2, 3, 4, 50}, []float64{40, 41, 42, 43}, Unclear, 41.5 / 3},
		{"A below", []float64{1, 2, 3, 4}, []float64{5, 6, 7, 8}, LowerA, 2.6},
		{"B below", []float64{5, 6, 7, 8}, []float64{0, 0, 0, 0}, LowerB, 0},
	}
	for _, tt := range tests {
		c := compare(measureOf("mttr_ms"), tt.a, tt.b)
		if c.Verdict != tt.want || !near(c.Ratio, tt.ratio) {
			t.Errorf("%s: %q, ratio %v, want %q, %v", tt.name, c.Verdict, c.Ratio, tt.want, tt.ratio)
		}
	}
}

func near(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

const wantText = `A  before: quickstart service-kill, 5 runs, v1.2.3
B  after: other service-hang, 4 runs, v2
not like for like: lab: quickstart and other
not like for like: experiment: service-kill and service-hang
not like for like: probe interval: 1ms and 2ms
not like for like: CPUs: 2 and 64
not like for like: kernel: 6.1.0 and -
not like for like: link delays by: netem and wire

                       A median  A range       B median  B range      B / A
MTTR, ms               32        30 to 34      15.5      14 to 17     0.48   B is lower
lost                   32        30 to 34      15.5      14 to 17     0.48   B is lower
lost on return         0         0 to 0        0         0 to 0       -      no clear difference
longest gap, ms        33        31 to 35      16.5      15 to 18     0.50   B is lower
round trip, ms         12.2      12.2 to 12.2  12.2      12.2 to 12.2  1.00   no clear difference
`

func TestCompare(t *testing.T) {
	t.Parallel()
	b := result(4, 14, "noticed")
	b.Lab, b.Experiment, b.Version, b.Machine = "other", "service-hang", "v2", lab.Machine{CPUs: 64, Delay: "wire"}
	for i := range b.Runs {
		b.Runs[i].ProbeIntervalMs = 2
	}
	c := Compare(Named{"before", result(5, 30)}, Named{"after", b})
	var text, data, page bytes.Buffer
	if err := c.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(squeezed(wantText), squeezed(text.String())[:len(squeezed(wantText))]); diff != "" {
		t.Errorf("text (-want +got)\n%s", diff)
	}
	if err := c.WriteJSON(&data); err != nil {
		t.Fatal(err)
	}
	var back Comparison
	if err := json.Unmarshal(data.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if f := back.Figures[0]; back.A.Runs != 5 || len(back.Differences) != 6 || f.Measure != "mttr_ms" || f.B.Median != 15.5 || f.Verdict != LowerB {
		t.Errorf("JSON: %s", data.Bytes())
	}
	if err := c.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	html := reporttest.Check(t, page.Bytes())
	for _, want := range []string{"Not like for like", "B is lower", "missing in one", "no clear difference", "A: 5 values from 30 to 34, median 32. B: 4 values"} {
		if !strings.Contains(html, want) {
			t.Errorf("%q is missing in the page", want)
		}
	}
	if n := bytes.Count(page.Bytes(), []byte("<svg ")); n != 5 {
		t.Errorf("%d pictures, want 5: noticed is missing in one", n)
	}
}

// squeezed makes one space of many: columns are as wide as they need.
func squeezed(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestLikeForLike(t *testing.T) {
	t.Parallel()
	a, b := result(4, 14), result(9, 14)
	b.Seed, b.Version, b.Machine.Load = 7, "v9", "9 9 9" // may differ
	if c := Compare(Named{"a", a}, Named{"b", b}); len(c.Differences) != 0 {
		t.Errorf("differences %v, want none", c.Differences)
	}
	empty := Compare(Named{}, Named{})
	var text, page bytes.Buffer
	if err := empty.WriteText(&text); err != nil || len(empty.Figures) != 0 {
		t.Errorf("%v, figures %v of nothing", err, empty.Figures)
	}
	if err := empty.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	reporttest.Check(t, page.Bytes())
}
