package steering

import "time"

// A Reading is a number that may not be known. The zero value is not.
type Reading struct {
	Value float64
	Known bool
}

// Read returns a reading that is known.
func Read(v float64) Reading { return Reading{v, true} }

// A Load is what an endpoint last told of itself, or was measured of it. The zero value tells nothing.
type Load struct {
	At       time.Time     // when it was measured; zero: never. A later one is a new sample
	Every    time.Duration // how often it is to be; zero: not known, as often as it was
	InFlight Reading       // requests that it works on or that wait in it
	Latency  Reading       // seconds, from request to answer, of those served lately; a check's own will do
	CPU      Reading       // of what it may use: 1 is all of its limit
}

// A Signal is what of a load endpoints are compared by: the first that all of a service that tell anything tell.
type Signal int

// The signals, the best one first: what waits is the load itself, latency follows it, and CPU may be somebody else's.
const (
	NoSignal Signal = iota
	InFlight
	Latency
	CPU
)

// String returns "none", "in flight", "latency" or "CPU".
func (s Signal) String() string {
	switch s {
	case NoSignal:
		return "none"
	case InFlight:
		return "in flight"
	case Latency:
		return "latency"
	case CPU:
		return "CPU"
	default:
		return "invalid"
	}
}

// of returns the endpoint's reading of the signal: what is in flight by capacity, since a larger one may have more.
func (s Signal) of(e Endpoint, l Load) Reading {
	var r Reading
	switch s {
	case InFlight:
		r = Reading{l.InFlight.Value / positive(e.Capacity), l.InFlight.Known}
	case Latency:
		r = l.Latency
	case CPU:
		r = l.CPU
	}
	// What is no number, or none that a load can be, tells nothing.
	r.Known = r.Known && r.Value >= 0 && r.Value < maxReading
	return r
}

// bound is how much more than the mean of all is not too much for one yet: by a part, and by what the averages of endpoints differ that are equally
// loaded. Latency differs by what of a way makes no difference, too; a CPU that is busy all the time has too much wherever others have less.
func (s Signal) bound(e Endpoint, mean float64) float64 {
	switch s {
	case InFlight:
		return hashBound*mean + boundNoise/positive(e.Capacity)
	case Latency:
		return hashBound*mean + bucket.Seconds()
	default:
		return max(mean, min(hashBound*mean+boundCPU, brakeCPU))
	}
}

// maxReading leaves room for sums.
const maxReading = 1e100
