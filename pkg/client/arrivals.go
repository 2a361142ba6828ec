package client

import (
	"math"
	"math/rand/v2"
	"time"
)

// arrivals says when requests are due, as times from the start, and which client makes each. It knows no clock.
type arrivals struct {
	rate    float64 // per second, of all clients together
	poisson bool
	clients int
	random  *rand.Rand

	n    uint64  // requests so far
	last float64 // seconds: when the last one of a Poisson process was due
}

func newArrivals(l Load) *arrivals {
	return &arrivals{
		rate: l.Rate, poisson: !l.Fixed, clients: l.Clients,
		random: rand.New(rand.NewPCG(l.Seed, 0)),
	}
}

// next returns when the next request is due and by whom. With a fixed rate all intervals are alike and the clients take
// turns; else both are random and independent: a Poisson process, as of many clients that do not know each other.
func (a *arrivals) next() (due time.Duration, client int) {
	n := a.n
	a.n++
	if !a.poisson {
		return seconds(float64(n) / a.rate), int(n % uint64(a.clients))
	}
	a.last += a.random.ExpFloat64() / a.rate
	return seconds(a.last), a.random.IntN(a.clients)
}

// seconds turns a number of them into a duration, the longest one where it is too large.
func seconds(s float64) time.Duration {
	ns := s * float64(time.Second)
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(ns)
}
