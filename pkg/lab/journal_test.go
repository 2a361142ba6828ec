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

const bridgedText = `{"event":"decision","service":"app","state":"up","action":"announce","prefixes":["2001:db8:80::80/128"],"mono_ns":110,"generation":2}
{"event":"written","generation":2,"written_mono_ns":120,"mono_ns":120}
{"event":"decision","service":"app","state":"bridged","action":"announce","vips":["2001:db8:80::80/128"],"prefixes":[],"mono_ns":508,"noticed_mono_ns":505,"confirmed_mono_ns":506,"bridged_mono_ns":507,"generation":2}
{"event":"decision","service":"app","state":"depreferred","action":"deprefer","prefixes":["2001:db8:80::80/128"],"mono_ns":1508,"noticed_mono_ns":505,"confirmed_mono_ns":506,"bridged_mono_ns":507,"generation":3}
{"event":"written","generation":3,"written_mono_ns":1510,"mono_ns":1510}
{"event":"decision","service":"app","state":"withdrawn","action":"withdraw","prefixes":["2001:db8:80::80/128"],"mono_ns":2600,"noticed_mono_ns":505,"generation":4}
{"event":"bridge","service":"app","action":"off","vips":["2001:db8:80::80/128"],"targets":[],"mono_ns":2700}
{"event":"written","generation":4,"written_mono_ns":2602,"mono_ns":2602}
{"event":"decision","service":"app","state":"up","action":"announce","prefixes":["2001:db8:80::80/128"],"mono_ns":5000,"generation":5}
{"event":"written","generation":5,"written_mono_ns":5003,"mono_ns":5003}
`

func TestReact(t *testing.T) {
	tests := []struct {
		name        string
		journal     string
		addr        string
		from, until int64
		want        reaction
	}{
		{"a withdrawal", journalText, "2001:db8:80::80", 500, 5000, reaction{noticed: 505, written: 515}},
		{"of another address", journalText, "2001:db8:53::53", 500, 5000, reaction{}},
		{"nothing since", journalText, "2001:db8:80::80", 600, 5000, reaction{}},
		{"bridge, de-prefer, withdraw", bridgedText, "2001:db8:80::80", 500, 5000, reaction{505, 506, 507, 1510, 2602, 2700}},
		{"healed within the grace", bridgedText, "2001:db8:80::80", 500, 1000, reaction{505, 506, 507, 0, 0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := react(readJournal(t, tt.journal), netip.MustParseAddr(tt.addr), tt.from, tt.until)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(reaction{})); diff != "" {
				t.Errorf("reaction (-want +got):\n%s", diff)
			}
		})
	}
}

func TestResting(t *testing.T) {
	entries := readJournal(t, bridgedText)
	addr := netip.MustParseAddr("2001:db8:80::80")
	for n, want := range map[int]bool{2: true, 3: false, 4: false, 5: false, 6: true, 9: true} {
		if got := resting(entries[:n], addr); got != want {
			t.Errorf("resting after %d lines = %v, want %v", n, got, want)
		}
	}
}

func TestWentAway(t *testing.T) {
	entries := readJournal(t, bridgedText)
	for after, want := range map[int64]bool{500: true, 1508: true, 2600: false} {
		if got := wentAway(entries, after); got != want {
			t.Errorf("went away after %d = %v, want %v", after, got, want)
		}
	}
	if wentAway(entries[:3], 0) {
		t.Error("what was only bridged went away")
	}
}

func TestLostPath(t *testing.T) {
	entries := readJournal(t, `{"event":"session","mono_ns":1,"protocol":"bfd","neighbor":"fd00::1","state":"down"}
{"event":"session","mono_ns":2,"protocol":"bfd","neighbor":"fd00::1","state":"up"}
{"event":"session","mono_ns":3,"protocol":"bgp","neighbor":"fd00::1","state":"down"}
{"event":"session","mono_ns":4,"protocol":"bfd","neighbor":"fd00::1","state":"down"}
{"event":"session","mono_ns":5,"protocol":"bfd","neighbor":"fd00::1","state":"init"}
{"event":"start","mono_ns":6}
`)
	for n, want := range []bool{false, false, false, false, true, true, false} {
		if got := lostPath(entries[:n], 2); got != want {
			t.Errorf("after %d entries: %v, want %v", n, got, want)
		}
	}
	if lostPath(entries[:5], 4) {
		t.Error("what was lost before counts")
	}
}

func TestUpdatesAndReturn(t *testing.T) {
	entries, addr := readJournal(t, bridgedText), netip.MustParseAddr("2001:db8:80::80")
	if n := updates(entries, 500); n != 3 {
		t.Errorf("%d updates, want 3", n)
	}
	if decided, written := announcement(entries, addr, 3000); decided != 5000 || written != 5003 {
		t.Errorf("announced at %d, written at %d, want 5000 and 5003", decided, written)
	}
}

func TestNotUp(t *testing.T) {
	const up = `{"event":"decision","vips":["192.0.2.80/32"],"state":"up"}` + "\n"
	const settling = `{"event":"decision","service":"dns","vips":["192.0.2.53/32"],"state":"settling","reason":"all checks pass, for 1 s more"}` + "\n"
	tests := []struct {
		name string
		text string
		want string
	}{
		{"empty", "", "its agent has not decided anything"},
		{"started only", `{"event":"start"}` + "\n", "its agent has not decided anything"},
		{"up", up, ""},
		{"up before a restart", up + `{"event":"start"}` + "\n", "its agent has not decided anything"},
		{"one of two", up + settling, "192.0.2.53/32 of service dns is settling: all checks pass, for 1 s more"},
		{"withdrawn and back", up + `{"event":"decision","vips":["192.0.2.80/32"],"state":"withdrawn"}` + "\n" + up, ""},
		{
			"one address withdrawn, then both back",
			up + `{"event":"decision","vips":["192.0.2.80/32"],"state":"withdrawn"}` + "\n" +
				`{"event":"decision","vips":["192.0.2.53/32","192.0.2.80/32"],"state":"up"}` + "\n", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := notUp(readJournal(t, tt.text)); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
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
