package lab

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/pkg/probe"
)

// ms is a moment so many milliseconds after the origin of a test's clock.
func msec(n int64) int64 { return n * int64(time.Millisecond) }

func TestTrace(t *testing.T) {
	vip := netip.MustParsePrefix("2001:db8:80::80/128")
	p, err := findParts(Topology{Nodes: []Node{
		{Name: "client", Labels: map[string]string{LabelRole: "client", LabelVIP: "[2001:db8:80::80]:7000", LabelDNS: "[::1]:53"}},
		{Name: "mec1-agent", Labels: map[string]string{LabelRole: "agent", LabelSite: "mec-1"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	decision := entry{
		Event: "decision", Service: "app", State: "bridged", Action: "bridge", Reason: "socket gone", Prefixes: []netip.Prefix{vip},
		MonoNs: msec(1003), NoticedNs: msec(1001), ConfirmedNs: msec(1002), BridgedNs: msec(1003),
	}
	later := decision
	later.MonoNs, later.State, later.Action, later.Reason = msec(2003), "depreferred", "deprefer", "not back within 1s"
	other := decision
	other.Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:53::53/128")}
	f := failure{
		fault: Fault{Name: "service-kill"}, from: "mec-1", to: "mec-2", target: p.vip,
		at: msec(1000), healed: msec(3000), spells: []spell{{"mec-2", msec(1004)}},
	}
	got := f.trace(p, map[string][]entry{"mec1-agent": {
		{Event: "session", Neighbor: "fd00::1", State: "established", MonoNs: msec(500)}, // long ago
		decision, other, later,
		{Event: "written", Neighbor: "fd00::1", WrittenNs: msec(2004), MonoNs: msec(2004)},
	}}, []routeChange{{node: "r1", at: msec(2010), to: vip, hops: []netip.Addr{netip.MustParseAddr("fd00::2")}}}, probe.Report{
		IntervalMs: 1,
		Outages: []probe.Outage{
			{StartMonoNs: msec(100), Lost: 9},
			{StartMonoNs: msec(999), Lost: 3, FromSite: "mec-1", ToSite: "mec-2", FirstAnswerMonoNs: msec(1004)},
		},
	})
	want := Trace{Events: []TraceEvent{
		{AtMs: -1, UntilMs: 4, Who: "client", What: TraceOutage, Detail: "mec-1 -> mec-2", Lost: 3},
		{AtMs: 0, Who: "edgelab", What: TraceFault, Detail: "service-kill at mec-1"},
		{AtMs: 1, Who: "mec1-agent", What: TraceNoticed},
		{AtMs: 2, Who: "mec1-agent", What: TraceConfirmed},
		{AtMs: 3, Who: "mec1-agent", What: TraceBridged},
		{AtMs: 3, Who: "mec1-agent", What: TraceDecision, Detail: "app bridged, bridge: socket gone"},
		{AtMs: 4, Who: "client", What: TraceAnswers, Detail: "mec-2"},
		{AtMs: 1003, Who: "mec1-agent", What: TraceDecision, Detail: "app depreferred, deprefer: not back within 1s"},
		{AtMs: 1004, Who: "mec1-agent", What: TraceWritten, Detail: "UPDATE to fd00::1"},
		{AtMs: 1010, Who: "r1", What: TraceRoute, Detail: "route to 2001:db8:80::80/128 via fd00::2"},
		{AtMs: 2000, Who: "edgelab", What: TraceHealed},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
}

func TestTraceIsBounded(t *testing.T) {
	tr := tracer{}
	for i := range int64(maxTrace + 7) {
		tr.add(msec(1+i), "r1", TraceRoute, "")
	}
	if got := tr.bounded(); len(got.Events) != maxTrace || got.More != 7 {
		t.Errorf("%d events and %d more, want %d and 7", len(got.Events), got.More, maxTrace)
	}
}

func TestComplete(t *testing.T) {
	spells := []spell{{"mec-2", 20}, {"mec-1", 50}}
	sick := probe.Report{Outages: []probe.Outage{{StartMonoNs: 5, FirstAnswerMonoNs: 45, FromSite: "mec-1", ToSite: "mec-1"}}}
	tests := []struct {
		name         string
		f            failure
		r            probe.Report
		to           string
		answer, back int64
	}{
		{"awaited", failure{from: "mec-1", to: "mec-3", healed: 40, back: 50, spells: spells}, probe.Report{}, "mec-3", 20, 50},
		{"found in the answers", failure{from: "mec-1", healed: 40, back: 50, spells: spells}, probe.Report{}, "mec-2", 20, 50},
		{"nobody took over", failure{from: "mec-1", healed: 40}, sick, "", 0, 45},
		{"who answers after the healing did not take over", failure{from: "mec-1", healed: 15, spells: spells}, probe.Report{}, "", 0, 0},
	}
	for _, tt := range tests {
		tt.f.complete(tt.r)
		if tt.f.to != tt.to || tt.f.answer != tt.answer || tt.f.back != tt.back {
			t.Errorf("%s: %q, %d, %d, want %q, %d, %d", tt.name, tt.f.to, tt.f.answer, tt.f.back, tt.to, tt.answer, tt.back)
		}
	}
}

func TestTCPCounts(t *testing.T) {
	log := []exchange{
		{at: msec(1)}, {at: msec(11)}, {at: msec(15), err: io.EOF}, // before
		{at: msec(21)}, {at: msec(31), err: io.EOF}, {at: msec(41), err: unix.ECONNREFUSED}, {at: msec(51)},
		{at: msec(61), err: fmt.Errorf("read: %w", unix.ECONNRESET)}, {at: msec(1061), err: os.ErrDeadlineExceeded}, {at: msec(1081)},
	}
	if diff := cmp.Diff(TCP{Closed: 1, Resets: 2, Timeouts: 1, SilentMs: 1030}, tcpCounts(log, msec(20))); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}
