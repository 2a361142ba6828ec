package health

import (
	"fmt"
	"strings"
)

// counter turns a row of attempts into a state: the pure part of one check. Its zero value needs rise and fall set.
type counter struct {
	rise, fall int
	state      State
	streak     int // consecutive attempts that speak against state
}

// observe takes the result of one attempt.
func (c *counter) observe(ok bool) {
	if ok == (c.state == Up) && c.state != Unknown {
		c.streak = 0
		return
	}
	c.streak++
	switch {
	case ok && c.streak >= c.rise:
		*c = counter{rise: c.rise, fall: c.fall, state: Up}
	case !ok && (c.state == Unknown || c.streak >= c.fall):
		*c = counter{rise: c.rise, fall: c.fall, state: Down}
	}
}

// reset forgets what was seen.
func (c *counter) reset() { *c = counter{rise: c.rise, fall: c.fall} }

// changing tells whether the next attempt should come soon: the state is not told yet, or an attempt spoke against it.
func (c *counter) changing() bool { return c.state == Unknown || c.streak > 0 }

// rising tells whether the last attempt passed though the state is not up.
func (c *counter) rising() bool { return c.state != Up && c.streak > 0 }

// verdict is the state of a service and why: the pure part of a service.
type verdict struct {
	state  State
	reason string
	cause  string // the check that made it Down
}

// combine returns the verdict that follows was when need of the checks must be up. Checks come in the order of the
// configuration; the first that explains the state is named. The reason stays as it was given when the state was entered,
// as long as its cause lasts: what follows from a failure must not hide it.
func (was verdict) combine(checks []CheckStatus, need int) verdict {
	t := tallyOf(checks)
	switch {
	case len(checks) == 0:
		return verdict{reason: "no checks"}
	case t.up >= need:
		return verdict{state: Up, reason: t.summary(checks, len(checks))}
	case t.down > 0 && len(checks)-t.down < need:
		if was.lasts(checks) {
			return was
		}
		return t.fallen(checks, need)
	case was.state == Unknown:
		return verdict{reason: checks[t.firstUnknown].Name + ": " + checks[t.firstUnknown].Reason}
	default:
		// A check that starts anew tells nothing yet: what was known holds.
		return was
	}
}

// lasts tells whether what made the verdict Down is still there.
func (was verdict) lasts(checks []CheckStatus) bool {
	for _, c := range checks {
		if was.state == Down && c.State == Down && c.Name == was.cause {
			return true
		}
	}
	return false
}

// tally counts checks by state; the indexes are -1 when there is none.
type tally struct{ up, down, firstDown, firstUnknown int }

func tallyOf(checks []CheckStatus) tally {
	t := tally{firstDown: -1, firstUnknown: -1}
	for i, c := range checks {
		switch {
		case c.State == Up:
			t.up++
		case c.State == Down:
			t.down++
			if t.firstDown < 0 {
				t.firstDown = i
			}
		case t.firstUnknown < 0:
			t.firstUnknown = i
		}
	}
	return t
}

// fallen is the verdict when need checks cannot be up any more.
func (t tally) fallen(checks []CheckStatus, need int) verdict {
	first := checks[t.firstDown]
	if need == len(checks) {
		return verdict{Down, first.Name + ": " + first.Reason, first.Name}
	}
	return verdict{Down, t.summary(checks, need), first.Name}
}

// summary tells how many checks are up, and of what is missing why; how many are needed, unless that is all of them.
func (t tally) summary(checks []CheckStatus, need int) string {
	var missing []string
	for _, c := range checks {
		if c.State != Up {
			missing = append(missing, c.Name+": "+c.Reason)
		}
	}
	s := fmt.Sprintf("%d of %d checks up", t.up, len(checks))
	if need < len(checks) {
		s += fmt.Sprintf(", %d needed", need)
	}
	if len(missing) > 0 {
		s += "; missing " + strings.Join(missing, "; ")
	}
	return s
}

// degraded tells whether a remote check is down, and which: the first is named.
func degraded(remote []CheckStatus) (bool, string) {
	if i := tallyOf(remote).firstDown; i >= 0 {
		return true, remote[i].Name + ": " + remote[i].Reason
	}
	return false, ""
}
