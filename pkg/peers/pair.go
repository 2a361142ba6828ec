package peers

import (
	"fmt"
	"slices"
	"time"
)

// lostInARow is how many requests in a row are lost when a peer stops being reachable.
const lostInARow = 3

// maxOpen bounds the requests of a pair that may still be answered: RTTs up to 16 intervals are measured.
const maxOpen = 16

// A pair is one VIP at one peer. It knows no clock.
type pair struct {
	reachable bool
	since     time.Time // of reachable
	state     State     // of the last answer
	rtt       rtt
	open      []sent // requests since the last one that was answered, the oldest first
	lost      string // why it is no longer reachable; empty: it never was
	sending   string // why the last request did not leave; empty: it did
	misled    string // the host that answered in this one's place; empty: none
}

// sent is a request under way.
type sent struct {
	nonce uint64
	at    time.Time
}

func newPairs(n int, now time.Time) []pair {
	pairs := make([]pair, n)
	for i := range pairs {
		pairs[i].since = now
	}
	return pairs
}

// ask notes a request, and returns whether an old one was given up for it.
func (at *pair) ask(nonce uint64, now time.Time) (lost bool) {
	if lost = len(at.open) == maxOpen; lost {
		at.open = slices.Delete(at.open, 0, 1)
	}
	at.open = append(at.open, sent{nonce, now})
	return lost
}

// find returns the request with a nonce, -1 when none is under way.
func (at *pair) find(nonce uint64) int {
	return slices.IndexFunc(at.open, func(s sent) bool { return s.nonce == nonce })
}

// answered takes the answer to a request, and returns whether more than the RTT changed, and how many requests before
// that one have no answer.
func (at *pair) answered(i int, state State, now time.Time) (changed bool, lost int) {
	changed = !at.reachable || at.state != state || at.misled != ""
	at.state, at.misled = state, ""
	at.rtt.add(now.Sub(at.open[i].at), now)
	at.open = slices.Delete(at.open, 0, i+1)
	if !at.reachable {
		at.reachable, at.since = true, now
	}
	return changed, i
}

// silent tells whether the last three requests were lost: the third had half an interval more than the RTT.
// It is judged when it is time for the next request, so that a process that was stopped itself finds nobody silent.
func (at *pair) silent(interval time.Duration, now time.Time) bool {
	if !at.reachable || len(at.open) < lostInARow {
		return false
	}
	third := at.open[lostInARow-1]
	return now.Sub(third.at) >= at.rtt.least()+interval/2
}

// lose makes the pair unreachable.
func (at *pair) lose(now time.Time, why string) {
	at.reachable, at.since, at.lost = false, now, why
	at.rtt = rtt{}
}

// why tells people why the pair is not reachable, or no target; "": it may be one. Trouble is why nobody is asked at all.
func (at *pair) why(tunnel bool, trouble string) string {
	switch {
	case !tunnel:
		return "there is no tunnel to it: the bridge is off, or does not know it"
	case at.reachable && !at.state.Serving:
		return "does not serve it"
	case at.reachable && at.state.Bridging:
		return "bridges it to others itself"
	case at.reachable:
		return ""
	case trouble != "":
		return trouble
	case at.sending != "":
		return "cannot be asked: " + at.sending
	case at.misled != "":
		return fmt.Sprintf("%s answers in its place: the sid or source of the two are mixed up", at.misled)
	case at.lost != "":
		return at.lost
	default:
		return "has not answered yet"
	}
}

// candidate tells whether the pair may be a target.
func (at *pair) candidate() bool { return at.reachable && at.state.Serving && !at.state.Bridging }

// rttWindow is how long the least RTT is remembered at least; twice as long at most.
const rttWindow = 10 * time.Second

// An rtt is the least RTT of the last one to two windows. The least, since queues and schedulers only ever add: it is the
// length of the way, which is what makes a site the nearest, and a burst of load does not move it as it moves an average.
// A shorter way shows at once, a longer one after a window or two.
type rtt struct {
	begin           time.Time // of the current window
	before, current time.Duration
}

func (r *rtt) add(d time.Duration, now time.Time) {
	d = max(d, 1) // zero says unknown
	if now.Sub(r.begin) >= rttWindow {
		r.begin, r.before, r.current = now, r.current, d
		return
	}
	r.current = min(r.current, d)
}

// least returns 0 when nothing was measured.
func (r *rtt) least() time.Duration {
	if r.before == 0 {
		return r.current
	}
	return min(r.before, r.current)
}

// silence is how long a peer as a whole has not answered: with many VIPs a dead host is noticed by any three of them, not
// by three requests for each.
type silence struct {
	first time.Time // request without an answer since
	asked int       // requests since then
}

func (s *silence) ask(now time.Time) {
	if s.asked == 0 {
		s.first = now
	}
	s.asked++
}

// over tells whether the peer has been silent for as long as three requests at the interval take.
func (s silence) over(interval, rtt time.Duration, now time.Time) bool {
	return s.asked >= lostInARow && now.Sub(s.first) >= lostInARow*interval+rtt
}
