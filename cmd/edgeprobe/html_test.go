package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/internal/report/reporttest"
)

func TestRunWritesPage(t *testing.T) {
	nettest.Need(t)
	target, file := responder(t), filepath.Join(t.TempDir(), "report.html")
	got := execute(t.Context(), "run", "--target", target, "--interval", "1ms", "--duration", "50ms", "--source", "::1", "--html", file)
	if got.status != 0 || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := reporttest.Check(t, page)
	for _, want := range []string{"Probe of " + target, "mec-1", "of 50 probes",
		"edgeprobe run --target " + target + " --interval 1ms --duration 50ms --source ::1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in %s", want, text)
		}
	}
}

func TestBadPages(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ args, want string }{
		{"--html -", "--html -: must be a file"},
		{"--html " + dir, "--html: open " + dir + ": is a directory"},
		{"--points 7", "points 7: want 100 to 100000"},
	} {
		got := execute(t.Context(), strings.Fields("run --target [::1]:1 "+tt.args)...)
		if got.status != 1 || got.stderr != "edgeprobe: "+tt.want+"\n" {
			t.Errorf("%s: %+v, want %q", tt.args, got, tt.want)
		}
	}
}
