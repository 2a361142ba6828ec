package bgp

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	p6    = netip.MustParsePrefix("2001:db8::1/128")
	p6b   = netip.MustParsePrefix("2001:db8::2/128")
	p4    = netip.MustParsePrefix("192.0.2.1/32")
	peerA = netip.MustParseAddr("fd00::a")
	peerB = netip.MustParseAddr("fd00::b")
	start = time.Unix(1000, 0)
)

func at(d time.Duration) time.Time { return start.Add(d) }

func prefixes(l ...netip.Prefix) advertised {
	m := make(advertised)
	for _, p := range l {
		m[p] = Attributes{}
	}
	return m
}

// plain is an UPDATE on an eBGP session that says nothing special.
func plain(announced, withdrawn []netip.Prefix) update {
	return update{announced, withdrawn, Attributes{}.onWire(false)}
}

// told returns the reports as short text: "1 fd00::a +5ms" or "1 fd00::a: error".
func told(l *ledger) []string {
	var s []string
	for _, o := range l.takeReports() {
		if o.Err != nil {
			s = append(s, o.Err.Error())
		} else {
			s = append(s, string('0'+rune(o.Generation))+" "+o.Neighbor.String()+" +"+o.Written.Sub(start).String()+" took "+o.took.String())
		}
	}
	return s
}

func expect(t *testing.T, l *ledger, want ...string) {
	t.Helper()
	got := told(l)
	if len(got) != len(want) {
		t.Fatalf("reports %q, want %q", got, want)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("report %q, want %q", got[i], want[i])
		}
	}
}

func twoNeighbors() *ledger { return newLedger(64611, []Neighbor{{Address: peerA}, {Address: peerB}}) }

func TestLedgerReportsWhenTheLastUpdateLeft(t *testing.T) {
	l := twoNeighbors()
	l.established(start, peerA, true, true)
	l.set(at(1*time.Second), prefixes(p6, p6b))
	expect(t, l, "neighbor fd00::b: no session")
	if l.wrote(at(1001*time.Millisecond), peerA, plain([]netip.Prefix{p6}, nil)) {
		t.Error("reported before the last UPDATE")
	}
	if l.waiting(1) == nil {
		t.Error("Wait would return before the last UPDATE")
	}
	if !l.wrote(at(1002*time.Millisecond), peerA, plain([]netip.Prefix{p6b}, nil)) {
		t.Error("not reported after the last UPDATE")
	}
	expect(t, l, "1 fd00::a +1.002s took 2ms")
	if l.waiting(1) != nil {
		t.Error("Wait would not return")
	}
	if g, changed := l.set(at(2*time.Second), prefixes(p6b, p6)); g != 1 || len(changed) != 0 {
		t.Errorf("the same set opened generation %d, changed %v", g, changed)
	}
}

func TestLedgerTellsANewSessionEverything(t *testing.T) {
	l := twoNeighbors()
	l.set(start, prefixes(p6))
	l.set(start, prefixes(p6, p6b))
	told(l)
	// The first UPDATE may be noted before the event of the session.
	l.wrote(at(3*time.Second), peerA, plain([]netip.Prefix{p6}, nil))
	l.established(at(3*time.Second), peerA, true, true)
	expect(t, l)
	l.wrote(at(4*time.Second), peerA, plain([]netip.Prefix{p6b}, nil))
	expect(t, l, "2 fd00::a +4s took 0s") // no latency: the session is younger than the change
	l.lost(peerA)
	l.established(at(9*time.Second), peerA, true, true)
	l.wrote(at(9*time.Second), peerA, plain([]netip.Prefix{p6, p6b}, nil))
	expect(t, l, "2 fd00::a +9s")
}

func TestLedgerRefusesWhatASessionCannotCarry(t *testing.T) {
	l := twoNeighbors()
	l.set(start, prefixes(p4, p6))
	told(l)
	if got := l.established(start, peerA, false, true); !slices.Equal(got, []netip.Prefix{p4}) {
		t.Errorf("not carried %v, want %v", got, p4)
	}
	expect(t, l, "neighbor fd00::a: [192.0.2.1/32] not announced there: extended next hop (RFC 8950)")
	l.wrote(at(1), peerA, plain([]netip.Prefix{p6}, nil))
	expect(t, l, "1 fd00::a")
	l.set(at(2), prefixes(p6))
	expect(t, l, "neighbor fd00::b: no session") // its going concerns peerA as little
	if l.waiting(2) != nil {
		t.Error("Wait would not return though there is nothing to write")
	}
}

func TestLedgerNoticesWhatDidNotLeave(t *testing.T) {
	l := twoNeighbors()
	l.established(at(-1), peerA, true, true)
	l.set(start, prefixes(p6))
	l.wrote(start, peerA, plain([]netip.Prefix{p6}, nil))
	l.set(start, prefixes(p6b))
	told(l)
	if late, next := l.overdue(at(400*time.Millisecond), time.Second); len(late) != 0 || next != 600*time.Millisecond {
		t.Errorf("late %v, next %v", late, next)
	}
	late, next := l.overdue(at(1*time.Second), time.Second)
	if len(late) != 1 || !slices.Equal(late[0].announce, []netip.Prefix{p6b}) || !slices.Equal(late[0].withdraw, []netip.Prefix{p6}) || next != time.Second {
		t.Errorf("late %+v, next %v", late, next)
	}
	expect(t, l, "not written yet: announce [2001:db8::2/128], withdraw [2001:db8::1/128]")
	l.overdue(at(2*time.Second), time.Second)
	expect(t, l) // told once
	l.wrote(at(3*time.Second), peerA, plain([]netip.Prefix{p6b}, []netip.Prefix{p6}))
	expect(t, l, "2 fd00::a +3s took 3s")
}

func TestLedgerReportsEveryGenerationOnce(t *testing.T) {
	l := twoNeighbors()
	l.established(start, peerA, true, true)
	l.set(start, prefixes(p6))
	l.set(start, prefixes(p6, p6b))
	told(l)
	l.wrote(at(1), peerA, plain([]netip.Prefix{p6, p6b}, nil))
	expect(t, l, "1 fd00::a", "2 fd00::a")
	l.wrote(at(2), peerA, plain([]netip.Prefix{p6, p6b}, nil)) // sent again on request
	expect(t, l)
	l.wrote(at(2), netip.MustParseAddr("fd00::c"), plain([]netip.Prefix{p6}, nil)) // no such neighbor
	l.lost(netip.MustParseAddr("fd00::c"))
	l.established(at(3), netip.MustParseAddr("fd00::c"), true, true)
}

// A Set that takes the one before it back, while that one's UPDATE is on its way, is not written before the UPDATE that
// undoes it; without any UPDATE both are repaired, not believed.
func TestLedgerWaitsForWhatIsTakenBack(t *testing.T) {
	l := twoNeighbors()
	l.established(start, peerA, true, true)
	l.set(start, prefixes(p6))
	l.set(start, prefixes())
	told(l)
	if l.waiting(2) == nil {
		t.Error("Wait would return while an UPDATE is on its way")
	}
	if l.wrote(at(1), peerA, plain([]netip.Prefix{p6}, nil)) {
		t.Error("reported though the withdrawal has not left")
	}
	late, _ := l.overdue(at(2*time.Second), time.Second)
	if len(late) != 1 || late[0].announce != nil || !slices.Equal(late[0].withdraw, []netip.Prefix{p6}) {
		t.Errorf("late %+v", late)
	}
	expect(t, l, "withdraw [2001:db8::1/128]")
	l.wrote(at(3*time.Second), peerA, plain(nil, []netip.Prefix{p6}))
	expect(t, l, "1 fd00::a", "2 fd00::a")

	l.set(at(4*time.Second), prefixes(p6))
	l.set(at(4*time.Second), prefixes())
	told(l)
	late, _ = l.overdue(at(5*time.Second), time.Second) // GoBGP sent neither
	if len(late) != 1 || late[0].announce != nil || !slices.Equal(late[0].withdraw, []netip.Prefix{p6}) {
		t.Errorf("late %+v", late)
	}
}

// What is said of a prefix counts, as that type of session says it.
func TestLedgerComparesAttributes(t *testing.T) {
	l := newLedger(64611, []Neighbor{{Address: peerA, ASN: 65533}, {Address: peerB, ASN: 64611}})
	l.established(start, peerA, true, true)
	l.established(start, peerB, true, true)
	told(l)
	worse := Depreferred()
	said := func(a Attributes) update { return update{announced: []netip.Prefix{p6}, says: a} }
	if g, changed := l.set(start, advertised{p6: worse}); g != 1 || len(changed) != 1 {
		t.Errorf("generation %d, changed %v", g, changed)
	}
	for _, not := range []Attributes{worse, worse.onWire(true), {}, Attributes{}.onWire(false)} {
		if l.wrote(start, peerA, said(not)) {
			t.Errorf("%+v passed for what was wanted", not)
		}
	}
	if !l.wrote(start, peerA, said(worse.onWire(false))) {
		t.Error("the announcement that was wanted did not pass on eBGP")
	}
	if !l.wrote(start, peerB, said(worse.onWire(true))) {
		t.Error("the announcement that was wanted did not pass on iBGP")
	}
	expect(t, l, "1 fd00::a", "1 fd00::b")
	l.set(at(1), advertised{p6: {}})
	if l.waiting(2) == nil {
		t.Error("Wait would return before the better attributes were written")
	}
	late, _ := l.overdue(at(2*time.Second), time.Second)
	if len(late) != 2 || !slices.Equal(late[0].announce, []netip.Prefix{p6}) || late[0].withdraw != nil {
		t.Errorf("late %+v", late)
	}
}
