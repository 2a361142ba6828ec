package announce

import (
	"fmt"
	"time"

	"github.com/anyedge/anyedge/pkg/health"
)

// drain leads what is announced over Draining and Withdrawing to Drained. What dies meanwhile is bridged, or withdrawn at
// once; what is not announced has nothing to wait for. An order is obeyed: no guard holds it.
func (t turn) drain() (Memory, Decision, time.Time) {
	due := t.m.Since.Add(t.s.Drain) // of Draining
	switch {
	case t.m.State == Draining && t.lost():
		return t.withdraw(Withdrawing, "down while it drains: "+t.in.Health.Reason, t.verdict())
	case t.m.State == Draining && t.in.Now.Before(due):
		return t.drains(due)
	case t.m.State == Draining:
		return t.withdraw(Withdrawing, fmt.Sprintf("%s: de-preferred for %s", t.in.Drain, t.s.Drain), Cause{Noticed: due})
	case t.m.State == Withdrawing && t.in.Written:
		return t.withdraw(Drained, t.in.Drain+": withdrawn everywhere", t.now())
	case t.m.State == Withdrawing || t.m.State == Drained:
		return t.stay(time.Time{})
	case t.m.State.announcement() == Withdraw:
		return t.withdraw(Drained, t.in.Drain+": it was not announced", t.now())
	case t.lost():
		return t.withdraw(Withdrawing, t.in.Drain+", and it is down: "+t.in.Health.Reason, t.verdict())
	case t.s.Drain == 0 || t.m.State == Isolated:
		return t.withdraw(Withdrawing, t.in.Drain, t.now())
	default:
		return t.startDrain(t.in.Drain)
	}
}

// lost tells whether a VIP is down and nobody can take its packets.
func (t turn) lost() bool { return t.in.Health.State == health.Down && len(t.in.Targets) == 0 }

func (t turn) startDrain(why string) (Memory, Decision, time.Time) {
	m, d, _ := t.enter(Draining, fmt.Sprintf("%s: announced de-preferred for %s", why, t.s.Drain), t.now())
	if t.in.Health.State == health.Down {
		m = m.carriedBy(t.best(), t.in.Now)
	}
	return m, d, t.in.Now.Add(t.s.Drain)
}

// drains waits; what dies meanwhile is bridged.
func (t turn) drains(due time.Time) (Memory, Decision, time.Time) {
	if t.in.Health.State == health.Down && len(t.m.Targets) == 0 {
		t.m = t.m.carriedBy(t.best(), t.in.Now)
	}
	return t.stay(due)
}

// withdraw ends an announcement for another reason than sickness. What is bridged stays so until it is quiet, or switched
// off with everything else.
func (t turn) withdraw(to State, reason string, c Cause) (Memory, Decision, time.Time) {
	if t.in.Health.State == health.Down && t.m.State.announcement() != Withdraw {
		t.m = t.m.carriedBy(t.best(), t.in.Now)
	}
	return t.enter(to, reason, c)
}

// undrain takes a drain back. What was not withdrawn yet is announced as before; what was, when it has been up for long
// enough, which a service that was up all the time has.
func (t turn) undrain() (Memory, Decision, time.Time) {
	down := t.in.Health.State == health.Down
	switch {
	case down && t.m.State == Draining && len(t.in.Targets) > 0:
		t.m.Sick = t.in.Now
		return t.bridge(DePreferred, "no longer drained, but down: "+t.in.Health.Reason, t.now())
	case down && t.m.State == Draining:
		t.m.Sick = t.in.Now
		return t.leave("no longer drained, but down: "+t.in.Health.Reason, t.now())
	case down:
		return t.enter(Withdrawn, "no longer drained, but down: "+t.in.Health.Reason, t.now())
	case t.m.State == Draining && len(t.m.Targets) > 0: // it was down, and is not back for long enough
		t.m.Sick = t.in.Now
		return t.bridge(DePreferred, "no longer drained", t.now())
	case t.m.State == Draining:
		return t.serve("no longer drained", t.now())
	case t.in.Health.State == health.Up:
		return t.settle()
	default:
		return t.enter(Starting, "no longer drained, its health is not known yet", t.now())
	}
}

// stop drains what is announced, unless there is no time, and withdraws it for good. What is bridged stays so until the
// bridges are removed with the process.
func (t turn) stop() (Memory, Decision, time.Time) {
	const reason = "the agent stops"
	due := t.m.Since.Add(t.s.Drain) // of Draining
	wait := t.s.Drain > 0 && !t.in.Hurry
	switch {
	case t.m.State.announcement() != Withdraw && t.lost():
		return t.withdraw(Stopping, reason+", and it is down: "+t.in.Health.Reason, t.verdict())
	case t.m.State == Draining && wait && t.in.Now.Before(due):
		return t.drains(due)
	case wait && t.m.State != Draining && t.m.State != Isolated && t.m.State.announcement() != Withdraw:
		return t.startDrain(reason)
	default:
		return t.withdraw(Stopping, reason, t.now())
	}
}
