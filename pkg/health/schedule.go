package health

import (
	"math"
	"math/rand/v2"
	"time"
)

// schedule spaces the attempts of one check. Settled checks keep to slots of their own, one per interval, so that any
// number of checks with any intervals never bunch, also not when something made them all run at once.
type schedule struct {
	interval, fast time.Duration
	base           time.Time // start of slot zero
	start          time.Time // of all checks: where their beats are counted from
	beat           time.Duration
}

// maxBeat is how long a settled attempt may wait for others: to wake up and start from cold caches costs a thousand checks
// a second more than all that they do, and a few of them together do it once.
const maxBeat = 10 * time.Millisecond

// golden spreads any number of phases evenly: the fractional parts of its multiples have no two near each other.
const golden = 0.6180339887498949

// newSchedule gives the i-th check its phase; shift, in [0, 1), differs between agents, so that those which start
// together do not ask a shared target together.
func newSchedule(c Check, i int, shift float64, start time.Time) schedule {
	_, phase := math.Modf(shift + float64(i)*golden)
	return schedule{
		interval: c.Interval,
		fast:     c.FastInterval,
		base:     start.Add(time.Duration(phase * float64(c.Interval))),
		start:    start,
		beat:     max(min(c.Interval/100, maxBeat), 1),
	}
}

// settled returns the time of the next attempt: on a beat in the first slot that begins after now, late in it by chance by
// up to a sixteenth of the interval. It is never early, so no slot is used twice.
func (s schedule) settled(now time.Time) time.Time {
	slot := now.Sub(s.base)/s.interval + 1
	if now.Before(s.base) {
		slot = 0
	}
	return s.onBeat(s.base.Add(slot*s.interval + jitter(s.interval/16-s.beat)))
}

// onBeat returns the first beat that is not before t.
func (s schedule) onBeat(t time.Time) time.Time {
	return t.Add((s.beat - t.Sub(s.start)%s.beat) % s.beat)
}

// soon returns the time of the next attempt while the state is changing, counted from the start of the last one: an
// attempt that used up its timeout is followed at once.
func (s schedule) soon(last time.Time) time.Time {
	return last.Add(s.fast - s.fast/32 + jitter(s.fast/16))
}

// Holds is how long the state of c holds at least from any moment at which no attempt speaks against it: the next one may be due
// at once, and the others that it takes follow soon. A kernel event, which has the checks of its service run at once, may be faster.
func (c Check) Holds() time.Duration {
	return time.Duration(min(c.Rise, c.Fall)-1) * (c.FastInterval - c.FastInterval/32)
}

func jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return rand.N(most)
}

// firstDelay spreads the first attempts over a few milliseconds: soon enough to tell at once how things are, apart
// enough that a thousand sockets are not opened in one instant.
func firstDelay(i int) time.Duration { return time.Duration(i) * 50 * time.Microsecond }
