package client

import (
	"fmt"
	"time"
)

const (
	// maxRate and maxClients bound a Load.
	maxRate, maxClients = 1e6, 1_000_000
	// maxTimeout bounds how long a request may take.
	maxTimeout = 5 * time.Minute
)

// A Load is how many clients there are, how often they want something, and for how long.
type Load struct {
	Clients  int           // 1 to 1,000,000
	Rate     float64       // requests per second of all clients together
	Fixed    bool          // evenly spaced, clients taking turns; else a Poisson process, clients drawn at random
	Seed     uint64        // of all that is random
	Duration time.Duration // 0: until the context is done
	Timeout  time.Duration // of a request, from the moment when it is due
	OnStatus func(Status)  // optional; called every 200 ms by one goroutine, must not block
}

// A Status is what has happened so far.
type Status struct {
	Due       int     // requests that came due
	OK        int     // of these, successful
	Failed    int     // of these, failed for good
	InFlight  int     // of these, under way
	LatencyMs float64 // of the newest successful one
}

func (l Load) check() error {
	switch {
	case l.Clients < 1 || l.Clients > maxClients:
		return fmt.Errorf("clients %d: want 1 to %d", l.Clients, maxClients)
	case !(l.Rate >= 1e-3 && l.Rate <= maxRate): // NaN, too
		return fmt.Errorf("rate %g: want 0.001 to %.0f requests per second", l.Rate, maxRate)
	case l.Duration < 0:
		return fmt.Errorf("duration %s: want 0 (until interrupted) or more", l.Duration)
	case l.Timeout <= 0 || l.Timeout > maxTimeout:
		return fmt.Errorf("timeout %s: want more than 0, up to %s", l.Timeout, maxTimeout)
	}
	return nil
}
