package announce

import (
	"fmt"
	"slices"
	"time"

	"github.com/anyedge/anyedge/pkg/health"
)

// Memory is all that is kept of a VIP between two calls of Decide. Its zero value is a VIP at the start. Its slices are
// never changed in place.
type Memory struct {
	State   State
	Since   time.Time   // of State; in Settling, since when the service is up
	Reason  string      // of State, for people
	Hold    Hold        // the guard that keeps it announced, in DePreferred and Held
	Targets []Target    // who its packets are carried to; none: it is not bridged
	Bridged time.Time   // since when they are
	Sick    time.Time   // since when it is not served here though it was; zero: it is, or never was
	Alone   time.Time   // in Withdrawn and Settling: since when nobody else is seen to announce it
	Left    []time.Time // when it went away for being sick, within Guard.Per, oldest first

	// Suppressed is, for what is up and not announced in full for having failed before, until when; and Well tells that it
	// has settled all the same: it serves whoever comes.
	Suppressed time.Time
	Well       bool
}

// Input is what Decide looks at, besides what it remembers. There is no load in it: nobody withdraws for that.
type Input struct {
	Now      time.Time
	Health   health.Status
	Address  error     // why the address is not on the host; nil when it is. Only what is to be announced asks
	Isolated bool      // no established session carries the prefix
	Targets  []Target  // hosts that can serve it now; only what is sick or bridged asks
	Refused  error     // why the bridge did not take it, which is why there are no targets
	Busy     time.Time // when its bridge was last seen to carry a packet; only what is bridged asks
	Others   string    // who else is seen to announce it, for people; empty: nobody. Only what is sick asks
	Brake    string    // why nothing may be withdrawn now, for people; empty: it may
	Drain    string    // why it is to be drained, for people; empty: it is not
	Written  bool      // every router was told what was decided last
	Stop     bool      // the agent stops
	Hurry    bool      // and does not wait
}

// A Decision says what to do now and why.
type Decision struct {
	Action Action
	Reason string // for people
	Cause
}

// A Cause is when the reason of a decision came about.
type Cause struct {
	Noticed   time.Time // when it was seen: the failing attempt, the kernel's event, the end of settling, the stop
	Confirmed time.Time // when the verdict on it was taken; zero: there was none to take
}

// Decide says what becomes of a VIP of a service, and when to look again if nothing changes before; zero: no need. It is
// pure: no clock, no I/O. The zero values of times and of the service's Guard must have been replaced by their defaults.
//
// Unknown health keeps what was decided: a monitor that lost its verdict is no reason to withdraw, and never one to announce.
func Decide(times Times, s Service, m Memory, in Input) (Memory, Decision, time.Time) {
	m.Left = s.Guard.recent(m.Left, in.Now)
	t := turn{times, s, m, in}
	switch {
	case m.State == Stopping:
		return t.stay(time.Time{})
	case in.Stop:
		return t.stop()
	case in.Drain != "":
		return t.drain()
	case m.State == Draining || m.State == Withdrawing || m.State == Drained:
		return t.undrain()
	}
	switch in.Health.State {
	case health.Up:
		return t.up()
	case health.Down:
		return t.down()
	default:
		return t.stay(time.Time{})
	}
}

// moved tells whether the way from m to next is a decision worth telling. Who carries its packets is told apart.
func (m Memory) moved(next Memory) bool {
	return m.State != next.State || m.Reason != next.Reason || !m.Since.Equal(next.Since)
}

// shown tells whether next looks the same in a status.
func (m Memory) shown(next Memory) bool {
	return !m.moved(next) && m.Hold == next.Hold && m.Suppressed.Equal(next.Suppressed) && m.Well == next.Well && slices.Equal(m.Targets, next.Targets)
}

// A turn is one call of Decide.
type turn struct {
	times Times
	s     Service
	m     Memory
	in    Input
}

// up lets a service settle before it is announced, or served here again. The time counts from when its health became up,
// so that a failure too short to be seen here starts it anew. What is announced stays so: it works now.
func (t turn) up() (Memory, Decision, time.Time) {
	switch {
	case t.m.State.served():
		return t.serve("", t.now())
	case t.m.State == Bridged:
		return t.backWhileBridged()
	case t.m.State == DePreferred || t.m.State == Held:
		return t.backWhileHeld()
	default:
		return t.settle()
	}
}

// serve enters, or stays in, the one of the three states of a VIP that is served here that fits now.
func (t turn) serve(why string, c Cause) (Memory, Decision, time.Time) {
	to := Up
	switch {
	case t.in.Health.Degraded:
		to, why = Degraded, degraded(t.in)
	case t.in.Isolated:
		to, why = Isolated, "works, but no session carries it: announced as soon as one does"
	case t.m.State == Isolated:
		why = "a session carries it"
	case t.m.State == Degraded:
		why = "no longer degraded"
	}
	if to == t.m.State {
		return t.stay(time.Time{})
	}
	return t.enter(to, why, c)
}

// degraded says why a service that works is de-preferred. It is never withdrawn for that: other sites may depend on the
// same, and would withdraw with it.
func degraded(in Input) string { return "announced de-preferred: " + in.Health.DegradedReason }

// settle leads what is not announced to its announcement. What was announced before and has nobody else who is seen to
// announce it does not wait without any route.
func (t turn) settle() (Memory, Decision, time.Time) {
	since := t.upSince()
	due := t.s.Guard.suppressed(t.s.Settle, t.m.Left, since)
	if t.in.Now.Before(due) {
		return t.settling(since, due)
	}
	if t.in.Address != nil {
		m, d, _ := t.enter(Settling, fmt.Sprintf("up, but not announced: %v", t.in.Address), Cause{Noticed: due})
		m.Since = since
		return m, d, time.Time{}
	}
	return t.serve(t.upFor(since), Cause{Noticed: due})
}

func (t turn) settling(since, due time.Time) (Memory, Decision, time.Time) {
	alone, look := t.alone()
	suppressed, well, settled := t.suppressed(since, due)
	look = earliest(look, settled)
	switch {
	case !alone.IsZero() && !alone.Add(Quiet).After(t.in.Now):
		return t.hold("up, but held down: nobody else is seen to announce it", t.now())
	case t.m.State == Settling && t.m.Since.Equal(since):
		t.m.Alone, t.m.Suppressed, t.m.Well = alone, suppressed, well
		return t.stay(look)
	}
	reason := fmt.Sprintf("up, settles for %s: %s", t.s.Settle, t.in.Health.Reason)
	if !suppressed.IsZero() {
		reason = fmt.Sprintf("up, held down for %s, as it failed %d times within %s: %s",
			due.Sub(since).Round(time.Millisecond), len(t.m.Left), t.s.Guard.Per, t.in.Health.Reason)
	}
	m, d, again := t.enter(Settling, reason, Cause{Noticed: since})
	m.Since, m.Alone, m.Suppressed, m.Well = since, alone, suppressed, well
	return m, d, earliest(again, look)
}

// suppressed tells of a VIP that is up since a time and not to be announced in full before due: until when it is held down
// for more than its service's Settle, whether it has settled, and when to look again.
func (t turn) suppressed(since, due time.Time) (until time.Time, well bool, look time.Time) {
	settled := since.Add(t.s.Settle)
	if !due.After(settled) {
		return time.Time{}, false, due
	}
	if t.in.Now.Before(settled) {
		return due, false, settled
	}
	return due, true, due
}

// upSince is since when a service that is up now counts as up. Health that does not say it counts from the first look.
func (t turn) upSince() time.Time {
	if t.in.Health.Since.IsZero() && t.m.State == Settling {
		return t.m.Since
	}
	return notAfter(t.in.Health.Since, t.in.Now)
}

func (t turn) upFor(since time.Time) string {
	return fmt.Sprintf("up for %s: %s", t.in.Now.Sub(since).Round(time.Millisecond), t.in.Health.Reason)
}

// now is the cause of what comes from this look.
func (t turn) now() Cause { return Cause{Noticed: t.in.Now} }

// verdict is the cause of what comes from health.
func (t turn) verdict() Cause {
	return Cause{Noticed: notAfter(t.in.Health.Noticed, t.in.Now), Confirmed: notAfter(t.in.Health.Since, t.in.Now)}
}

// enter moves to a state. The action follows from what that does to the announcement. What is bridged there is looked at again.
func (t turn) enter(to State, reason string, c Cause) (_ Memory, _ Decision, look time.Time) {
	next := t.m
	next.State, next.Since, next.Reason = to, t.in.Now, reason
	next.Hold, next.Alone, next.Suppressed, next.Well = NoHold, time.Time{}, time.Time{}, false
	switch {
	case to.served():
		next.Targets, next.Bridged, next.Sick = nil, time.Time{}, time.Time{}
	case to == Drained || to == Withdrawing:
		next.Sick = time.Time{}
	case to.sick() && t.m.State.served():
		next.Sick = t.in.Now
	}
	if len(next.Targets) > 0 {
		next = next.carriedBy(t.best(), t.in.Now)
	}
	if t.m.goes(to) {
		next.Left = append(slices.Clone(t.m.Left), t.in.Now)
	}
	if len(next.Targets) > 0 {
		look = t.in.Now.Add(Quiet)
	}
	return next, Decision{Action: action(t.m.State, to), Reason: reason, Cause: c}, look
}

// goes tells whether a step to a state counts as going away for being sick: what is announced becomes worse, or what was
// withdrawn comes back only because nobody else is there.
func (m Memory) goes(to State) bool {
	switch to {
	case DePreferred, Held, Withdrawn:
		return m.State.served() || m.State == Bridged || to == Held && (m.State == Withdrawn || m.State == Settling)
	default:
		return false
	}
}

// stay keeps the state, with what carries the VIP's packets brought up to date; look: when to look again anyway.
func (t turn) stay(look time.Time) (Memory, Decision, time.Time) {
	targets, again := t.carriers()
	return t.m.carriedBy(targets, t.in.Now), Decision{Action: None, Reason: t.m.Reason}, earliest(look, again)
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
