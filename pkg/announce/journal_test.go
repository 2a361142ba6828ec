package announce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/pkg/bgp"
)

// entry is every field that a line may have.
type entry struct {
	Time       time.Time `json:"time"`
	MonoNs     int64     `json:"mono_ns"`
	Site       string    `json:"site"`
	Event      string    `json:"event"`
	Service    string    `json:"service"`
	State      string    `json:"state"`
	Action     string    `json:"action"`
	Reason     string    `json:"reason"`
	VIPs       []string  `json:"vips"`
	Prefixes   []string  `json:"prefixes"`
	Targets    []Target  `json:"targets"`
	NoticedNs  int64     `json:"noticed_mono_ns"`
	ConfirmNs  int64     `json:"confirmed_mono_ns"`
	BridgedNs  int64     `json:"bridged_mono_ns"`
	Protocol   string    `json:"protocol"`
	Generation uint64    `json:"generation"`
	Neighbor   string    `json:"neighbor"`
	WrittenNs  int64     `json:"written_mono_ns"`
	Version    string    `json:"version"`
}

func read(t *testing.T, path string) (entries []entry) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		var e entry
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		entries = append(entries, e)
	}
	return entries
}

func openJournal(t *testing.T, log *slog.Logger) (*Journal, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	j, err := OpenJournal(log, path, "mec-1")
	if err != nil {
		t.Fatal(err)
	}
	return j, path
}

// flush runs a journal until all that was recorded is written.
func flush(t *testing.T, j *Journal) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := j.Run(ctx); err != nil {
		t.Error(err)
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	j, path := openJournal(t, nil)
	before := readClock()
	router := netip.MustParseAddr("fd00:1::1")
	decided := before.now.Add(-time.Second)
	j.Started("v1")
	j.Session(SessionChange{Time: before.now.Add(-2 * time.Second), Protocol: "bgp", Neighbor: router, State: "established"})
	j.decision(outcome{
		time: decided, service: "dns", state: DePreferred, action: Deprefer, reason: "a < b",
		cause:     Cause{Noticed: decided.Add(-time.Millisecond), Confirmed: decided.Add(-time.Microsecond)},
		addresses: prefixes("2001:db8:53::53/128"), targets: []Target{{"mec-2-a", 3}}, bridged: decided.Add(time.Microsecond),
		prefixes: prefixes("2001:db8:53::53/128"), generation: 7,
	})
	j.bridge(bridgeChange{
		time: decided, service: "dns", vips: prefixes("2001:db8:53::53/128"), action: "on", targets: []Target{{"mec-2-a", 3}}, reason: "a < b",
	})
	j.Written(bgp.Report{Generation: 7, Neighbor: router, Written: decided.Add(time.Millisecond)})
	j.Written(bgp.Report{Generation: 7, Neighbor: router, Err: errors.New("not written")})
	j.Stopped()
	flush(t, j)
	got := read(t, path)
	want := []entry{
		{Event: "start", Version: "v1"},
		{Event: "session", Protocol: "bgp", Neighbor: "fd00:1::1", State: "established"},
		{Event: "decision", Service: "dns", State: "depreferred", Action: "deprefer", Reason: "a < b",
			VIPs: []string{"2001:db8:53::53/128"}, Prefixes: []string{"2001:db8:53::53/128"}, Targets: []Target{{"mec-2-a", 3}}, Generation: 7},
		{Event: "bridge", Service: "dns", Action: "on", Reason: "a < b",
			VIPs: []string{"2001:db8:53::53/128"}, Targets: []Target{{"mec-2-a", 3}}},
		{Event: "written", Neighbor: "fd00:1::1", Generation: 7},
		{Event: "stop"},
	}
	for i := range want {
		want[i].Site = "mec-1"
	}
	if diff := cmp.Diff(want, timeless(got)); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	if !got[2].Time.Equal(decided) {
		t.Errorf("decision at %v, want %v: when it was made, not when it was written", got[2].Time, decided)
	}
	// Both clocks are read one after the other: what lies between is the only difference.
	spread := func(what string, got, want int64) {
		if d := time.Duration(got - want).Abs(); d > 100*time.Millisecond {
			t.Errorf("%s is off by %v", what, d)
		}
	}
	spread("mono_ns", got[2].MonoNs, before.ns-1e9)
	spread("noticed_mono_ns", got[2].NoticedNs, before.ns-1e9-1e6)
	spread("confirmed_mono_ns", got[2].ConfirmNs, before.ns-1e9-1e3)
	spread("bridged_mono_ns", got[2].BridgedNs, before.ns-1e9+1e3)
	spread("written_mono_ns", got[4].WrittenNs, before.ns-1e9+1e6)
	if got[2].MonoNs-got[2].NoticedNs != 1e6 {
		t.Errorf("noticed %d ns before the decision", got[2].MonoNs-got[2].NoticedNs)
	}
}

// timeless drops what differs from run to run.
func timeless(entries []entry) []entry {
	var all []entry
	for _, e := range entries {
		e.Time, e.MonoNs, e.NoticedNs, e.ConfirmNs, e.BridgedNs, e.WrittenNs = time.Time{}, 0, 0, 0, 0, 0
		all = append(all, e)
	}
	return all
}

// The speaker may report before Set returns; a reader wants the decision first.
func TestJournalHoldsBackEarlyReports(t *testing.T) {
	t.Parallel()
	j, path := openJournal(t, nil)
	report := func(generation uint64) { j.Written(bgp.Report{Generation: generation, Written: time.Now()}) }
	report(1)
	report(2)
	j.decision(outcome{service: "a", generation: 1})
	report(3)
	j.decision(outcome{service: "b", generation: 2})
	j.decision(outcome{service: "c", generation: 2})
	report(2)
	report(4) // its decision never comes
	flush(t, j)
	var got []string
	for _, e := range read(t, path) {
		got = append(got, e.Event+" "+e.Service+" "+string('0'+rune(e.Generation)))
	}
	want := []string{"decision a 1", "written  1", "decision b 2", "written  2", "decision c 2", "written  2", "written  3", "written  4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestJournalAppends(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	if err := os.WriteFile(path, []byte(`{"event":"stop"}`+"\n"+`{"event":"deci`), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := OpenJournal(nil, path, "mec-1")
	if err != nil {
		t.Fatal(err)
	}
	j.Started("v2")
	flush(t, j)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	if len(lines) != 3 || lines[1] != `{"event":"deci` || !json.Valid([]byte(lines[2])) {
		t.Errorf("half a line of a killed process must end before the next one:\n%s", content)
	}
}

func TestJournalMode(t *testing.T) {
	t.Parallel()
	j, path := openJournal(t, nil)
	flush(t, j)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&^0o640 != 0 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestOpenJournalRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tests := []struct{ name, path, want string }{
		{"no directory", dir + "/none/j", "journal " + dir + "/none/j: directory " + dir + "/none does not exist: create it, or name another in journal.file"},
		{"a directory", dir, "journal open " + dir + ": is a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := OpenJournal(nil, tt.path, "mec-1")
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// A disk that does not take anything must not stop a decision.
func TestJournalNeverBlocks(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	j, path := openJournal(t, slog.New(slog.NewTextHandler(&log, nil)))
	for range queueLength + 5 {
		j.Started("v1")
	}
	flush(t, j)
	if got := len(read(t, path)); got != queueLength {
		t.Errorf("%d lines", got)
	}
	if !strings.Contains(log.String(), "dropped=5") {
		t.Errorf("log: %s", log.String())
	}
	if got := testutil.ToFloat64(j.counts.WithLabelValues("dropped")); got != 5 {
		t.Errorf("dropped %v", got)
	}
	problems, err := testutil.CollectAndLint(j)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// fullDisk takes only some bytes.
type fullDisk struct {
	bytes.Buffer
	room int
}

func (d *fullDisk) Write(b []byte) (int, error) {
	n := min(len(b), d.room)
	d.room -= n
	d.Buffer.Write(b[:n])
	if n < len(b) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

func (d *fullDisk) Close() error { return nil }

func TestJournalOnAFullDisk(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	j, _ := openJournal(t, slog.New(slog.NewTextHandler(&log, nil)))
	j.file.Close()
	disk := &fullDisk{room: 20}
	j.file = disk
	lost := []record{started{time.Now(), "lost"}}
	j.write(lost)
	j.write(lost)
	disk.room = 1000
	j.write([]record{started{time.Now(), "kept"}})
	lines := strings.Split(strings.TrimSpace(disk.String()), "\n")
	if len(lines) != 2 || len(lines[0]) != 20 || !strings.Contains(lines[1], "kept") || !json.Valid([]byte(lines[1])) {
		t.Errorf("got %q", lines)
	}
	if strings.Count(log.String(), "cannot be written") != 1 || strings.Count(log.String(), "written again") != 1 {
		t.Errorf("each change is told once:\n%s", log.String())
	}
}

func TestNoJournal(t *testing.T) {
	t.Parallel()
	var j *Journal
	j.Started("v1")
	j.Written(bgp.Report{})
	j.Session(SessionChange{})
	j.bridge(bridgeChange{})
	j.decision(outcome{})
	j.Stopped()
	flush(t, j)
}

func TestClock(t *testing.T) {
	t.Parallel()
	c := clock{now: start, ns: 1e12}
	if got := c.mono(start.Add(-time.Millisecond)); got != 1e12-1e6 {
		t.Errorf("a millisecond ago: %d", got)
	}
	if got := c.mono(time.Time{}); got != 0 {
		t.Errorf("never: %d", got)
	}
}
