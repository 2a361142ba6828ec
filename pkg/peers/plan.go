package peers

import (
	"slices"
	"time"
)

// totalRate is how many requests per second go to all peers together, at most: with the answers to as many, about a
// tenth of a core.
const totalRate = 3000

// rateFor is how many requests per second go to each of so many peers, at most.
func rateFor(peers int) int { return min(MaxRate, max(1, totalRate/max(1, peers))) }

// breath is about how long a ring with many VIPs sleeps between two bursts.
const breath = 10 * time.Millisecond

// A plan tells which VIPs each peer is asked for, how often. It is never changed, only replaced.
type plan struct {
	urgent, normal ring
	base           time.Duration // the interval of the most urgent VIP, if there were only that
}

// A ring is a set of VIPs that are asked for one after the other.
type ring struct {
	vips     []int         // in ascending order
	interval time.Duration // once around
	step     time.Duration // between two bursts
	burst    int           // requests at a time
}

// newPlan lets urgent VIPs take three quarters of the rate; the others always have the rest.
func newPlan(interval time.Duration, rate, vips int, urgent map[int]bool) *plan {
	var fast, slow []int
	for vip := range vips {
		if urgent[vip] {
			fast = append(fast, vip)
		} else {
			slow = append(slow, vip)
		}
	}
	p := &plan{urgent: newRing(fast, UrgentInterval, max(1, rate*3/4)), base: interval}
	if len(fast) > 0 {
		p.base, rate = UrgentInterval, max(1, rate-p.urgent.rate())
	}
	p.normal = newRing(slow, interval, rate)
	return p
}

// newRing asks for every VIP once an interval, or as often as the rate allows.
func newRing(vips []int, interval time.Duration, rate int) ring {
	n := time.Duration(len(vips))
	if n == 0 {
		return ring{}
	}
	interval = max(interval, n*time.Second/time.Duration(rate))
	burst := max(1, n*breath/interval)
	return ring{vips: vips, interval: interval, step: interval * burst / n, burst: int(burst)}
}

// rate is in requests per second, rounded up.
func (r ring) rate() int {
	n := time.Duration(len(r.vips))
	return int((n*time.Second + r.interval - 1) / r.interval)
}

// A turn is where one peer's loop stands in a ring.
type turn struct {
	ring
	next int       // into vips
	due  time.Time // of the next burst; zero: the ring is empty
}

// follow takes up a new ring, where it stood in the old one. The first one begins at a time, one with VIPs that the old
// one lacked does so at the latest.
func (t *turn) follow(r ring, begin time.Time) {
	var at int
	if len(t.vips) > 0 {
		at = t.vips[t.next]
	}
	if len(t.vips) == 0 || len(r.vips) > len(t.vips) && begin.Before(t.due) {
		t.due = begin
	}
	t.ring, t.next = r, 0
	if i, _ := slices.BinarySearch(r.vips, at); i < len(r.vips) {
		t.next = i
	}
}

// take returns the VIPs that are due, none when it is too early, and notes when the next ones are: up to a tenth later
// than a step, by a fraction from 0 to 1 at random, so that hosts do not fall into step. What was missed is not made up.
func (t *turn) take(now time.Time, fraction float64) []int {
	if len(t.vips) == 0 || now.Before(t.due) {
		return nil
	}
	due := make([]int, t.burst)
	for i := range due {
		due[i] = t.vips[t.next]
		t.next = (t.next + 1) % len(t.vips)
	}
	t.due = now.Add(t.step + time.Duration(fraction*float64(t.step)/10))
	return due
}
