package discovery

import (
	"math"
	"math/rand/v2"
	"time"
)

// maxBeat is how long a request may wait for others: to wake up from cold caches for each of a thousand costs more than all
// that they do.
const maxBeat = 10 * time.Millisecond

// golden spreads any number of phases evenly: the fractional parts of its multiples have no two near each other.
const golden = 0.6180339887498949

// A schedule gives the requests to one target slots of their own, one per interval, so that any number of targets with any
// intervals never bunch.
type schedule struct {
	start                time.Time // of all targets: where their beats are counted from
	interval, beat, late time.Duration
	phase                time.Duration // of the first slot after start
}

// newSchedule gives the i-th target its phase; shift, in [0, 1), differs between processes, so that sites which start
// together do not ask together.
func newSchedule(interval time.Duration, i uint64, shift float64, start time.Time) schedule {
	_, phase := math.Modf(shift + float64(i)*golden)
	beat := max(min(interval/100, maxBeat), 1)
	return schedule{
		start: start, interval: interval, beat: beat, late: interval/16 - beat,
		phase: time.Duration(phase * float64(interval)),
	}
}

// next returns the time of the next request: on a beat in the first slot that begins after now, late in it by chance. It is
// never early, so no slot is used twice.
func (s schedule) next(now time.Time) time.Time {
	since := now.Sub(s.start) - s.phase
	slot := since / s.interval
	if since >= 0 {
		slot++
	}
	at := s.phase + slot*s.interval
	if s.late > 0 {
		at += rand.N(s.late)
	}
	return s.start.Add((at + s.beat - 1) / s.beat * s.beat)
}
