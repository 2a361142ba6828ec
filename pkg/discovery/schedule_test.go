package discovery

import (
	"testing"
	"time"
)

// A thousand targets with intervals of their own, set one after the other: no moment has more than some of the requests.
func TestScheduleSpreads(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	for name, interval := range map[string]func(i uint64) time.Duration{
		"equal": func(uint64) time.Duration { return time.Second },
		"mixed": func(i uint64) time.Duration { return time.Duration(1+i%2) * time.Second },
	} {
		beats := make(map[time.Duration]int)
		for i := range uint64(1000) {
			s := newSchedule(interval(i), i, 0.3, start)
			n := 0
			for at := s.next(start); at.Sub(start) < 10*time.Second; at = s.next(at.Add(time.Millisecond)) {
				beats[at.Sub(start)/(10*time.Millisecond)]++
				n++
			}
			if want := int(10 * time.Second / interval(i)); n < want-1 || n > want+1 {
				t.Fatalf("%s: target %d was asked %d times in 10 s; want %d", name, i, n, want)
			}
		}
		for beat, n := range beats {
			if n > 40 { // of 10 in the mean; by chance once in 10^12
				t.Errorf("%s: %d requests at %s", name, n, beat*10*time.Millisecond)
			}
		}
	}
}

// Slots come at their intervals, each once, whenever one looks.
func TestScheduleKeepsSlots(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	for _, interval := range []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, time.Minute} {
		s := newSchedule(interval, 7, 0.9, start)
		last := start.Add(-interval)
		for now := start; now.Sub(start) < 100*interval; {
			next := s.next(now)
			if !next.After(now) && now != start || next.Sub(now) > interval+interval/16+s.beat {
				t.Fatalf("%s: after %s comes %s", interval, now.Sub(start), next.Sub(start))
			}
			if gap := next.Sub(last); gap < interval-interval/16-s.beat {
				t.Fatalf("%s: %s after the one before", interval, gap)
			}
			last, now = next, next.Add(interval/100)
		}
	}
}
