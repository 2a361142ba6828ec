package client

import "time"

// A gap is the longest time that one client went without what it asked for: from the moment when the first request that
// failed was due until a request that was due later succeeded. It knows no clock.
type gap struct {
	successes int
	failures  int
	newest    time.Time // when the newest request that succeeded was due
	since     time.Time // when the first of those that failed since was due; zero: none has
	longest   time.Duration
	start     time.Time // of the longest
}

// success counts a request that succeeded at the time now.
func (g *gap) success(due, now time.Time) {
	g.successes++
	if due.After(g.newest) {
		g.newest = due
	}
	if !g.since.IsZero() && due.After(g.since) {
		g.close(now)
	}
}

// failed counts a request that failed. Requests may end in another order than they came: one that is older than the
// newest success opens no gap.
func (g *gap) failed(due time.Time) {
	g.failures++
	if due.Before(g.newest) {
		return
	}
	if g.since.IsZero() || due.Before(g.since) {
		g.since = due
	}
}

// close ends the gap that is open, if any, at the time now.
func (g *gap) close(now time.Time) {
	if g.since.IsZero() {
		return
	}
	if d := now.Sub(g.since); d > g.longest {
		g.longest, g.start = d, g.since
	}
	g.since = time.Time{}
}
