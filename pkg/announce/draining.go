package announce

import (
	"fmt"
	"time"

	"github.com/anyedge/anyedge/pkg/health"
)

// decideDrain leads an announced service over Draining and Withdrawing to Drained. One that dies meanwhile is withdrawn at
// once, one that is not announced has nothing to wait for.
func decideDrain(s Service, m Memory, in Input) (Memory, Decision, time.Time) {
	down := in.Health.State == health.Down
	due := m.Since.Add(s.Drain) // of Draining
	up := m.State == Up || m.State == Degraded
	switch {
	case up && down:
		return enter(m, Withdrawing, in.Now, in.Drain+", and it is down: "+in.Health.Reason, notAfter(in.Health.Noticed, in.Now))
	case up && s.Drain == 0:
		return enter(m, Withdrawing, in.Now, in.Drain, in.Now)
	case up:
		m, d, _ := enter(m, Draining, in.Now, fmt.Sprintf("%s: announced de-preferred for %s", in.Drain, s.Drain), in.Now)
		return m, d, in.Now.Add(s.Drain)
	case m.State == Draining && down:
		return enter(m, Withdrawing, in.Now, "down while it drains: "+in.Health.Reason, notAfter(in.Health.Noticed, in.Now))
	case m.State == Draining && in.Now.Before(due):
		m, d, _ := stay(m)
		return m, d, due
	case m.State == Draining:
		return enter(m, Withdrawing, in.Now, fmt.Sprintf("%s: de-preferred for %s", in.Drain, s.Drain), due)
	case m.State == Withdrawing && in.Written:
		return enter(m, Drained, in.Now, in.Drain+": withdrawn everywhere", in.Now)
	case m.State == Withdrawing || m.State == Drained:
		return stay(m)
	default:
		return enter(m, Drained, in.Now, in.Drain+": it was not announced", in.Now)
	}
}

// decideUndrain takes a drain back. What was not withdrawn yet is announced as before; what was, when it has been up for
// long enough, which a service that was up all the time has.
func decideUndrain(s Service, m Memory, in Input) (Memory, Decision, time.Time) {
	switch {
	case in.Health.State == health.Down:
		return enter(m, Withdrawn, in.Now, "no longer drained, but down: "+in.Health.Reason, in.Now)
	case m.State == Draining && in.Health.Degraded:
		return enter(m, Degraded, in.Now, "no longer drained, "+degraded(in), in.Now)
	case m.State == Draining:
		return enter(m, Up, in.Now, "no longer drained", in.Now)
	case in.Health.State == health.Up:
		return decideUp(s, m, in)
	default:
		return enter(m, Starting, in.Now, "no longer drained, its health is not known yet", in.Now)
	}
}

// decideStop drains what is announced, unless there is no time, and withdraws it for good.
func decideStop(s Service, m Memory, in Input) (Memory, Decision, time.Time) {
	const reason = "the agent stops"
	due := m.Since.Add(s.Drain) // of Draining
	up := m.State == Up || m.State == Degraded
	switch {
	case in.Health.State == health.Down && (up || m.State == Draining):
		return enter(m, Stopping, in.Now, reason+", and it is down: "+in.Health.Reason, notAfter(in.Health.Noticed, in.Now))
	case up && s.Drain > 0 && !in.Hurry:
		m, d, _ := enter(m, Draining, in.Now, fmt.Sprintf("%s: announced de-preferred for %s", reason, s.Drain), in.Now)
		return m, d, in.Now.Add(s.Drain)
	case m.State == Draining && in.Now.Before(due) && !in.Hurry:
		m, d, _ := stay(m)
		return m, d, due
	default:
		return enter(m, Stopping, in.Now, reason, in.Now)
	}
}
