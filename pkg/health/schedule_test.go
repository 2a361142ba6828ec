package health

import (
	"slices"
	"testing"
	"time"
)

// However many checks there are, the slots of their settled attempts are spread over the interval.
func TestSchedulesDoNotBunch(t *testing.T) {
	start := time.Now()
	c := Check{Interval: time.Second, FastInterval: 200 * time.Millisecond}
	for _, n := range []int{2, 3, 10, 100, 1000} {
		var phases []time.Duration
		for i := range n {
			s := newSchedule(c, i, 0.9, start)
			phases = append(phases, s.base.Sub(start))
		}
		slices.Sort(phases)
		// The golden ratio promises gaps of at least 1/(phi^2 n) or so of the interval.
		least := c.Interval / time.Duration(3*n)
		for i := range phases[1:] {
			if gap := phases[i+1] - phases[i]; gap < least {
				t.Errorf("%d checks: two are %v apart, want at least %v", n, gap, least)
			}
		}
	}
}

func TestScheduleSettled(t *testing.T) {
	start := time.Now()
	s := newSchedule(Check{Interval: time.Second}, 1, 0.5, start) // phase 0.118 s
	base := s.base
	for _, test := range []struct {
		name string
		now  time.Time
		slot int
	}{
		{"before the first slot", start, 0},
		{"in a slot", base, 1},
		{"late in a slot", base.Add(60 * time.Millisecond), 1},
		{"just before the next", base.Add(999 * time.Millisecond), 1},
		{"after missed slots", base.Add(5500 * time.Millisecond), 6},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := s.settled(test.now).Sub(base.Add(time.Duration(test.slot) * time.Second))
			if got < 0 || got >= time.Second/16 {
				t.Errorf("%v after the start of slot %d, want less than a sixteenth of the interval", got, test.slot)
			}
		})
	}
}

func TestScheduleSoon(t *testing.T) {
	s := newSchedule(Check{Interval: time.Second, FastInterval: 200 * time.Millisecond}, 0, 0, time.Now())
	last := time.Now()
	for range 100 {
		if got := s.soon(last).Sub(last); got < 190*time.Millisecond || got > 210*time.Millisecond {
			t.Fatalf("%v after the last attempt, want 200ms and at most a twentieth off", got)
		}
	}
}
