package session

import (
	"cmp"
	"time"

	"github.com/anyedge/anyedge/pkg/bfd"
)

// How a gate treats neighbors that flap, and those that have stopped to speak BFD.
const (
	calm     = time.Minute      // up so long, and earlier failures are forgotten
	free     = 2                // so many failures without calm between cost nothing: FRR needs one when it starts
	holdDown = 1 * time.Second  // for the next one; doubles with each more
	maxHold  = time.Minute      // it doubles no further
	patience = 30 * time.Second // of a failure, after which BGP may try without BFD
)

// A gate decides whether a BGP session may be open, from what BFD says. It knows no clock and does nothing.
type gate struct {
	strict, undamped bool

	held     string    // why BGP is to be kept closed; empty: it may be open
	until    time.Time // kept closed at least so long though BFD is up; zero: no
	flaps    int       // failures without calm between
	admitted bool      // BFD was up, or was switched off by an operator, so that strict need not wait any more
	up       bool
	upSince  time.Time
	failed   bool
	since    time.Time // of the failure
}

// step takes the state of BFD at a time, and returns when to call it again if that does not change; zero: no need.
func (g *gate) step(now time.Time, st bfd.Status) (again time.Time) {
	switch {
	case st.State == bfd.Up:
		again = g.stepUp(now)
	case st.Failed:
		again = g.stepFailed(now, st)
	default:
		g.stepIdle(st)
	}
	g.up, g.failed = st.State == bfd.Up, st.Failed && st.State != bfd.Up
	return again
}

func (g *gate) stepUp(now time.Time) (again time.Time) {
	if !g.up {
		g.upSince = now
		if delay := g.delay(); delay > 0 && g.held != "" {
			g.until = now.Add(delay)
		}
	}
	g.admitted = true
	if now.Before(g.until) {
		g.held = "BFD is up again, but flapped"
		return g.until
	}
	g.held, g.until = "", time.Time{}
	return time.Time{}
}

// delay grows with every failure.
func (g *gate) delay() time.Duration {
	if g.undamped || g.flaps <= free {
		return 0
	}
	d := holdDown
	for range g.flaps - free - 1 {
		d = min(2*d, maxHold)
	}
	return d
}

func (g *gate) stepFailed(now time.Time, st bfd.Status) (again time.Time) {
	if !g.failed {
		if g.up && now.Sub(g.upSince) >= calm {
			g.flaps = 0
		}
		g.flaps++
		g.since, g.until = now, time.Time{}
		g.held = "BFD down: " + cmp.Or(st.Reason, st.Diag.String())
	}
	if g.strict {
		return time.Time{}
	}
	// A neighbor whose BFD alone is gone is better served without.
	if end := g.since.Add(patience); now.Before(end) {
		return end
	}
	g.held = ""
	return time.Time{}
}

// stepIdle is for a session that has not come up, or that an operator has switched off at either end, which is no failure
// (RFC 5882 section 3.2).
func (g *gate) stepIdle(st bfd.Status) {
	g.until = time.Time{}
	if st.State == bfd.AdminDown || st.RemoteState == bfd.AdminDown {
		g.admitted = true
	}
	g.held = ""
	if g.strict && !g.admitted {
		g.held = "BFD is not up yet"
	}
}
