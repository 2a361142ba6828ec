package steering

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// bucket is how much of a measured round trip makes no difference: less is noise, and would send everybody to one endpoint.
const bucket = 2 * time.Millisecond

// class is how far an endpoint is, 0 the nearest: on the node of the server, in its site, or elsewhere by the round trip.
func (e Endpoint) class() int64 {
	switch {
	case e.Near:
		return 0
	case e.Distance <= 0:
		return 1
	default:
		return 2 + int64(e.Distance/bucket)
	}
}

// nearest returns the endpoints of the nearest class, those of the next one where answers spill over, and how often each is
// picked.
func (s Service) nearest(eligible []*Endpoint) ([]*Endpoint, []float64) {
	sorted := placesUp(eligible)
	slices.SortStableFunc(sorted, func(a, b *Endpoint) int { return cmp.Compare(a.class(), b.class()) })
	near := sameClass(sorted)
	next := sameClass(sorted[len(near):])
	spill := min(max(s.Spill, 0), mostSpill)
	if len(next) == 0 || !(spill > 0) {
		return near, s.shares(nil, near, 1)
	}
	return sorted[:len(near)+len(next)], s.shares(s.shares(nil, near, 1-spill), next, spill)
}

// placesUp returns the endpoints of classes that have one that is up; all, where none is. Panic does not believe that most of a service are
// down; but where all are that are equally near, and none of those farther off, it is the place that has failed.
func placesUp(eligible []*Endpoint) []*Endpoint {
	up := make(map[int64]bool)
	for _, e := range eligible {
		if e.State == Up {
			up[e.class()] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(eligible), func(e *Endpoint) bool { return len(up) > 0 && !up[e.class()] })
}

// sameClass returns those at the front that are as near as the first.
func sameClass(sorted []*Endpoint) []*Endpoint {
	n := 0
	for n < len(sorted) && sorted[n].class() == sorted[0].class() {
		n++
	}
	return sorted[:n]
}

// shares appends weights that add up to total.
func (s Service) shares(dst []float64, endpoints []*Endpoint, total float64) []float64 {
	begin, largest, sum := len(dst), 0.0, 0.0
	for _, e := range endpoints {
		w := 1.0
		if s.Policy == ClosestCapacity {
			w = e.Weight()
		}
		dst, largest = append(dst, w), max(largest, w)
	}
	for i := begin; i < len(dst); i++ {
		dst[i] /= largest // a sum of large ones may be none
		sum += dst[i]
	}
	for i := begin; i < len(dst); i++ {
		dst[i] *= total / sum
	}
	return dst
}

// The constants of spilling over.
const (
	spillAbove = 1.2 // times what the next class has: the nearest one has too much
	spillStep  = 0.1 // with each sample
	mostSpill  = 0.9
	// However little the next class has, nothing waits for long at who has no more than half of a CPU to do, or so many requests in
	// flight: how many one works on at a time nobody tells.
	idleCPU      = 0.5
	idleInFlight = 5
	calm         = 0.3 // of that: what spilled comes back
)

// Spill is the value for Service.Spill after the last Step.
func (b *Balancer) Spill() float64 { return b.spill.told }

// A spill is what goes past the nearest class, and of when that is.
type spill struct {
	part   float64 // by steps, before ageing
	told   float64
	at     time.Time     // when the nearest class told last
	period time.Duration // between its samples
}

// stepSpill lets more answers go past the nearest class to the next one while it has too much, and fewer once it has no more than that.
// fresh are the endpoints with a new sample: a class of which most are silent is left where it is.
func (b *Balancer) stepSpill(now time.Time, endpoints []Endpoint, fresh []int) {
	near, next := nearestClasses(endpoints)
	told, period := 0, time.Duration(0)
	for _, i := range fresh {
		if endpoints[i].class() == near {
			told, period = told+1, max(period, b.accounts[i].every())
		}
	}
	load, n := b.mean(now, endpoints, func(e Endpoint) bool { return e.class() == near })
	if told == 0 || 2*told < n {
		return
	}
	s := &b.spill
	s.part, s.at, s.period = s.aged(now), now, period
	nextLoad, nextTold := b.mean(now, endpoints, func(e Endpoint) bool { return e.class() == next })
	switch waits := b.waits(now, endpoints, near, load, load-nextLoad); {
	case nextTold == 0 || load <= nextLoad || waits < calm:
		s.part = max(s.part-spillStep, 0)
	case load > spillAbove*nextLoad && waits > 1:
		s.part = min(s.part+spillStep, mostSpill)
	}
}

// aged is the part that is left of what was told last: like a weight's, it halves with each period that the nearest class is silent.
func (s *spill) aged(now time.Time) float64 {
	if s.part == 0 {
		return 0
	}
	return aged(s.part, 0, float64(now.Sub(s.at))/float64(max(s.period, time.Millisecond))-freshPeriods)
}

// tell sets what is told: in whole steps, since each change makes pickers.
func (s *spill) tell(now time.Time) { s.told = math.Round(s.aged(now)/spillStep) * spillStep }

// again is when it is less by time alone; zero: never.
func (s *spill) again(now time.Time) time.Time {
	if s.told == 0 {
		return time.Time{}
	}
	if fresh := s.at.Add(freshPeriods * s.period); fresh.After(now) {
		return fresh
	}
	return now.Add(s.period)
}

// nearestClasses are the first two of the endpoints that may be picked.
func nearestClasses(endpoints []Endpoint) (near, next int64) {
	near, next = math.MaxInt64, math.MaxInt64
	for _, e := range endpoints {
		switch c := e.class(); {
		case e.State != Up || e.Draining || c == near:
		case c < near:
			near, next = c, near
		default:
			next = min(next, c)
		}
	}
	return near, next
}

// waits is how much the endpoints of the nearest class have, as far as they tell, of what makes requests wait so long that clients notice it as
// they would notice the way to the next class. load is their mean, and more what it is above that of the next class.
func (b *Balancer) waits(now time.Time, endpoints []Endpoint, near int64, load, more float64) float64 {
	switch b.signal {
	case CPU:
		return load / idleCPU
	case Latency:
		return more / bucket.Seconds()
	}
	all, n := 0.0, 0.0
	for i, e := range endpoints {
		if a := &b.accounts[i]; e.class() == near && e.State == Up && !e.Draining && a.age(now) <= freshPeriods {
			all, n = all+a.average*positive(e.Capacity), n+1
		}
	}
	return all / max(n, 1) / idleInFlight
}
