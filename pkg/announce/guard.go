package announce

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anyedge/anyedge/pkg/bgp"
)

// Mark is the community of what a sick host announces all the same, beside GRACEFUL_SHUTDOWN: hosts that hear it must not
// take its origin for one that works.
const Mark bgp.Community = 64512<<16 | 9410

// Fail tells what becomes of a sick service that no other host is seen to announce.
type Fail int

// Open is the zero value.
const (
	Open   Fail = iota // it stays announced, de-preferred: a wrong check must not take the last route away
	Closed             // it is withdrawn: a wrong answer is worse than none. No guard holds it
)

// A Guard bounds what the failures of one service may do. Its zero value has the defaults.
type Guard struct {
	Fail Fail

	// Withdrawals is how often within Per a VIP may go away for being sick. One that does more stays announced de-preferred,
	// and does not come back to its full announcement before the oldest of them is Per ago. Zero: 10; negative: no limit.
	Withdrawals int
	Per         time.Duration // zero: 1 h

	HoldDown HoldDown
}

// HoldDown is how long a VIP that went away must have been up before it is announced again, if that is more than the
// service's Settle: Base after the first time within Guard.Per, twice as long after each further one.
type HoldDown struct {
	Base time.Duration // zero: 1 s; negative: none
	Max  time.Duration // zero: 10 min
}

// Guards are those over all services of a host.
type Guards struct {
	Brake Brake
}

// A Brake stops withdrawals when so many services fall sick within a window that the cause is likely to be common, and
// other sites likely to do the same. They stay announced, de-preferred, until fewer than so many are sick.
type Brake struct {
	Services int           // so many; zero: as Share says; negative: no brake
	Share    float64       // of all services, but never fewer than 3 of them; zero: 0.5
	Window   time.Duration // zero: 10 s
}

// leastBraked keeps a Share from holding a host with two services: they may well depend on each other.
const leastBraked = 3

func (g Guard) withDefaults() Guard {
	g.Withdrawals = orDefault(g.Withdrawals, 10)
	g.Per = orDefault(g.Per, time.Hour)
	g.HoldDown.Base = orDefault(g.HoldDown.Base, time.Second)
	g.HoldDown.Max = orDefault(g.HoldDown.Max, 10*time.Minute)
	return g
}

// Limit returns how often within Per a VIP may go away for being sick; negative: as often as it is.
func (g Guard) Limit() int { return g.withDefaults().Withdrawals }

func (b Brake) withDefaults() Brake {
	b.Share = orDefault(b.Share, 0.5)
	b.Window = orDefault(b.Window, 10*time.Second)
	return b
}

func orDefault[T int | float64 | time.Duration](v, standard T) T {
	if v == 0 {
		return standard
	}
	return v
}

// recent returns the times within Per before now, and shares memory with left.
func (g Guard) recent(left []time.Time, now time.Time) []time.Time {
	first := slices.IndexFunc(left, func(t time.Time) bool { return now.Sub(t) < g.Per })
	if first < 0 {
		return nil
	}
	return left[first:]
}

// exhausted tells whether going away so often is too much.
func (g Guard) exhausted(times int) bool { return g.Withdrawals >= 0 && times > g.Withdrawals }

// holdDown is how long a VIP must be up after it went away so often.
func (g Guard) holdDown(times int) time.Duration {
	if times == 0 || g.HoldDown.Base < 0 {
		return 0
	}
	d := float64(g.HoldDown.Base) * math.Pow(2, float64(times-1))
	return time.Duration(min(d, float64(g.HoldDown.Max)))
}

// suppressed returns until when a VIP that is up since a time is not to be announced.
func (g Guard) suppressed(settle time.Duration, left []time.Time, up time.Time) time.Time {
	due := up.Add(max(settle, g.holdDown(len(left))))
	if g.exhausted(len(left)) {
		room := left[len(left)-g.Withdrawals-1].Add(g.Per)
		if room.After(due) {
			return room
		}
	}
	return due
}

// threshold is how many of all services may not fall sick at once; zero: any number may.
func (b Brake) threshold(services int) int {
	switch {
	case b.Services < 0:
		return 0
	case b.Services > 0:
		return b.Services
	default:
		return max(leastBraked, int(math.Ceil(b.Share*float64(services))))
	}
}

// holds tells why nothing may be withdrawn now, "" when it may; sick is since when the sick services are, of so many, and
// on whether it held before.
func (b Brake) holds(on bool, now time.Time, sick []time.Time, services int) string {
	limit := b.threshold(services)
	if limit == 0 || len(sick) < limit {
		return ""
	}
	fell := 0
	for _, since := range sick {
		if now.Sub(since) < b.Window {
			fell++
		}
	}
	if !on && fell < limit {
		return ""
	}
	return fmt.Sprintf("%d of %d services are sick, %d or more fell so within %s", len(sick), services, limit, b.Window)
}

// A Hold names the guard that keeps a sick VIP announced. The zero value is none.
type Hold int

// The guards that hold.
const (
	NoHold        Hold = iota
	LastAnnouncer      // nobody else is seen to announce it
	Braked             // too many services fell sick at once
	Budget             // it went away too often
)

var holds = [...]Hold{LastAnnouncer, Braked, Budget}

// String returns "", "last_announcer", "brake" or "budget".
func (h Hold) String() string {
	switch h {
	case NoHold:
		return ""
	case LastAnnouncer:
		return "last_announcer"
	case Braked:
		return "brake"
	case Budget:
		return "budget"
	default:
		return "invalid"
	}
}
