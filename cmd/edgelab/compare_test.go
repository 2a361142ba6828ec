package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anyedge/anyedge/internal/report/reporttest"
	"github.com/anyedge/anyedge/pkg/lab"
)

// written leaves a result of some runs and returns its directory.
func written(t *testing.T, lost ...int) string {
	t.Helper()
	r := lab.Result{Lab: "quickstart", Experiment: "service-kill", Version: "v1"}
	for _, n := range lost {
		r.Runs = append(r.Runs, lab.Measured{SiteFrom: "mec-1", SiteTo: "mec-2", Lost: n, MTTRMs: float64(n), ProbeIntervalMs: 1})
	}
	dir := t.TempDir()
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCompareCommand(t *testing.T) {
	slow, fast := written(t, 30, 31, 32, 33), written(t, 14, 15, 16, 15)
	html := filepath.Join(t.TempDir(), "compare.html")
	out := mustEdgelab(t, "compare", slow, filepath.Join(fast, "result.json"), "--html", html)
	if !strings.Contains(out, "A  "+slow+": quickstart service-kill, 4 runs, v1") || !strings.Contains(out, "B is lower") {
		t.Errorf("%q", out)
	}
	page, err := os.ReadFile(html)
	if err != nil {
		t.Fatal(err)
	}
	if text := reporttest.Check(t, page); !strings.Contains(text, "B is lower") {
		t.Errorf("the page does not say that B is lower: %s", text)
	}
	var c struct {
		Figures []struct{ Measure, Verdict string }
	}
	if err := json.Unmarshal([]byte(mustEdgelab(t, "compare", "-o", "json", slow, slow)), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Figures) == 0 || c.Figures[0].Measure != "mttr_ms" || c.Figures[0].Verdict != "no clear difference" {
		t.Errorf("a result and itself: %+v", c)
	}
}

func TestTableCommand(t *testing.T) {
	slow, fast := written(t, 30, 31), written(t, 15)
	out := mustEdgelab(t, "table", fast, filepath.Join(slow, "result.json"), "-o", "markdown")
	if !strings.Contains(out, "| service-kill | "+slow+" | 2.03x | 2 |") {
		t.Errorf("%s", out)
	}
}

func TestBadComparisons(t *testing.T) {
	good, empty, dir := written(t, 1), written(t), t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("words"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{good}, "accepts 2 arg(s)"},
		{[]string{good, dir}, "result.json: no such file or directory: want the directory of a run, or its result.json"},
		{[]string{text, good}, "not a result of edgelab run: invalid character"},
		{[]string{good, empty}, "it has no runs"},
		{[]string{good, good, "-o", "yaml"}, `-o "yaml": want text or json`},
		{[]string{good, good, "--html", dir}, "--html: "},
		{[]string{good, good, "--html", dir + "/no/file"}, "--html: "},
	} {
		out, err := edgelab(t, append([]string{"compare"}, tt.args...)...)
		if err == nil || !strings.Contains(out, tt.want) || strings.Count(out, "\n") != 1 {
			t.Errorf("%v: %v, %q, want failure with %q", tt.args, err, out, tt.want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), ".edgelab-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
