package steering

import (
	"slices"
	"time"
)

// Farthest is the distance of an endpoint of which nothing was measured yet.
const Farthest = 10 * time.Second

const (
	// remembered is how many attempts a distance is the least of: what one takes beyond the way is waiting and work.
	remembered = 8
	// moved is by how much the least has to change for an endpoint to be somewhere else: one on the edge of two classes stays in its own.
	moved = bucket / 2
)

// A RoundTrip makes an endpoint's Distance of what attempts to reach it take. Its zero value is ready. Not safe for concurrent use.
type RoundTrip struct {
	at       time.Time // of the last attempt
	took     []time.Duration
	distance time.Duration
}

// Take takes in an attempt that passed at a time, whose answer came after took; an attempt that was taken in already is not another one.
func (r *RoundTrip) Take(at time.Time, took time.Duration) {
	if !at.After(r.at) {
		return
	}
	r.at, r.took = at, append(r.took, took)
	r.took = r.took[max(len(r.took)-remembered, 0):]
	least := max(slices.Min(r.took), time.Nanosecond) // none at all would be one in this site
	if r.distance == 0 || (least-r.distance).Abs() > moved {
		r.distance = least
	}
}

// Distance is the value for Endpoint.Distance.
func (r *RoundTrip) Distance() time.Duration {
	if r.distance == 0 {
		return Farthest
	}
	return r.distance
}
