package steering

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What an attempt takes beyond the way makes no distance, and an endpoint moves when its way has become another one.
func TestRoundTrip(t *testing.T) {
	const ms = time.Millisecond
	r, now := new(RoundTrip), epoch
	for _, step := range []struct {
		took, want time.Duration
		times      int
	}{
		{0, Farthest, 0}, {9 * ms, 9 * ms, 1}, {4 * ms, 4 * ms, 1}, {30 * ms, 4 * ms, 5}, {4500 * time.Microsecond, 4 * ms, 20}, {20 * ms, 4 * ms, 7}, {20 * ms, 20 * ms, 1},
		{19500 * time.Microsecond, 20 * ms, 10}, {0, 1, 1},
	} {
		for range step.times {
			now = now.Add(time.Second)
			r.Take(now, step.took)
			r.Take(now, time.Nanosecond) // the same once more
		}
		if diff := cmp.Diff(step.want, r.Distance()); diff != "" {
			t.Errorf("%d times %s (-want +got):\n%s", step.times, step.took, diff)
		}
	}
}

// An endpoint on the edge of two classes does not go to and fro.
func TestRoundTripIsSteady(t *testing.T) {
	random, r, now := rand.New(rand.NewPCG(1, 2)), new(RoundTrip), epoch
	changes, was := 0, int64(0)
	for range 10_000 {
		now = now.Add(time.Second)
		r.Take(now, 3850*time.Microsecond+time.Duration(random.ExpFloat64()*float64(500*time.Microsecond)))
		if is := (Endpoint{Distance: r.Distance()}).Class(); is != was {
			changes, was = changes+1, is
		}
	}
	if changes > 2 {
		t.Errorf("its class changed %d times", changes)
	}
}
