package app

import "time"

// windowSeconds is over how many whole seconds rates are taken.
const windowSeconds = 10

// served is one request for the window.
type served struct {
	latency, cpu time.Duration
	failed       bool
}

// A second sums what ended in it.
type second struct {
	n, failed             int
	latency, slowest, cpu time.Duration // of those that did not fail
}

// A window sums requests by second for the last windowSeconds, the current one included. It knows no clock: now never
// goes back by more than its length.
type window struct {
	seconds [windowSeconds]second
	first   int64 // the second that the window has seen first
	newest  int64 // seconds of Unix time; 0: none yet
}

func (w *window) add(now time.Time, s served) {
	at := w.advance(now)
	if at <= w.newest-windowSeconds {
		return
	}
	into := &w.seconds[at%windowSeconds]
	into.n++
	if s.failed {
		into.failed++
		return
	}
	into.latency += s.latency
	into.cpu += s.cpu
	into.slowest = max(into.slowest, s.latency)
}

// advance forgets what has become too old.
func (w *window) advance(now time.Time) int64 {
	at := now.Unix()
	if w.newest == 0 {
		w.first, w.newest = at, at
	}
	for gone := 0; w.newest < at && gone < windowSeconds; gone++ {
		w.newest++
		w.seconds[w.newest%windowSeconds] = second{}
	}
	w.newest = max(w.newest, at)
	if at-w.first >= windowSeconds {
		w.first = at - windowSeconds + 1
	}
	return at
}

// sum returns what ended in the window and how long that is: from the start of its oldest second until now, and not less
// than a second, which would make a rate of nothing.
func (w *window) sum(now time.Time) (total second, span time.Duration) {
	w.advance(now)
	for _, s := range w.seconds {
		total.n += s.n
		total.failed += s.failed
		total.latency += s.latency
		total.cpu += s.cpu
		total.slowest = max(total.slowest, s.slowest)
	}
	return total, max(now.Sub(time.Unix(w.first, 0)), time.Second)
}
