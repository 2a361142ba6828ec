package announce

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/health"
)

// guarded returns services of one VIP, which all have a guard.
func guarded(n int, g Guard) Config {
	services := many(n)
	for i := range services {
		services[i].Settle, services[i].Guard = 2*time.Second, g
	}
	return Config{Services: services}
}

// Each guard is shown by the outage that it prevents: the same faults without it and with it.

// A new version of a check is rolled out to all sites, one after the other, and is wrong.
func TestLastAnnouncerPreventsOutage(t *testing.T) {
	t.Parallel()
	rollout := func(fail Fail) *toy {
		w := newToy(3, guarded(1, Guard{Fail: fail}))
		for _, s := range w.sites {
			s.set(0, true, health.Down)
			w.run(5 * time.Second)
		}
		w.run(30 * time.Second)
		return w
	}
	without, with := rollout(Closed), rollout(Open)
	if want := 3 * 30 * int(time.Second/tick); without.lost < want {
		t.Errorf("without the guard %d answers are lost, expected at least %d", without.lost, want)
	}
	if with.lost > 0 || with.routeless > 0 {
		t.Errorf("with the guard %d answers are lost, %d times there was no route", with.lost, with.routeless)
		with.dump(t)
	}
}

// A library that all checks use breaks everywhere at the same moment. Everybody still believes in the others.
func TestBrakePreventsOutage(t *testing.T) {
	t.Parallel()
	break_ := func(services int) *toy {
		cfg := guarded(4, Guard{})
		cfg.Guards.Brake.Services = services
		w := newToy(3, cfg)
		w.peers = true
		for _, s := range w.sites {
			for i := range s.services {
				s.set(i, true, health.Down)
			}
		}
		w.run(10 * time.Second)
		return w
	}
	without, with := break_(-1), break_(0)
	if without.routeless == 0 || without.lost == 0 {
		t.Error("without the brake nothing is lost")
	}
	if with.lost > 0 || with.routeless > 0 {
		t.Errorf("with the brake %d answers are lost, %d times there was no route", with.lost, with.routeless)
		with.dump(t)
	}
}

// A service crashes again and again. Routers suppress what flaps (RFC 2439), and go on with that after it has become stable.
func TestBudgetPreventsOutage(t *testing.T) {
	t.Parallel()
	flap := func(g Guard) *toy {
		w := newToy(1, guarded(1, g))
		w.damp = true
		for range 60 {
			w.sites[0].fail(0)
			w.run(4 * time.Second)
			w.sites[0].heal(0)
			w.run(4 * time.Second)
		}
		w.lost = 0
		w.run(2 * time.Minute)
		return w
	}
	without, with := flap(Guard{Withdrawals: -1, HoldDown: HoldDown{Base: -1}}), flap(Guard{})
	if without.lost == 0 || without.updates < 100 {
		t.Errorf("without the guard: %d UPDATEs, %d answers lost", without.updates, without.lost)
	}
	if with.lost > 0 {
		t.Errorf("with the guard %d answers are lost", with.lost)
		with.dump(t)
	}
	if withdrawals := (Guard{}.withDefaults().Withdrawals); with.updates > 2*withdrawals {
		t.Errorf("%d UPDATEs, with a budget of %d", with.updates, withdrawals)
	}
	for _, only := range []struct {
		name  string
		guard Guard
		most  int // UPDATEs
	}{
		{"the budget", Guard{Withdrawals: 3, HoldDown: HoldDown{Base: -1}}, 2*3 + 1},
		{"the hold-down", Guard{Withdrawals: -1}, 2 * 4}, // after the fourth time it must be up for 8 s
	} {
		if w := flap(only.guard); w.lost > 0 || w.updates > only.most {
			t.Errorf("with %s alone: %d answers lost, %d UPDATEs", only.name, w.lost, w.updates)
			w.dump(t)
		}
	}
}

// A database that all sites share is down. Who takes that for a sickness of its own withdraws together with all others.
func TestRemoteChecksPreventOutage(t *testing.T) {
	t.Parallel()
	down := func(remote bool) *toy {
		w := newToy(3, guarded(1, Guard{Fail: Closed}))
		for _, s := range w.sites {
			if remote {
				s.status[0].Degraded, s.status[0].DegradedReason = true, "database: refused"
			} else {
				s.set(0, true, health.Down)
			}
		}
		w.run(10 * time.Second)
		return w
	}
	if without := down(false); without.lost == 0 {
		t.Error("without the scope nothing is lost")
	}
	if with := down(true); with.lost > 0 || with.updates != 3 {
		t.Errorf("with it %d answers are lost, %d UPDATEs", with.lost, with.updates)
	}
}

// A service whose answers are wrong while it is sick: wrong is worse than none.
func TestFailClosedPreventsWrongAnswers(t *testing.T) {
	t.Parallel()
	all := func(fail Fail) *toy {
		w := newToy(3, guarded(1, Guard{Fail: fail}))
		for _, s := range w.sites {
			s.fail(0)
		}
		w.run(time.Second)
		w.poisoned = 0
		w.run(10 * time.Second)
		return w
	}
	if open := all(Open); open.poisoned == 0 {
		t.Error("fail open: nobody is answered")
	}
	if closed := all(Closed); closed.poisoned > 0 {
		t.Errorf("fail closed: %d wrong answers", closed.poisoned)
	}
}

// TestNobodyWithdrawsForLoad: what moves an announcement is listed, and there is no load in the list. Overload is for rate
// limits and weights; who withdraws for it moves it to the next site, and so on.
func TestNobodyWithdrawsForLoad(t *testing.T) {
	t.Parallel()
	var got []string
	for f := range reflect.TypeFor[Input]().Fields() {
		got = append(got, f.Name)
	}
	want := []string{"Now", "Health", "Address", "Isolated", "Targets", "Refused", "Busy", "Others", "Brake", "Drain", "Written", "Stop", "Hurry"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("think twice (-want +got)\n%s", diff)
	}
}

// TestRandomFaults: whatever fails wherever, and whatever checks say of it, nobody says more than the budget; and in the calm
// after it every VIP has a route, and every client is answered if a host works and the others can know it.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	for seed := range byte(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := &randomFaults{random: rand.New(rand.NewChaCha8([32]byte{seed}))}
			cfg := guarded(1+r.random.IntN(4), Guard{Withdrawals: 5})
			w := newToy(1+r.random.IntN(4), cfg)
			w.peers = r.random.IntN(3) > 0
			w.carry = w.peers && r.random.IntN(3) > 0
			r.toy = w
			for range 60 {
				r.fault()
				r.disturbed()
				if r.random.IntN(4) == 0 {
					r.calm(t)
				}
				if t.Failed() {
					t.Logf("%d sites, peers %v, bridges %v", len(w.sites), w.peers, w.carry)
					w.dump(t)
					return
				}
			}
			if most := 3 * (5 + 2) * len(w.sites) * len(cfg.Services); w.updates > most { // three for each time that one goes away
				t.Errorf("%d UPDATEs, more than %d", w.updates, most)
				w.dump(t)
			}
		})
	}
}

// randomFaults are a toy world in which things go wrong.
type randomFaults struct {
	*toy
	random *rand.Rand
}

// fault changes something somewhere, or the same everywhere.
func (r *randomFaults) fault() {
	site, service := r.random.IntN(len(r.sites)), r.random.IntN(len(r.sites[0].services))
	one := r.sites[site]
	switch r.random.IntN(8) {
	case 0, 1:
		one.fail(service)
	case 2, 3:
		one.heal(service)
	case 4:
		one.set(service, true, health.Down) // a false alarm
	case 5:
		for _, s := range r.sites {
			s.fail(service)
		}
	case 6:
		for _, s := range r.sites {
			s.heal(service)
		}
	case 7:
		if site > 0 { // one session always stands
			one.session = !one.session
		}
	}
}

// disturbed lets up to a few seconds pass.
func (r *randomFaults) disturbed() { r.run(time.Duration(r.random.IntN(3000)) * time.Millisecond) }

// calm lets everything settle, and then wants every answer that can be had, and a route in any case.
func (r *randomFaults) calm(t *testing.T) {
	t.Helper()
	r.run(8 * time.Second)
	for range 20 {
		r.step()
		for vip, of := range r.sites[0].vips {
			for client := range r.sites {
				at := r.route(client, vip)
				answered, _ := at.answers(vip, of.service)
				switch {
				case at == nil:
					t.Errorf("%v: no route to vip %d", r.now.Sub(start), vip)
				case !answered && r.known(vip, of.service):
					t.Errorf("%v: client %d has no answer of vip %d at %s, %s", r.now.Sub(start), client, vip, at.name(), at.memory[vip].State)
				default:
					continue
				}
				return
			}
		}
	}
}

// known tells whether a host works, has a session, and others can know it: without peers they learn it only from a full
// announcement. A budget that is used up keeps a sick host announced beside one that is held down: only a bridge helps there.
func (r *randomFaults) known(vip, service int) (known bool) {
	for _, s := range r.sites {
		if !r.carry && s.memory[vip].Hold == Budget {
			return false
		}
		if s.session && s.works[service] && s.status[service].State == health.Up && (r.peers || s.routed(vip) == plainly) {
			known = true
		}
	}
	return known
}

func TestHoldDown(t *testing.T) {
	t.Parallel()
	g := Guard{Withdrawals: 4, Per: time.Hour}.withDefaults()
	left := func(minutes ...int) (all []time.Time) {
		for _, m := range minutes {
			all = append(all, start.Add(-time.Duration(m)*time.Minute))
		}
		return all
	}
	for _, tt := range []struct {
		name string
		left []time.Time
		want time.Duration // after it came up
	}{
		{"never failed: settle", nil, 2 * time.Second},
		{"once", left(1), 2 * time.Second},
		{"twice", left(2, 1), 2 * time.Second},
		{"three times: twice as long", left(3, 2, 1), 4 * time.Second},
		{"four times", left(4, 3, 2, 1), 8 * time.Second},
		{"more than the budget: an hour after the oldest of five", left(59, 4, 3, 2, 1), time.Minute},
		{"what is older than an hour does not count", left(60, 4, 3, 2, 1), 8 * time.Second},
	} {
		if got := g.suppressed(2*time.Second, g.recent(tt.left, start), start).Sub(start); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := g.holdDown(100); got != 10*time.Minute {
		t.Errorf("grows to %s", got)
	}
}

func TestBrake(t *testing.T) {
	t.Parallel()
	ago := func(seconds ...int) (all []time.Time) {
		for _, s := range seconds {
			all = append(all, start.Add(-time.Duration(s)*time.Second))
		}
		return all
	}
	for _, tt := range []struct {
		name     string
		brake    Brake
		on       bool
		sick     []time.Time
		services int
		want     bool
	}{
		{"nobody is sick", Brake{}, false, nil, 10, false},
		{"half of ten at once", Brake{}, false, ago(0, 0, 0, 1, 9), 10, true},
		{"fewer than half", Brake{}, false, ago(0, 0, 0, 1), 10, false},
		{"one after the other", Brake{}, false, ago(0, 1, 2, 3, 10), 10, false},
		{"holds while as many are sick", Brake{}, true, ago(100, 100, 100, 100, 100), 10, true},
		{"until one is well", Brake{}, true, ago(100, 100, 100, 100), 10, false},
		{"both of two: not enough to tell", Brake{}, false, ago(0, 0), 2, false},
		{"a number", Brake{Services: 2}, false, ago(0, 0), 2, true},
		{"a share", Brake{Share: 0.9}, false, ago(0, 0, 0, 1, 9), 10, false},
		{"a window", Brake{Window: time.Minute}, false, ago(0, 1, 2, 3, 59), 10, true},
		{"off", Brake{Services: -1}, true, ago(0, 0, 0), 3, false},
	} {
		if got := tt.brake.withDefaults().holds(tt.on, start, tt.sick, tt.services); (got != "") != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}
