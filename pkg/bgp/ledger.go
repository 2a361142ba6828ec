package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// A ledger keeps, for every neighbor, what it should know beside what was written to its socket in this session. It
// touches neither GoBGP nor any clock, so that the rules of reporting can be tested by themselves. Safe for concurrent use.
type ledger struct {
	mu         sync.Mutex // guards all below
	generation uint64
	wanted     advertised
	neighbors  map[netip.Addr]*session
	order      []netip.Addr
	since      time.Time     // of the generation
	reports    []outcome     // not yet handed out
	progress   chan struct{} // closed and replaced whenever a Wait may be over
}

// An outcome is a Report and how long the writing took; zero when the session is younger than the change.
type outcome struct {
	Report
	took time.Duration
}

// A session is one neighbor. What was written is forgotten when the session is lost: the neighbor forgets it too.
type session struct {
	address      netip.Addr
	ibgp         bool
	up           bool
	upSince      time.Time
	v4, v6       bool                  // the families that this session can carry
	written      advertised            // as in the UPDATE
	pending      map[netip.Prefix]bool // written differs from wanted
	pendingSince time.Time             // of the last change of pending by a Set, a session or a repair
	done         uint64                // the generation that was written in full
	late         uint64                // the generation that was reported late
}

func newLedger(asn uint32, neighbors []Neighbor) *ledger {
	l := &ledger{
		wanted:    make(advertised),
		neighbors: make(map[netip.Addr]*session),
		progress:  make(chan struct{}),
	}
	for _, n := range neighbors {
		l.neighbors[n.Address] = &session{
			address: n.Address, ibgp: n.ASN == asn, written: make(advertised), pending: make(map[netip.Prefix]bool),
		}
		l.order = append(l.order, n.Address)
	}
	return l
}

func (s *session) carries(p netip.Prefix) bool {
	if p.Addr().Is4() {
		return s.v4
	}
	return s.v6
}

// unsettle makes pending what a Set changed. What waits for an UPDATE goes on waiting even if the Set takes that change
// back: the UPDATE may be on its way, and one that undoes it follows.
func (s *session) unsettle(p netip.Prefix, wanted advertised) {
	if !s.pending[p] {
		s.settle(p, wanted)
	}
}

// settle brings pending up to date for one prefix.
func (s *session) settle(p netip.Prefix, wanted advertised) {
	want, told := wanted[p]
	told = told && s.carries(p)
	is, there := s.written[p]
	if told == there && (!told || is == want.onWire(s.ibgp)) {
		delete(s.pending, p)
	} else {
		s.pending[p] = true
	}
}

// set makes wanted the whole wanted set and opens a generation if that changes anything. The time is that of the
// call. What is changed for a neighbor without a session, or that its session cannot carry, is reported at once.
func (l *ledger) set(now time.Time, wanted advertised) (generation uint64, changed []netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if changed = difference(l.wanted, wanted); len(changed) == 0 {
		return l.generation, nil
	}
	l.wanted = wanted
	l.generation++
	l.since = now
	for _, addr := range l.order {
		l.open(l.neighbors[addr], now, changed)
	}
	return l.generation, changed
}

func (l *ledger) open(s *session, now time.Time, changed []netip.Prefix) {
	if !s.up {
		l.fail(s, errNoSession(s.address))
		return
	}
	var refused []netip.Prefix
	for _, p := range changed {
		s.unsettle(p, l.wanted)
		if _, ok := l.wanted[p]; ok && !s.carries(p) {
			refused = append(refused, p)
		}
	}
	l.refuse(s, refused)
	s.pendingSince = now
	if len(s.pending) == 0 { // nothing of this change concerns this neighbor
		s.done = l.generation
		l.wake()
	}
}

// refuse reports what the session cannot carry.
func (l *ledger) refuse(s *session, prefixes []netip.Prefix) {
	if len(prefixes) > 0 {
		l.fail(s, errNotCarried(s.address, prefixes))
	}
}

func (l *ledger) fail(s *session, err error) {
	l.reports = append(l.reports, outcome{Report: Report{Generation: l.generation, Neighbor: s.address, Err: err}})
}

// established notes a new session and what it carries, and tells what it does not.
func (l *ledger) established(now time.Time, addr netip.Addr, v4, v6 bool) (notCarried []netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.neighbors[addr]
	if s == nil {
		return nil
	}
	s.up, s.upSince, s.v4, s.v6, s.pendingSince = true, now, v4, v6, now
	s.done = max(l.generation, 1) - 1 // older generations are history for this session
	for p := range l.wanted {
		s.settle(p, l.wanted)
		if !s.carries(p) {
			notCarried = append(notCarried, p)
		}
	}
	slices.SortFunc(notCarried, netip.Prefix.Compare)
	l.refuse(s, notCarried)
	// The first UPDATE may have been noted before the event of the session came.
	if len(s.pending) == 0 {
		l.finish(s, now)
	}
	return notCarried
}

// lost notes the end of a session.
func (l *ledger) lost(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.neighbors[addr]; s != nil {
		s.up, s.v4, s.v6 = false, false, false
		clear(s.written)
		clear(s.pending)
		l.wake()
	}
}

// wrote notes one UPDATE that left for a neighbor, and reports whether there is something to hand out.
func (l *ledger) wrote(at time.Time, addr netip.Addr, u update) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.neighbors[addr]
	if s == nil {
		return false
	}
	for _, p := range u.withdrawn {
		delete(s.written, p)
		s.settle(p, l.wanted)
	}
	for _, p := range u.announced {
		s.written[p] = u.says
		s.settle(p, l.wanted)
	}
	if !s.up || len(s.pending) > 0 || s.done == l.generation {
		return false
	}
	l.finish(s, at)
	return true
}

// finish reports every generation that is now written in full.
func (l *ledger) finish(s *session, at time.Time) {
	for g := s.done + 1; g <= l.generation; g++ {
		o := outcome{Report: Report{Generation: g, Neighbor: s.address, Written: at}}
		if g == l.generation && s.upSince.Before(l.since) {
			o.took = at.Sub(l.since)
		}
		l.reports = append(l.reports, o)
	}
	s.done = l.generation
	l.wake()
}

// overdue returns the sessions that wait longer than patience for an UPDATE, and reports each generation once.
func (l *ledger) overdue(now time.Time, patience time.Duration) (late []lateSession, next time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, addr := range l.order {
		s := l.neighbors[addr]
		if !s.up || len(s.pending) == 0 {
			continue
		}
		if rest := patience - now.Sub(s.pendingSince); rest > 0 {
			next = shortest(next, rest)
			continue
		}
		late = append(late, l.markLate(s, now))
		next = shortest(next, patience)
	}
	return late, next
}

// A lateSession is what one neighbor still lacks.
type lateSession struct {
	address            netip.Addr
	announce, withdraw []netip.Prefix
}

func (l *ledger) markLate(s *session, now time.Time) lateSession {
	late := lateSession{address: s.address}
	for p := range s.pending {
		if _, ok := l.wanted[p]; ok && s.carries(p) {
			late.announce = append(late.announce, p)
		} else {
			late.withdraw = append(late.withdraw, p)
		}
	}
	if s.late != l.generation {
		s.late = l.generation
		l.fail(s, fmt.Errorf("neighbor %s: not written yet: announce %v, withdraw %v; sending again", s.address, late.announce, late.withdraw))
	}
	s.pendingSince = now
	return late
}

// takeReports hands out what is to be reported, oldest first.
func (l *ledger) takeReports() []outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.reports
	l.reports = nil
	return r
}

// waiting returns nil when every established neighbor was written the generation, else a channel that closes when it is
// worth asking again.
func (l *ledger) waiting(generation uint64) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.neighbors {
		if s.up && s.done < generation {
			return l.progress
		}
	}
	return nil
}

// sessionsUp tells how many sessions are established; the channel closes when that may have changed.
func (l *ledger) sessionsUp() (n int, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.neighbors {
		if s.up {
			n++
		}
	}
	return n, l.progress
}

// canCarry tells whether an established session can carry p.
func (l *ledger) canCarry(p netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.neighbors {
		if s.up && s.carries(p) {
			return true
		}
	}
	return false
}

// wantedNow returns the wanted set, which is replaced by every Set and never changed.
func (l *ledger) wantedNow() advertised {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wanted
}

func (l *ledger) wake() {
	close(l.progress)
	l.progress = make(chan struct{})
}

// difference returns what is in one set only, or not the same in both, in order.
func difference(a, b advertised) []netip.Prefix {
	var d []netip.Prefix
	for p, says := range a {
		if other, ok := b[p]; !ok || other != says {
			d = append(d, p)
		}
	}
	for p := range b {
		if _, ok := a[p]; !ok {
			d = append(d, p)
		}
	}
	slices.SortFunc(d, netip.Prefix.Compare)
	return d
}

func shortest(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

func errNoSession(addr netip.Addr) error {
	return fmt.Errorf("neighbor %s: no session, it will be told when one is established", addr)
}

func errNotCarried(addr netip.Addr, prefixes []netip.Prefix) error {
	if addr.Is6() && prefixes[0].Addr().Is4() {
		return fmt.Errorf("neighbor %s: %v not announced there: extended next hop (RFC 8950) was not negotiated; enable it on the router or add an IPv4 session", addr, prefixes)
	}
	return fmt.Errorf("neighbor %s: %v not announced there: the session does not carry the address family", addr, prefixes)
}
