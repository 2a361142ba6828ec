package lab

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const journalText = `{"event":"start","mono_ns":1}
{"event":"decision","service":"dns","state":"up","action":"announce","prefixes":["2001:db8:53::53/128"],"mono_ns":100,"generation":1}
{"event":"decision","service":"app","state":"up","action":"announce","prefixes":["2001:db8:80::80/128"],"mono_ns":110,"generation":2}
{"event":"written","generation":2,"written_mono_ns":120,"mono_ns":120}
{"event":"decision","service":"app","state":"withdrawn","action":"withdraw","prefixes":["2001:db8:80::80/128"],"mono_ns":510,"noticed_mono_ns":505,"generation":3}
{"event":"written","generation":2,"written_mono_ns":512,"mono_ns":512}
{"event":"written","generation":3,"written_mono_ns":515,"mono_ns":515}
{"event":"decision","service":"app","state":"settling","mono_ns":900,"pre`

func readJournal(t *testing.T, text string) []entry {
	t.Helper()
	l := &Lab{opts: Options{State: t.TempDir()}}
	path := l.Path("agent", agentJournal)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	entries, err := l.journal("agent")
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestWithdrawal(t *testing.T) {
	tests := []struct {
		name             string
		addr             string
		after            int64
		noticed, written int64
	}{
		{"the service's own withdrawal", "2001:db8:80::80", 500, 505, 515},
		{"nothing was withdrawn for another address", "2001:db8:53::53", 500, 0, 0},
		{"nothing was withdrawn since", "2001:db8:80::80", 600, 0, 0},
	}
	entries := readJournal(t, journalText)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			noticed, written := withdrawal(entries, netip.MustParseAddr(tt.addr), tt.after)
			if noticed != tt.noticed || written != tt.written {
				t.Errorf("withdrawal = %d, %d, want %d, %d", noticed, written, tt.noticed, tt.written)
			}
		})
	}
}

func TestAnnouncing(t *testing.T) {
	const up = `{"event":"decision","service":"app","state":"up"}` + "\n"
	tests := []struct {
		name string
		text string
		want bool
	}{
		{"empty", "", false},
		{"started only", `{"event":"start"}` + "\n", false},
		{"up", up, true},
		{"up before a restart", up + `{"event":"start"}` + "\n", false},
		{"one of two", up + `{"event":"decision","service":"dns","state":"settling"}` + "\n", false},
		{"withdrawn and back", up + `{"event":"decision","service":"app","state":"withdrawn"}` + "\n" + up, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := announcing(readJournal(t, tt.text)); got != tt.want {
				t.Errorf("announcing = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestJournalOfNoAgent(t *testing.T) {
	l := &Lab{opts: Options{State: t.TempDir()}}
	entries, err := l.journal("agent")
	if diff := cmp.Diff([]entry(nil), entries); err != nil || diff != "" {
		t.Errorf("journal = %v, %v: want none", entries, err)
	}
}
