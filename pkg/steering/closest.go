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
	sorted := slices.Clone(eligible)
	slices.SortStableFunc(sorted, func(a, b *Endpoint) int { return cmp.Compare(a.class(), b.class()) })
	near := sameClass(sorted)
	next := sameClass(sorted[len(near):])
	spill := min(max(s.Spill, 0), mostSpill)
	if len(next) == 0 || !(spill > 0) {
		return near, s.shares(nil, near, 1)
	}
	return sorted[:len(near)+len(next)], s.shares(s.shares(nil, near, 1-spill), next, spill)
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
	spillAbove = 1.2 // times the mean: the nearest class has too much
	spillStep  = 0.1 // with each sample
	mostSpill  = 0.9
	// Below this nothing waits, however little the others have: half of a CPU.
	idleCPU = 0.5
)

// Spill is the value for Service.Spill after the last Step.
func (b *Balancer) Spill() float64 { return b.spill }

// stepSpill lets more answers go past the nearest class while it has too much, and fewer once it has no more than the mean.
// fresh are the endpoints with a new sample: a class of which most are silent is left where it is.
func (b *Balancer) stepSpill(now time.Time, endpoints []Endpoint, fresh []int, mean float64) {
	near := nearestClass(endpoints)
	told := 0
	for _, i := range fresh {
		if endpoints[i].class() == near {
			told++
		}
	}
	load, n := b.mean(now, endpoints, func(e Endpoint) bool { return e.class() == near })
	switch {
	case told == 0 || 2*told < n:
	case load > spillAbove*mean && b.busy(endpoints, near, load):
		b.spill = min(b.spill+spillStep, mostSpill)
	case load <= mean || !b.busy(endpoints, near, load):
		b.spill = max(b.spill-spillStep, 0)
	}
	if b.spill < spillStep/2 { // tenths do not add up to nothing
		b.spill = 0
	}
}

// nearestClass is that of the endpoints that may be picked.
func nearestClass(endpoints []Endpoint) int64 {
	near := int64(math.MaxInt64)
	for _, e := range endpoints {
		if e.State == Up && !e.Draining {
			near = min(near, e.class())
		}
	}
	return near
}

// busy tells that requests may have to wait in a class, however little the others have.
func (b *Balancer) busy(endpoints []Endpoint, class int64, load float64) bool {
	switch b.signal {
	case CPU:
		return load > idleCPU
	case InFlight:
		waiting, n := 0.0, 0.0
		for i, e := range endpoints {
			if e.class() == class && e.State == Up && !e.Draining {
				waiting, n = waiting+b.accounts[i].average*positive(e.Capacity), n+1
			}
		}
		return waiting > n
	default:
		return true
	}
}
