package steering

import (
	"testing"
	"time"
)

// Who tells how often it is measured is old by that, whatever gap was before the last sample.
func TestLoadEvery(t *testing.T) {
	t.Parallel()
	s := weighted(Capacity, 1, 1, 1)
	for i := range s.Endpoints {
		s.Endpoints[i].State = Up
	}
	start := time.Unix(1000, 0)
	for every, want := range map[time.Duration]bool{0: false, time.Second: true} {
		var b Balancer
		load := func(at time.Time, cpu float64) Load { return Load{At: at, Every: every, CPU: Read(cpu)} }
		now := start
		for _, gap := range []time.Duration{time.Second, time.Second, time.Minute} {
			now = now.Add(gap)
			b.Step(nil, now, s, []Load{load(now, 0.9), load(now, 0.1)})
		}
		weights, _ := b.Step(nil, now.Add(20*time.Second), s, nil)
		if back := weights[0].Factor == 1 && weights[1].Factor == 1; back != want {
			t.Errorf("every %s: after 20 s without a sample the weights are %+v", every, weights)
		}
	}
}
