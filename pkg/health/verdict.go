package health

import "fmt"

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

// verdict is the state of a service and why: the pure part of a service.
type verdict struct {
	state  State
	reason string
	cause  string // the check that made it Down
}

// combine returns the verdict that follows was. Checks come in the order of the configuration; the first that explains
// the state is named. The reason stays as it was given when the state was entered, as long as its cause lasts: what
// follows from a failure must not hide it.
func (was verdict) combine(checks []CheckStatus) verdict {
	down, unknown, up := -1, -1, 0
	for i, c := range checks {
		switch {
		case c.State == Up:
			up++
		case c.State == Down && c.Name == was.cause:
			return was
		case c.State == Down && down < 0:
			down = i
		case c.State == Unknown && unknown < 0:
			unknown = i
		}
	}
	switch {
	case len(checks) == 0:
		return verdict{reason: "no checks"}
	case down >= 0:
		return verdict{Down, checks[down].Name + ": " + checks[down].Reason, checks[down].Name}
	case up == len(checks):
		return verdict{state: Up, reason: fmt.Sprintf("%d of %d checks up", up, len(checks))}
	case was.state == Unknown:
		return verdict{reason: checks[unknown].Name + ": " + checks[unknown].Reason}
	default:
		// A check that starts anew tells nothing yet: what was known holds.
		return was
	}
}
