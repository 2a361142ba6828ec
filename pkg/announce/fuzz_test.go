package announce

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/health"
)

func announced(s State) bool { return s.announcement() != Withdraw }

// inputOf makes an input of two octets.
func inputOf(a, b byte, now time.Time) Input {
	in := Input{Now: now, Health: health.Status{State: health.State(a & 3 % 3), Degraded: a&4 != 0}}
	if a&8 != 0 {
		in.Address = errNoAddr
	}
	in.Stop, in.Written, in.Hurry = a&16 != 0, a&64 != 0, a&128 != 0
	if a&32 != 0 {
		in.Drain = "drained"
	}
	in.Targets = [][]Target{nil, {{"a", 1}}, {{"b", 1}}, {{"a", 1}, {"b", 2}}}[b&3]
	if b&4 != 0 {
		in.Others = "somebody"
	}
	if b&8 != 0 {
		in.Brake = "braked"
	}
	in.Isolated = b&16 != 0
	in.Health.Rising = b&64 != 0 && in.Health.State == health.Down
	if b&32 != 0 {
		in.Busy = now
	}
	return in
}

// FuzzDecide checks what must hold whatever happens.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 1, 0, 1, 0, 2, 4, 1, 0, 1, 0, 1, 0}, int64(2), false)
	f.Add([]byte{2, 4, 1, 4, 9, 4, 1, 0, 2, 0, 17, 0}, int64(0), true)
	f.Add([]byte{1, 0, 1, 0, 33, 1, 33, 1, 33, 1, 33, 1, 97, 1, 1, 1, 1, 1, 17, 0, 17, 0, 145, 0}, int64(0x302), false)
	f.Add([]byte{1, 1, 1, 1, 2, 33, 2, 33, 2, 34, 2, 37, 2, 5, 2, 5, 2, 5, 1, 5, 1, 5}, int64(1), false)
	f.Add([]byte{1, 0, 2, 0, 2, 0, 2, 4, 2, 4, 2, 0, 2, 0, 1, 0, 1, 0, 1, 0}, int64(1), false)
	f.Fuzz(keepsRules)
}

// TestDecideRandom is the same without a fuzzer.
func TestDecideRandom(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewChaCha8([32]byte{4}))
	for range 500 {
		inputs := make([]byte, 200)
		sticky := [2]byte{} // most inputs stay for a while, orders are rare
		for i := 0; i < len(inputs); i += 2 {
			if random.IntN(3) == 0 {
				sticky = [2]byte{byte(random.IntN(3)), byte(random.Uint32())}
				if random.IntN(8) == 0 {
					sticky[0] = byte(random.Uint32())
				}
				if random.IntN(20) != 0 {
					sticky[0] &^= 16 // stopping is for good
				}
			}
			inputs[i], inputs[i+1] = sticky[0], sticky[1]
		}
		keepsRules(t, inputs, int64(random.IntN(4)|random.IntN(4)<<8), random.IntN(4) == 0)
	}
}

// keepsRules has a VIP go through inputs, four in a second.
func keepsRules(t *testing.T, inputs []byte, settle int64, closed bool) {
	s := Service{Settle: time.Duration(settle&0xff) * time.Second, Drain: time.Duration(settle>>8&0xff) * time.Second}
	s.Guard = Guard{Withdrawals: 3, Per: time.Minute}.withDefaults()
	if closed {
		s.Guard.Fail = Closed
	}
	var m Memory
	var since time.Time
	var was health.State
	for i := 0; i+1 < min(len(inputs), 1000); i += 2 {
		now := at(float64(i) / 8)
		in := inputOf(inputs[i], inputs[i+1], now)
		if in.Health.State != was {
			since, was = now, in.Health.State
		}
		in.Health.Since, in.Health.Noticed = since, since
		next, d, again := Decide(Times{}.withDefaults(), s, m, in)
		for rule, broken := range broken(s, m, next, d, again, in) {
			if broken {
				t.Fatalf("step %d: %s: from %+v to %+v by %+v, %+v, again %v", i/2, rule, m, next, d, in, again)
			}
		}
		m = next
	}
}

// broken are the rules of one step, and whether it breaks them.
func broken(s Service, m, next Memory, d Decision, again time.Time, in Input) map[string]bool {
	up, down := in.Health.State == health.Up, in.Health.State == health.Down
	orders := in.Stop || in.Drain != ""
	is, was := next.State.announcement(), m.State.announcement()
	left := s.Guard.recent(m.Left, in.Now)
	return map[string]bool{
		"plainly announced anew only when up for long enough, here, and without orders": is == Announce && was != Announce && m.State != Draining &&
			m.State != Degraded && (!up || orders || in.Now.Sub(in.Health.Since) < s.Settle || was == Withdraw && in.Address != nil),
		"plainly announced anew only within the budget":            is == Announce && was != Announce && m.State.sick() && s.Guard.exhausted(len(left)),
		"the action leads from state to state":                     (d.Action == None) != (was == is) || d.Action != None && d.Action != is,
		"degraded is told":                                         up && !orders && next.State.served() && (next.State == Degraded) != in.Health.Degraded,
		"stopping is for good":                                     m.State == Stopping && next.State != Stopping,
		"down is not announced plainly unless bridged":             down && is == Announce && len(next.Targets) == 0,
		"down is announced only for a reason":                      down && announced(next.State) && len(next.Targets) == 0 && next.State != Held,
		"closed is not announced while it is down and not bridged": s.Guard.Fail == Closed && down && announced(next.State) && len(next.Targets) == 0,
		"open is not withdrawn for sickness when nobody else announces it": s.Guard.Fail == Open && next.State == Withdrawn && announced(m.State) &&
			(in.Others == "" || in.Brake != ""),
		"never withdrawn while up, but by order":    up && !orders && announced(m.State) && !announced(next.State) && m.State != Draining,
		"nobody is bridged to who cannot serve":     m.State != Stopping && len(next.Targets) > 0 && !same(next.Targets, in.Targets),
		"what is served here is not bridged":        next.State.served() && (len(next.Targets) > 0 || !next.Sick.IsZero()),
		"bridged since when tells whether":          (len(next.Targets) > 0) != !next.Bridged.IsZero(),
		"the next look lies ahead":                  !again.IsZero() && !again.After(in.Now),
		"nothing is noticed before it happens":      m.moved(next) && d.Noticed.After(in.Now),
		"a guard holds only what is announced sick": next.Hold != NoHold && !next.State.marked(),
		"well is up and not announced in full":      next.Well && (down || next.State.level() == plainly || next.Suppressed.IsZero()),
		"going away is counted, and forgotten":      len(next.Left) > len(left)+1,
	}
}
