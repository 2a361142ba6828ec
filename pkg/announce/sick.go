package announce

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/anyedge/anyedge/pkg/health"
)

// down leads a VIP whose service is sick: bridged, de-preferred, withdrawn; and past the guards where nobody can take its
// packets.
func (t turn) down() (Memory, Decision, time.Time) {
	t.m.Suppressed, t.m.Well = time.Time{}, false
	found := len(t.m.Targets) > 0 && t.m.Sick.IsZero() // an earlier process was bridging it
	switch {
	case (t.m.State == Starting || t.m.State == Settling) && found:
		return t.resume()
	case t.m.State == Starting:
		return t.enter(Withdrawn, "found down at the start, not announced: "+t.in.Health.Reason, t.verdict())
	case t.m.State == Settling:
		return t.enter(Withdrawn, "down before it was announced: "+t.in.Health.Reason, t.verdict())
	case t.m.State.served():
		return t.fall()
	case t.m.State == Bridged:
		return t.bridged()
	case t.m.State == DePreferred:
		return t.depreferred()
	case t.m.State == Held:
		return t.held()
	default:
		return t.withdrawn()
	}
}

// fall is the failover: to the bridge at once, or, where nobody can take the packets, past the guards.
func (t turn) fall() (Memory, Decision, time.Time) {
	why := t.in.Health.Reason
	switch {
	case t.in.Refused != nil:
		return t.leave(why+"; "+t.nobody(), t.verdict())
	case len(t.in.Targets) == 0:
		return t.leave(why, t.verdict())
	case t.times.Grace < 0 || t.m.State == Degraded: // of which routers were told already that others are better
		return t.bridge(DePreferred, why, t.verdict())
	default:
		m, d, _ := t.bridge(Bridged, why, t.verdict())
		return m, d, t.in.Now.Add(t.times.Grace)
	}
}

// resume goes on where an earlier process ended: the sessions are new, so whoever still sends here must be told that
// others are better, and is carried on.
func (t turn) resume() (Memory, Decision, time.Time) {
	t.m.Sick = t.in.Now
	if len(t.in.Targets) == 0 {
		return t.leave("bridged by an earlier process, and still down: "+t.in.Health.Reason, t.verdict())
	}
	return t.bridge(DePreferred, "bridged by an earlier process, and still down: "+t.in.Health.Reason, t.verdict())
}

// bridged waits for the service to come back before routers are told. One that works again at the end of the grace, but has
// not passed its checks often enough to count as up, has as much time once more.
func (t turn) bridged() (Memory, Decision, time.Time) {
	due := t.m.Sick.Add(t.times.Grace)
	if t.in.Health.Rising && !t.in.Now.Before(due) {
		due = due.Add(t.times.Grace)
	}
	switch {
	case len(t.in.Targets) == 0:
		return t.leave(t.nobody()+": "+t.in.Health.Reason, t.now())
	case t.in.Now.Before(due):
		t.m = t.m.carriedBy(t.best(), t.in.Now) // for it may have been back meanwhile, and not carried
		return t.stay(due)
	default:
		return t.bridge(DePreferred, fmt.Sprintf("not back within %s: %s", due.Sub(t.m.Sick), t.in.Health.Reason), Cause{Noticed: due})
	}
}

// depreferred withdraws once the traffic has moved, or has had time enough; not when nobody else would be left: whoever
// comes here is carried on.
func (t turn) depreferred() (Memory, Decision, time.Time) {
	if len(t.in.Targets) == 0 {
		return t.leave(t.nobody()+": "+t.in.Health.Reason, t.now())
	}
	t.m = t.m.carriedBy(t.best(), t.in.Now) // for it may have been back meanwhile, and not carried
	due, most := t.quietAt(), t.m.Bridged.Add(t.times.Max)
	hold, why := t.guard(len(t.m.Left))
	switch {
	case t.in.Now.Before(due) && t.in.Now.Before(most):
		return t.stay(earliest(due, most))
	case hold == NoHold && !t.in.Now.Before(due):
		return t.enter(Withdrawn, fmt.Sprintf("quiet for %s%s", Quiet, t.others()), Cause{Noticed: due})
	case hold == NoHold:
		return t.enter(Withdrawn, fmt.Sprintf("still busy after %s%s", t.times.Max, t.others()), Cause{Noticed: most})
	case hold != t.m.Hold:
		m, d, _ := t.enter(DePreferred, "stays de-preferred and bridged: "+why, t.now())
		m.Since, m.Hold = t.m.Since, hold
		return m, d, t.in.Now.Add(Quiet)
	default:
		return t.stay(t.in.Now.Add(Quiet))
	}
}

// held waits for somebody to take its place.
func (t turn) held() (Memory, Decision, time.Time) {
	hold, why := t.guard(len(t.m.Left))
	switch {
	case len(t.in.Targets) > 0:
		return t.bridge(DePreferred, "it can be carried", t.now())
	case hold == NoHold:
		return t.enter(Withdrawn, t.in.Health.Reason+t.others(), t.now())
	case hold != t.m.Hold:
		m, d, _ := t.hold(t.in.Health.Reason+"; stays announced, de-preferred: "+why, t.now())
		m.Since, m.Hold = t.m.Since, hold
		return m, d, t.in.Now.Add(Quiet)
	default:
		return t.stay(t.in.Now.Add(Quiet))
	}
}

// withdrawn comes back, de-preferred, when nobody else is left.
func (t turn) withdrawn() (Memory, Decision, time.Time) {
	alone, look := t.alone()
	if !alone.IsZero() && !look.After(t.in.Now) {
		return t.hold(t.in.Health.Reason+"; announced again, de-preferred: nobody else is seen to announce it", t.now())
	}
	t.m.Alone = alone
	return t.stay(look)
}

// leave withdraws what nobody can take, if the guards let it.
func (t turn) leave(why string, c Cause) (Memory, Decision, time.Time) {
	times := len(t.m.Left)
	if t.m.goes(Withdrawn) {
		times++
	}
	hold, because := t.guard(times)
	if hold == NoHold {
		m, d, look := t.enter(Withdrawn, why+t.others(), c)
		return m.carriedBy(nil, t.in.Now), d, look
	}
	m, d, look := t.hold(why+"; stays announced, de-preferred: "+because, c)
	m.Hold = hold
	return m, d, look
}

// hold enters Held.
func (t turn) hold(reason string, c Cause) (Memory, Decision, time.Time) {
	m, d, _ := t.enter(Held, reason, c)
	m.Hold = LastAnnouncer
	return m.carriedBy(nil, t.in.Now), d, t.in.Now.Add(Quiet)
}

// bridge enters a bridged state.
func (t turn) bridge(to State, why string, c Cause) (Memory, Decision, time.Time) {
	m, d, _ := t.enter(to, why+"; bridged to "+names(t.in.Targets), c)
	return m.carriedBy(t.best(), t.in.Now), d, t.in.Now.Add(Quiet)
}

// nobody says why a VIP has no targets.
func (t turn) nobody() string {
	if t.in.Refused != nil {
		return "it cannot be bridged: " + t.in.Refused.Error()
	}
	return "nobody is left to carry it to"
}

// guard names the guard that keeps a VIP announced that has gone away so often, this time included.
func (t turn) guard(times int) (hold Hold, why string) {
	switch {
	case t.s.Guard.Fail == Closed:
		return NoHold, ""
	case t.in.Others == "":
		return LastAnnouncer, "nobody else is seen to announce it"
	case t.in.Brake != "":
		return Braked, t.in.Brake
	case t.s.Guard.exhausted(times):
		return Budget, fmt.Sprintf("it went away %d times within %s", times, t.s.Guard.Per)
	default:
		return NoHold, ""
	}
}

func (t turn) others() string {
	if t.in.Others == "" {
		return ""
	}
	return "; announced by " + t.in.Others
}

// alone returns since when a VIP that is not announced, though it once was, has nobody else who is seen to announce it,
// and when that has lasted long enough to announce it all the same; zero: that is not so.
func (t turn) alone() (since, due time.Time) {
	if t.m.Sick.IsZero() || t.s.Guard.Fail == Closed || t.in.Others != "" || t.in.Isolated {
		return time.Time{}, time.Time{}
	}
	since = t.m.Alone
	if since.IsZero() {
		since = t.in.Now
	}
	return since, since.Add(Quiet)
}

// backWhileBridged serves a VIP here again without a word to the routers. Until it has settled its packets are carried: a
// service that flaps does not make the bridge flap.
func (t turn) backWhileBridged() (Memory, Decision, time.Time) {
	since := t.upSince()
	due := since.Add(t.s.Settle)
	switch {
	case len(t.in.Targets) == 0:
		return t.serve("back, and nobody else is left to carry it to: "+t.in.Health.Reason, t.now())
	case t.in.Now.Before(due):
		return t.stay(due)
	default:
		return t.serve("back before routers were told, "+t.upFor(since), Cause{Noticed: due})
	}
}

// backWhileHeld announces plainly again what was announced all the time.
func (t turn) backWhileHeld() (Memory, Decision, time.Time) {
	since := t.upSince()
	due := t.s.Guard.suppressed(t.s.Settle, t.m.Left, since)
	if t.in.Now.Before(due) {
		var look time.Time
		t.m.Suppressed, t.m.Well, look = t.suppressed(since, due)
		return t.stay(look)
	}
	return t.serve(t.upFor(since), Cause{Noticed: due})
}

// quietAt is when the bridge will have been quiet for long enough if no packet comes.
func (t turn) quietAt() time.Time {
	last := t.m.Since
	if t.in.Busy.After(last) {
		last = t.in.Busy
	}
	return last.Add(Quiet)
}

// carriers returns who carries the packets of a VIP that stays in its state from now on, and when to look again. Nothing
// is switched on here.
func (t turn) carriers() (targets []Target, look time.Time) {
	switch {
	case len(t.m.Targets) == 0 || len(t.in.Targets) == 0:
		return nil, time.Time{}
	case t.m.State == Withdrawn || t.m.State == Withdrawing || t.m.State == Drained:
		if look = t.quietAt(); !t.in.Now.Before(look) {
			return nil, time.Time{}
		}
	case t.m.State == Draining && t.in.Health.State == health.Up:
		if look = t.upSince().Add(t.s.Settle); !t.in.Now.Before(look) {
			return nil, time.Time{}
		}
	}
	return t.best(), look
}

// best returns the targets of now, with the weights of before if they are the same peers: new weights would move
// connections for nothing.
func (t turn) best() []Target {
	if same(t.m.Targets, t.in.Targets) {
		return t.m.Targets
	}
	return t.in.Targets
}

// carriedBy returns m with targets; none ends the bridge.
func (m Memory) carriedBy(targets []Target, now time.Time) Memory {
	switch {
	case len(targets) == 0:
		m.Targets, m.Bridged = nil, time.Time{}
	case len(m.Targets) == 0:
		m.Targets, m.Bridged = targets, now
	default:
		m.Targets = targets
	}
	return m
}

// same tells whether two sets of targets name the same peers in the same order.
func same(a, b []Target) bool {
	return slices.EqualFunc(a, b, func(a, b Target) bool { return a.Peer == b.Peer })
}

func names(targets []Target) string {
	all := make([]string, len(targets))
	for i, t := range targets {
		all[i] = t.Peer
	}
	return strings.Join(all, ", ")
}
