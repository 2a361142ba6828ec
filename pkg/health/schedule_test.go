package health

import (
	"context"
	"errors"
	"math/rand/v2"
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

// TestHolds has checks fail and pass by chance: no state changes sooner than Holds promised at any time before, unless a check
// was changing then, which promises nothing.
func TestHolds(t *testing.T) {
	type promise struct{ at, until time.Time }
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	for _, c := range []Check{
		{Interval: 4 * time.Second, FastInterval: 2 * time.Second, Rise: 3, Fall: 3},
		{Interval: time.Second, FastInterval: 200 * time.Millisecond, Rise: 2, Fall: 5},
		{Interval: time.Second, FastInterval: time.Second, Rise: 4, Fall: 1},
	} {
		s := &script{answer: func(context.Context) error {
			if chance.IntN(3) == 0 {
				return errors.New("refused")
			}
			return nil
		}}
		c.Name, c.Checker, c.Timeout = "answers", s, 100*time.Millisecond
		bubble(t, func(t *testing.T, m *Monitor) {
			var promises []promise
			changes, state := 0, Unknown
			for changes < 20 {
				sleep(50 * time.Millisecond)
				now, got := time.Now(), m.Status()[0].Checks[0]
				if got.State != state {
					changes, state = changes+1, got.State
					for _, p := range promises {
						if got.Since.Before(p.until) {
							t.Errorf("%v: promised at %s to hold for %s, changed after %s", c, p.at, p.until.Sub(p.at), got.Since.Sub(p.at))
							return
						}
					}
					promises = nil
				}
				if !got.Changing {
					promises = append(promises, promise{now, now.Add(c.Holds())})
				}
			}
		}, Service{Name: "dns", Checks: []Check{c}})
	}
}

// Whoever looks when Changed tells sees the beginning of a change and its end.
func TestChangingIsNews(t *testing.T) {
	s := new(script)
	bubble(t, func(t *testing.T, m *Monitor) {
		sleep(time.Second)
		<-m.Changed() // it is up
		for _, answer := range []func(context.Context) error{refused, nil} {
			s.set(answer)
			<-m.Changed()
			if got, want := m.Status()[0].Checks[0], answer != nil; got.State != Up || got.Changing != want {
				t.Errorf("%v, changing %v, want %v", got.State, got.Changing, want)
			}
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", s)}})
}
