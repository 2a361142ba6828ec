package announce

import (
	"fmt"
	"time"

	"github.com/anyedge/anyedge/pkg/health"
)

// Memory is all that is kept of a service between two calls of Decide. Its zero value is a service at the start.
type Memory struct {
	State  State
	Since  time.Time // of State; in Settling, since when the service is up
	Reason string    // of State, for people
}

// Input is what Decide looks at, besides what it remembers.
type Input struct {
	Now     time.Time
	Health  health.Status
	Address error  // why the addresses of the service are not on the host; nil when they are
	Drain   string // why it is to be drained, for people; empty: it is not
	Written bool   // every router was told what was decided last
	Stop    bool   // the agent stops
	Hurry   bool   // and does not wait
}

// A Decision says what to do now and why.
type Decision struct {
	Action  Action
	Reason  string    // for people
	Noticed time.Time // when its cause was seen: the failing attempt, the kernel's event, the end of settling, the stop
}

// Decide says what becomes of a service, and when to look again if nothing changes before; zero: no need. It is pure: no
// clock, no I/O. A returned Memory that differs from m is a decision worth telling, also when its Action is None.
//
// Unknown health keeps what was decided: a monitor that lost its verdict is no reason to withdraw, and never one to announce.
func Decide(s Service, m Memory, in Input) (Memory, Decision, time.Time) {
	switch {
	case m.State == Stopping:
		return stay(m)
	case in.Stop:
		return decideStop(s, m, in)
	case in.Drain != "":
		return decideDrain(s, m, in)
	case m.State == Draining || m.State == Withdrawing || m.State == Drained:
		return decideUndrain(s, m, in)
	}
	switch in.Health.State {
	case health.Up:
		return decideUp(s, m, in)
	case health.Down:
		return decideDown(m, in)
	default:
		return stay(m)
	}
}

// decideUp lets a service settle before it is announced. The time counts from when its health became up, so that a
// failure too short to be seen here starts it anew. What is announced stays so: it works now.
func decideUp(s Service, m Memory, in Input) (Memory, Decision, time.Time) {
	switch {
	case m.State == Up && in.Health.Degraded:
		return enter(m, Degraded, in.Now, degraded(in), in.Now)
	case m.State == Degraded && !in.Health.Degraded:
		return enter(m, Up, in.Now, "no longer degraded", in.Now)
	case m.State == Up || m.State == Degraded:
		return stay(m)
	}
	since := upSince(m, in)
	due := since.Add(s.Settle)
	switch {
	case in.Now.Before(due) && m.State == Settling && m.Since.Equal(since):
		m, d, _ := stay(m)
		return m, d, due
	case in.Now.Before(due):
		m, d, _ := enter(m, Settling, since, fmt.Sprintf("up, settles for %s: %s", s.Settle, in.Health.Reason), since)
		return m, d, due
	case in.Address != nil:
		return enter(m, Settling, since, fmt.Sprintf("up, but not announced: %v", in.Address), due)
	case in.Health.Degraded:
		return enter(m, Degraded, in.Now, degraded(in), due)
	default:
		return enter(m, Up, in.Now, fmt.Sprintf("up for %s: %s", in.Now.Sub(since).Round(time.Millisecond), in.Health.Reason), due)
	}
}

// degraded says why a service that works is de-preferred. It is never withdrawn for that: other sites may depend on the
// same, and would withdraw with it.
func degraded(in Input) string { return "announced de-preferred: " + in.Health.DegradedReason }

// upSince is since when a service that is up now counts as up. Health that does not say it counts from the first look.
func upSince(m Memory, in Input) time.Time {
	if in.Health.Since.IsZero() && m.State == Settling {
		return m.Since
	}
	return notAfter(in.Health.Since, in.Now)
}

func decideDown(m Memory, in Input) (Memory, Decision, time.Time) {
	noticed := notAfter(in.Health.Noticed, in.Now)
	switch m.State {
	case Starting:
		return enter(m, Withdrawn, in.Now, "found down at the start, not announced: "+in.Health.Reason, noticed)
	case Settling:
		return enter(m, Withdrawn, in.Now, "down before it was announced: "+in.Health.Reason, noticed)
	case Up, Degraded:
		return enter(m, Withdrawn, in.Now, in.Health.Reason, noticed)
	default:
		return stay(m)
	}
}

// enter moves to a state. The action follows from what that does to the announcement.
func enter(m Memory, to State, since time.Time, reason string, noticed time.Time) (Memory, Decision, time.Time) {
	next := Memory{State: to, Since: since, Reason: reason}
	return next, Decision{Action: action(m.State, to), Reason: reason, Noticed: noticed}, time.Time{}
}

func stay(m Memory) (Memory, Decision, time.Time) {
	return m, Decision{Action: None, Reason: m.Reason}, time.Time{}
}

func action(from, to State) Action {
	if from.announcement() == to.announcement() {
		return None
	}
	return to.announcement()
}

// notAfter returns t, or now when t is not known or lies ahead.
func notAfter(t, now time.Time) time.Time {
	if t.IsZero() || t.After(now) {
		return now
	}
	return t
}
