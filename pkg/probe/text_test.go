package probe

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

func TestWriteText(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 21, 48, 2, 762e6, time.UTC)
	r := Report{
		Target: "[2001:db8:80::80]:7000", Mode: "udp", Scheduled: 2003, Sent: 2000, Received: 1695, Lost: 305, Late: 2,
		Errors: 305, LastError: "connection refused", IntervalMs: 1, MTTRMs: 305,
		BySite:      map[string]int{"mec-2": 697, "mec-1": 998},
		RTTBySiteMs: map[string]Percentiles{"mec-1": {0.0668, 0.0965, 0.4557, 3.8671}, "mec-2": {12.5, 12.6, 13, 20}},
		Outages: []Outage{
			{Start: at, Lost: 300, DurationMs: 300, GapMs: 301.02274, FromSite: "mec-1", ToSite: "mec-2"},
			{Start: at.Add(time.Second), Lost: 5, DurationMs: 5, FromSite: "mec-2"},
		},
	}
	want := `
[2001:db8:80::80]:7000 (udp), every 1ms for 2.003s: sent 2000, answered 1695, lost 305 (15.25%), late 2, errors 305, not sent in time 3 (connection refused)

   site  answered   share  RTT p50     p90     p99  max ms
  mec-1       998  58.88%    0.067   0.097   0.456   3.867
  mec-2       697  41.12%   12.500  12.600  13.000  20.000

     outage at  lost  lost x interval   gap ms   from     to
  21:48:02.762   300            300ms  301.023  mec-1  mec-2
  21:48:03.762     5              5ms        -  mec-2      -

MTTR 305ms: 305 lost x 1ms, in 2 outages
`
	var got strings.Builder
	if err := r.WriteText(&got); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(strings.TrimPrefix(want, "\n"), got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWriteTextOfExtremes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		report Report
		want   string
	}{
		"nothing":      {Report{}, "\nno site answered\n\nno outages\n"},
		"many outages": {Report{Lost: 50, Outages: make([]Outage, 30), MoreOutages: 20}, "\nand 30 more\n\nMTTR 0s: 50 lost x 0s, in 50 outages\n"},
	} {
		var got strings.Builder
		if err := tt.report.WriteText(&got); err != nil || !strings.HasSuffix(got.String(), tt.want) {
			t.Errorf("%s: %v, %q; want %q at its end", name, err, got.String(), tt.want)
		}
	}
}

// The examples of docs/probe.md have the fields that there are, and all of them.
func TestDocumentedJSON(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/probe.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(doc), "```json\n")
	if len(blocks) != 3 {
		t.Fatalf("%d JSON blocks, want those of a report and of an event", len(blocks)-1)
	}
	var report Report
	sameFields(t, blocks[1], &report)
	sameFields(t, blocks[2], &Event{})
	if report.Received+report.Lost != report.Sent || len(report.Outages) != 1 {
		t.Errorf("the example does not add up: %+v", report)
	}
}

func sameFields(t *testing.T, block string, into any) {
	t.Helper()
	text, _, _ := strings.Cut(block, "```")
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(into)
	if err != nil {
		t.Fatal(err)
	}
	var want, got map[string]any
	if json.Unmarshal(back, &want) != nil || json.Unmarshal([]byte(text), &got) != nil {
		t.Fatal("no JSON objects")
	}
	for field := range want {
		if _, ok := got[field]; !ok {
			t.Errorf("the example lacks %s", field)
		}
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	for name, stamp := range map[string]time.Time{
		"none": {}, "to come": time.Now().Add(time.Hour).Round(0), "long gone": time.Now().Add(-time.Hour).Round(0),
	} {
		before := c.now()
		if got := c.at(stamp); got < before || got > c.now() {
			t.Errorf("time stamp %s: %d, want now", name, got)
		}
	}
	before, stamp := c.now(), time.Now().Round(0)
	if got := c.at(stamp); got < before-int64(time.Second) || got > c.now() {
		t.Errorf("a time stamp of just now: %d, want one not before %d", got, before)
	}
}

// FuzzRespond: a reply answers a request, byte by byte where it repeats it, and is as long.
func FuzzRespond(f *testing.F) {
	f.Add(wire(f, requestHex))
	f.Add(wire(f, replyHex))
	f.Add([]byte{})
	r, err := NewResponder(ResponderConfig{Site: "mec-1", Listen: addrs("[::1]:0")})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p, got Packet
		buf := append([]byte(nil), data...)
		if !r.respond(buf, &p) {
			return
		}
		if len(data) != Size || Kind(data[atKind]) != KindRequest {
			t.Fatalf("%x is answered", data)
		}
		if err := got.UnmarshalBinary(buf); err != nil || got.Kind != KindReply || got.Site() != "mec-1" {
			t.Fatalf("%x: %+v, %v", buf, got, err)
		}
		if string(buf[atRun:atReceived]) != string(data[atRun:atReceived]) {
			t.Fatalf("%x repeats %x", buf, data)
		}
	})
}
