package discovery

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// scan adds up what a page says of all names, or of those given.
func scan(page string, names ...string) (map[string]float64, error) {
	sums := make(map[string]float64)
	err := scanMetrics([]byte(page), func(name []byte) bool {
		return len(names) == 0 || strings.Contains(" "+strings.Join(names, " ")+" ", " "+string(name)+" ")
	}, func(name []byte, value float64) { sums[string(name)] += value })
	return sums, err
}

func TestScanMetrics(t *testing.T) {
	t.Parallel()
	type sums = map[string]float64
	for _, tt := range []struct {
		name, page string
		want       sums
		err        string
	}{
		{name: "nothing", want: sums{}},
		{name: "a value", page: "a 1\n", want: sums{"a": 1}},
		{name: "the last line does not end", page: "a 1\nb 2", want: sums{"a": 1, "b": 2}},
		{name: "comments, empty lines", page: "# HELP a what\\na 7 is\n# TYPE a gauge\n\n \t\na 1\n#a 2\n", want: sums{"a": 1}},
		{name: "series are added up", page: "a{x=\"1\"} 1\na{x=\"2\"} 2\na 4\n", want: sums{"a": 7}},
		{name: "space anywhere", page: "  a  {  x = \"1\" , }   1.5   1395066363000  \n\tb\t2\n", want: sums{"a": 1.5, "b": 2}},
		{name: "braces and escapes in labels", page: `a{x="}",y="\"} 9",z="\\"} 1` + "\n", want: sums{"a": 1}},
		{name: "an exemplar", page: `a{le="1"} 3 # {trace="}"} 0.5` + "\n", want: sums{"a": 3}},
		{name: "forms of numbers", page: "a -1e-3\nb +Inf\nc .5\nd 1E+2\n", want: sums{"a": -1e-3, "b": math.Inf(1), "c": .5, "d": 100}},
		{name: "not a number", page: "a NaN\n", want: sums{"a": math.NaN()}},
		{name: "names", page: "a:b_9 1\n_ 2\n", want: sums{"a:b_9": 1, "_": 2}},
		{name: "no names", page: "9a 1\n{x=\"1\"} 2\n\x00 3\n\"a\" 4\n", want: sums{}},
		{name: "no value", page: "b 1\na\n", err: `line 2: a: "" is no value`},
		{name: "no value after labels", page: "a{}\n", err: `line 1: a: "" is no value`},
		{name: "text", page: "a one\n", err: `line 1: a: "one" is no value`},
		{name: "Go's own numbers", page: "a 0x1p4\n", err: `line 1: a: "0x1p4" is no value`},
		{name: "Go's own digits", page: "a 1_000\n", err: `line 1: a: "1_000" is no value`},
		{name: "too large", page: "a 1e999\n", err: `line 1: a: "1e999" is no value`},
		{name: "labels without end", page: "a{x=\"1\" 1\n", err: "line 1: a: labels do not end"},
		{name: "a quote without end", page: "a{x=\"} 1\n", err: "line 1: a: labels do not end"},
		{name: "an escape at the end", page: `a{x="\`, err: "line 1: a: labels do not end"},
		{name: "a long mistake", page: "a " + strings.Repeat("x", 100), err: `line 1: a: "` + strings.Repeat("x", 40) + `" is no value`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := scan(tt.page)
			if diff := cmp.Diff(tt.err, text(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateNaNs()); err == nil && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What nobody asked for is not read.
func TestScanMetricsPassesOver(t *testing.T) {
	t.Parallel()
	got, err := scan("aa{ one\na 1\nab\n", "a")
	if diff := cmp.Diff(map[string]float64{"a": 1}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// FuzzScanMetrics holds scanMetrics to Prometheus' own parser: a page that is good for it says the same here.
func FuzzScanMetrics(f *testing.F) {
	page, err := os.ReadFile("testdata/app.prom") // of edgeprobe app
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page)
	for _, seed := range []string{
		"# TYPE a counter\na{x=\"}\\\"\"} 1 17\na 2\n", "# TYPE s summary\ns{quantile=\"0.5\"} 3\ns_sum 4\ns_count 2\n",
		"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n", "a NaN\nb -Inf\nc{} 1e-9\n", "\ta  {x =\"\", } 1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		got, err := scan(string(page))
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, refused := parser.TextToMetricFamilies(bytes.NewReader(page))
		if refused != nil || quotedName(page) {
			return
		}
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		want := make(map[string]float64)
		for _, family := range families {
			for _, m := range family.Metric {
				addFamily(want, family, m)
			}
		}
		if diff := cmp.Diff(want, ignoreParts(got, families), cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-9, 0)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// quotedName tells of names inside the braces, which a pod gives only to who asks for them.
func quotedName(page []byte) bool {
	for line := range bytes.Lines(page) {
		if bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte{'{'}) {
			return true
		}
	}
	return false
}

// addFamily adds the sum and the count of a histogram or a summary, of others the value.
func addFamily(sums map[string]float64, family *dto.MetricFamily, m *dto.Metric) {
	name := family.GetName()
	switch {
	case m.Gauge != nil:
		sums[name] += m.Gauge.GetValue()
	case m.Counter != nil:
		sums[name] += m.Counter.GetValue()
	case m.Untyped != nil:
		sums[name] += m.Untyped.GetValue()
	}
}

// ignoreParts leaves out what the other parser takes apart: it keeps one sum and one count for each set of labels, and
// whole numbers only.
func ignoreParts(sums map[string]float64, families map[string]*dto.MetricFamily) map[string]float64 {
	for name, family := range families {
		if t := family.GetType(); t == dto.MetricType_SUMMARY || t == dto.MetricType_HISTOGRAM || t == dto.MetricType_GAUGE_HISTOGRAM {
			for _, part := range []string{"", "_sum", "_count", "_bucket"} {
				delete(sums, name+part)
			}
		}
	}
	return sums
}
