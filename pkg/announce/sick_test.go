package announce

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/health"
)

var (
	toA = []Target{{"mec-2-a", 1}}
	toB = []Target{{"mec-3-a", 1}}
)

// A situation is a VIP at 20 s past start that has been in a state since a time, and what is seen then.
type situation struct {
	memory Memory
	in     Input
}

// vip starts a situation: service sick since 19.9 s, nobody there.
func vip(s State, since float64) situation {
	m := Memory{State: s, Since: at(since), Reason: "before"}
	if s.sick() {
		m.Sick = at(since)
	}
	down := health.Status{State: health.Down, Reason: "because", Since: at(19.95), Noticed: at(19.9)}
	return situation{m, Input{Now: at(20), Health: down}}
}

func (s situation) up(since float64) situation {
	s.in.Health = health.Status{State: health.Up, Reason: "fine", Since: at(since), Noticed: at(since)}
	return s
}

// rising passes its checks again, but not often enough yet.
func (s situation) rising() situation { s.in.Health.Rising = true; return s }

// bridged is bridged to mec-2-a, last busy at a time.
func (s situation) bridged(since, busy float64) situation {
	s.memory.Targets, s.memory.Bridged = toA, at(since)
	s.in.Targets, s.in.Busy = toA, at(busy)
	return s
}

func (s situation) targets(t []Target) situation { s.in.Targets = t; return s }
func (s situation) refused() situation {
	s.in.Targets, s.in.Refused = nil, errors.New("no route")
	return s
}
func (s situation) others() situation     { s.in.Others = "mec-2-a"; return s }
func (s situation) braked() situation     { s.in.Brake = "too many"; return s }
func (s situation) hold(h Hold) situation { s.memory.Hold = h; return s }
func (s situation) isolated() situation   { s.in.Isolated = true; return s }

func (s situation) neverServed() situation { s.memory.Sick = time.Time{}; return s }
func (s situation) drain() situation       { s.in.Drain = "drained"; return s }
func (s situation) stop() situation        { s.in.Stop = true; return s }

// alone is since when nobody else is seen.
func (s situation) alone(since float64) situation { s.memory.Alone = at(since); return s }

// left is how often it went away within the last minutes, a minute between.
func (s situation) left(times int) situation {
	for i := range times {
		s.memory.Left = append(s.memory.Left, at(20).Add(time.Duration(i-times)*time.Minute))
	}
	return s
}

// TestDecideSick is the table of a sick VIP: from each state, by everything that matters there, to the next.
func TestDecideSick(t *testing.T) {
	t.Parallel()
	open := Service{Settle: 2 * time.Second, Drain: 5 * time.Second}
	closed := open
	closed.Guard.Fail = Closed
	const lone = "; stays announced, de-preferred: nobody else is seen to announce it"
	tests := []struct {
		name    string
		service Service
		from    situation
		to      State
		action  Action
		hold    Hold
		targets []Target
		reason  string
		again   float64 // 0: none
	}{
		{"falls, somebody can take it", open, vip(Up, 1).targets(toA), Bridged, None, 0, toA, "because; bridged to mec-2-a", 21},
		{"falls, no session carries it", open, vip(Isolated, 1).targets(toA), Bridged, None, 0, toA, "because; bridged to mec-2-a", 21},
		{"falls while degraded: routers know already", open, vip(Degraded, 1).targets(toA), DePreferred, None, 0, toA, "because; bridged to mec-2-a", 21},
		{"falls, only routers know another", open, vip(Up, 1).others(), Withdrawn, Withdraw, 0, nil, "because; announced by mec-2-a", 0},
		{"falls, nobody is seen", open, vip(Up, 1), Held, Deprefer, LastAnnouncer, nil, "because" + lone, 21},
		{"falls, nobody is seen, closed", closed, vip(Up, 1), Withdrawn, Withdraw, 0, nil, "because", 0},
		{"falls with many", open, vip(Up, 1).others().braked(), Held, Deprefer, Braked, nil, "because; stays announced, de-preferred: too many", 21},
		{"falls with many, closed", closed, vip(Up, 1).others().braked(), Withdrawn, Withdraw, 0, nil, "because; announced by mec-2-a", 0},
		{"falls too often", open, vip(Up, 1).others().left(10), Held, Deprefer, Budget, nil, "because; stays announced, de-preferred: it went away 11 times within 1h0m0s", 21},

		{"bridged, within grace", open, vip(Bridged, 19.5).bridged(19.5, 19.9), Bridged, None, 0, toA, "before", 20.5},
		{"bridged, grace over", open, vip(Bridged, 19).bridged(19, 19.9), DePreferred, Deprefer, 0, toA, "not back within 1s: because; bridged to mec-2-a", 21},
		{"bridged, grace over, rising", open, vip(Bridged, 19).bridged(19, 19.9).rising(), Bridged, None, 0, toA, "before", 21},
		{"bridged, grace over twice, rising", open, vip(Bridged, 18).bridged(18, 19.9).rising(), DePreferred, Deprefer, 0, toA, "not back within 2s: because; bridged to mec-2-a", 21},
		{"bridged, its target dies, another is there", open, vip(Bridged, 19.5).bridged(19.5, 19.9).targets(toB), Bridged, None, 0, toB, "before", 20.5},
		{"bridged, its target dies, no other is there", open, vip(Bridged, 19.5).bridged(19.5, 19.9).targets(nil), Held, Deprefer, LastAnnouncer, nil,
			"nobody is left to carry it to: because" + lone, 21},
		{"bridged, its target dies, another announces", open, vip(Bridged, 19.5).bridged(19.5, 19.9).targets(nil).others(), Withdrawn, Withdraw, 0, nil,
			"nobody is left to carry it to: because; announced by mec-2-a", 0},
		{"bridged, back", open, vip(Bridged, 19).bridged(19, 19.9).up(19.5), Bridged, None, 0, toA, "before", 21.5},
		{"bridged, back for long enough: no UPDATE", open, vip(Bridged, 17).bridged(17, 19.9).up(18), Up, None, 0, nil, "back before routers were told, up for 2s: fine", 0},
		{"bridged, and the kernel does not take it", open, vip(Bridged, 19.9).bridged(19.9, 19.9).refused().others(), Withdrawn, Withdraw, 0, nil,
			"it cannot be bridged: no route: because; announced by mec-2-a", 0},
		{"falls again, and the kernel did not take it just now", open, vip(Up, 1).refused().others(), Withdrawn, Withdraw, 0, nil,
			"because; it cannot be bridged: no route; announced by mec-2-a", 0},
		{"bridged, back, its target dies", open, vip(Bridged, 19).bridged(19, 19.9).up(19.5).targets(nil), Up, None, 0, nil,
			"back, and nobody else is left to carry it to: fine", 0},

		{"de-preferred, busy", open, vip(DePreferred, 10).bridged(9, 19.5).others(), DePreferred, None, 0, toA, "before", 20.5},
		{"de-preferred, not quiet before routers could do anything", open, vip(DePreferred, 19.5).bridged(18.5, 18.6).others(), DePreferred, None, 0, toA, "before", 20.5},
		{"de-preferred, quiet", open, vip(DePreferred, 10).bridged(9, 19).others(), Withdrawn, Withdraw, 0, toA, "quiet for 1s; announced by mec-2-a", 21},
		{"de-preferred, quiet, nobody else announces", open, vip(DePreferred, 10).bridged(9, 19), DePreferred, None, LastAnnouncer, toA,
			"stays de-preferred and bridged: nobody else is seen to announce it", 21},
		{"the same, told", open, vip(DePreferred, 10).bridged(9, 19).hold(LastAnnouncer), DePreferred, None, LastAnnouncer, toA, "before", 21},
		{"de-preferred, quiet, nobody else announces, closed", closed, vip(DePreferred, 10).bridged(9, 19), Withdrawn, Withdraw, 0, toA, "quiet for 1s", 21},
		{"de-preferred, quiet with many", open, vip(DePreferred, 10).bridged(9, 19).others().braked(), DePreferred, None, Braked, toA,
			"stays de-preferred and bridged: too many", 21},
		{"de-preferred, busy for too long", open, vip(DePreferred, -39).bridged(-40, 19.9).others(), Withdrawn, Withdraw, 0, toA,
			"still busy after 1m0s; announced by mec-2-a", 21},
		{"de-preferred, busy for too long, nobody else announces", open, vip(DePreferred, -39).bridged(-40, 19.9), DePreferred, None, LastAnnouncer, toA,
			"stays de-preferred and bridged: nobody else is seen to announce it", 21},
		{"de-preferred, its target dies, another is there", open, vip(DePreferred, 10).bridged(9, 19.5).targets(toB), DePreferred, None, 0, toB, "before", 20.5},
		{"de-preferred, its target dies, no other is there", open, vip(DePreferred, 10).bridged(9, 19.5).targets(nil), Held, None, LastAnnouncer, nil,
			"nobody is left to carry it to: because" + lone, 21},
		{"de-preferred, back", open, vip(DePreferred, 10).bridged(9, 19.5).up(19).left(1), DePreferred, None, 0, toA, "before", 21},
		{"de-preferred, back for long enough", open, vip(DePreferred, 10).bridged(9, 19.5).up(18).left(1), Up, Announce, 0, nil, "up for 2s: fine", 0},
		{"de-preferred, back, held down", open, vip(DePreferred, 10).bridged(9, 19.5).up(18).left(3), DePreferred, None, 0, toA, "before", 22},
		{"de-preferred, back, its target dies: served here", open, vip(DePreferred, 10).bridged(9, 19.5).up(19).left(1).targets(nil), DePreferred, None, 0, nil, "before", 21},
		{"de-preferred, was served here meanwhile, down again", open, vip(DePreferred, 10).targets(toA).others(), Withdrawn, Withdraw, 0, toA,
			"quiet for 1s; announced by mec-2-a", 21},

		{"held", open, vip(Held, 10).hold(LastAnnouncer), Held, None, LastAnnouncer, nil, "before", 21},
		{"held, another is seen", open, vip(Held, 10).hold(LastAnnouncer).others(), Withdrawn, Withdraw, 0, nil, "because; announced by mec-2-a", 0},
		{"held, another is seen, many fall", open, vip(Held, 10).hold(LastAnnouncer).others().braked(), Held, None, Braked, nil,
			"because; stays announced, de-preferred: too many", 21},
		{"held, somebody can take it", open, vip(Held, 10).hold(LastAnnouncer).targets(toA), DePreferred, None, 0, toA, "it can be carried; bridged to mec-2-a", 21},
		{"held, back", open, vip(Held, 10).hold(LastAnnouncer).up(19).left(1), Held, None, LastAnnouncer, nil, "before", 21},
		{"held, back for long enough", open, vip(Held, 10).hold(LastAnnouncer).up(18).left(1), Up, Announce, 0, nil, "up for 2s: fine", 0},
		{"held, back, failed too often: waits for the oldest", open, vip(Held, 10).hold(Budget).up(-1000).left(11), Held, None, Budget, nil, "before", 20 - 11*60 + 3600},

		{"withdrawn, still busy", open, vip(Withdrawn, 10).bridged(5, 19.5).others(), Withdrawn, None, 0, toA, "before", 20.5},
		{"withdrawn, not quiet before routers could do anything", open, vip(Withdrawn, 19.5).bridged(5, 18).others(), Withdrawn, None, 0, toA, "before", 20.5},
		{"withdrawn, quiet", open, vip(Withdrawn, 10).bridged(5, 19).others(), Withdrawn, None, 0, nil, "before", 0},
		{"withdrawn, its target dies", open, vip(Withdrawn, 10).bridged(5, 19.5).others().targets(nil), Withdrawn, None, 0, nil, "before", 0},
		{"withdrawn, the others go", open, vip(Withdrawn, 10), Withdrawn, None, 0, nil, "before", 21},
		{"withdrawn, the others are gone", open, vip(Withdrawn, 10).alone(19), Held, Deprefer, LastAnnouncer, nil,
			"because; announced again, de-preferred: nobody else is seen to announce it", 21},
		{"withdrawn, the others are gone, closed", closed, vip(Withdrawn, 10).alone(19), Withdrawn, None, 0, nil, "before", 0},
		{"withdrawn, nobody can be seen without a session", open, vip(Withdrawn, 10).alone(19).isolated(), Withdrawn, None, 0, nil, "before", 0},
		{"withdrawn, was never served here", open, vip(Withdrawn, 10).alone(19).neverServed(), Withdrawn, None, 0, nil, "before", 0},
		{"withdrawn, back, held down", open, vip(Withdrawn, 10).others().up(18).left(4), Settling, None, 0, nil,
			"up, held down for 8s, as it failed 4 times within 1h0m0s: fine", 26},
		{"withdrawn, back, held down, the others are gone", open, vip(Withdrawn, 10).up(18).left(4).alone(19), Held, Deprefer, LastAnnouncer, nil,
			"up, but held down: nobody else is seen to announce it", 21},

		{"found bridged, no verdict", open, vip(Starting, 10).bridged(10, 10).up(19), Settling, None, 0, toA, "up, settles for 2s: fine", 21},
		{"found bridged, up for long enough", open, vip(Settling, 18).bridged(10, 10).up(18), Up, Announce, 0, nil, "up for 2s: fine", 0},
		{"found bridged, still down", open, vip(Starting, 10).bridged(10, 10), DePreferred, Deprefer, 0, toA,
			"bridged by an earlier process, and still down: because; bridged to mec-2-a", 21},
		{"found bridged, up, down again", open, vip(Settling, 10).bridged(10, 10), DePreferred, Deprefer, 0, toA,
			"bridged by an earlier process, and still down: because; bridged to mec-2-a", 21},
		{"found bridged, still down, its target is gone", open, vip(Starting, 10).bridged(10, 10).targets(nil), Held, Deprefer, LastAnnouncer, nil,
			"bridged by an earlier process, and still down: because" + lone, 21},

		{"no session carries it", open, vip(Up, 10).up(1).isolated(), Isolated, None, 0, nil, "works, but no session carries it: announced as soon as one does", 0},
		{"a session carries it", open, vip(Isolated, 10).up(1), Up, None, 0, nil, "a session carries it", 0},
		{"settled without a session", open, vip(Settling, 1).up(1).isolated(), Isolated, Announce, 0, nil, "works, but no session carries it: announced as soon as one does", 0},

		{"drained while bridged", open, vip(Bridged, 19.5).bridged(19.5, 19.9).drain(), Draining, Deprefer, 0, toA, "drained: announced de-preferred for 5s", 25},
		{"drained while held", open, vip(Held, 10).drain(), Withdrawing, Withdraw, 0, nil, "drained, and it is down: because", 0},
		{"drained without a session", open, vip(Isolated, 10).up(1).drain(), Withdrawing, Withdraw, 0, nil, "drained", 0},
		{"dies while it drains", open, vip(Draining, 18).targets(toA).drain(), Draining, None, 0, toA, "before", 23},
		{"dies while it drains, nobody can take it", open, vip(Draining, 18).drain(), Withdrawing, Withdraw, 0, nil, "down while it drains: because", 0},
		{"back while it drains", open, vip(Draining, 18).bridged(18, 19.9).up(18).drain(), Draining, None, 0, nil, "before", 23},
		{"drained for long enough, bridged", open, vip(Draining, 15).bridged(15, 19.9).drain(), Withdrawing, Withdraw, 0, toA, "drained: de-preferred for 5s", 21},
		{"drained, bridged, quiet", open, vip(Drained, 15).bridged(14, 19).drain(), Drained, None, 0, nil, "before", 0},
		{"undrained, down, bridged", open, vip(Draining, 18).bridged(18, 19.9), DePreferred, None, 0, toA, "no longer drained, but down: because; bridged to mec-2-a", 21},
		{"undrained, down, nobody can take it", open, vip(Draining, 18), Held, None, LastAnnouncer, nil, "no longer drained, but down: because" + lone, 21},
		{"undrained, not back for long enough", open, vip(Draining, 18).bridged(18, 19.9).up(19), DePreferred, None, 0, toA, "no longer drained; bridged to mec-2-a", 21},

		{"stop while bridged", open, vip(Bridged, 19.5).bridged(19.5, 19.9).stop(), Draining, Deprefer, 0, toA, "the agent stops: announced de-preferred for 5s", 25},
		{"stop while bridged, no wait", Service{}, vip(Bridged, 19.5).bridged(19.5, 19.9).stop(), Stopping, Withdraw, 0, toA, "the agent stops", 21},
		{"stop while held", open, vip(Held, 10).stop(), Stopping, Withdraw, 0, nil, "the agent stops, and it is down: because", 0},
		{"stopping, bridged: to the end", open, vip(Stopping, 10).bridged(5, 5).stop(), Stopping, None, 0, toA, "before", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			type result struct {
				State   State
				Action  Action
				Hold    Hold
				Targets []Target
				Reason  string
				Again   time.Time
			}
			m, d, again := decide(tt.service, tt.from.memory, tt.from.in)
			want := result{tt.to, tt.action, tt.hold, tt.targets, tt.reason, time.Time{}}
			if tt.again != 0 {
				want.Again = at(tt.again)
			}
			if diff := cmp.Diff(want, result{m.State, d.Action, m.Hold, m.Targets, m.Reason, again}); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestDecideGrace: without a grace routers are told at once.
func TestDecideGrace(t *testing.T) {
	t.Parallel()
	from := vip(Up, 1).targets(toA)
	m, d, _ := Decide(Times{Grace: -1}.withDefaults(), Service{}, from.memory, from.in)
	if m.State != DePreferred || d.Action != Deprefer || !same(m.Targets, toA) {
		t.Errorf("%s, %s, to %v", m.State, d.Action, m.Targets)
	}
	if want := (Cause{Noticed: at(19.9), Confirmed: at(19.95)}); d.Cause != want {
		t.Errorf("cause %+v, want %+v", d.Cause, want)
	}
}

// TestTargetsKeepTheirWeights: headroom changes all the time, connections must not move for that.
func TestTargetsKeepTheirWeights(t *testing.T) {
	t.Parallel()
	from := vip(Bridged, 19.5).bridged(19.5, 19.9).targets([]Target{{"mec-2-a", 7}})
	if m, _, _ := decide(Service{}, from.memory, from.in); !cmp.Equal(m.Targets, toA) {
		t.Errorf("carried to %v", m.Targets)
	}
}
