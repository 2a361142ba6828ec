package steering

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// The rules that the table does not show, each with what it is for, and without.

// A variant is what ships, with a hand on its service before each step.
type variant struct {
	*product
	before func(now float64, s *Service)
	deaf   func(now float64) bool // it hears no metrics
}

func (a variant) observe(now float64, samples []sample) {
	if a.before != nil {
		a.before(now, &a.service)
	}
	if a.deaf != nil && a.deaf(now) {
		return
	}
	a.product.observe(now, samples)
}

// with makes variants of a service.
func with(policy Policy, answers int, change func(*Service), before func(now float64, s *Service)) func(*rand.Rand, scenario) algorithm {
	return func(random *rand.Rand, s scenario) algorithm {
		a := ours(InFlight, answers)(random, s).(*product)
		a.service.Policy = policy
		if change != nil {
			change(&a.service)
		}
		if before != nil {
			before(0, &a.service)
		}
		a.picker = NewPicker(a.service, IPv6, random.Uint64())
		return variant{product: a, before: before}
	}
}

// p99 is that of a scenario in milliseconds, the mean of two seeds.
func (s scenario) p99(build func(*rand.Rand, scenario) algorithm) float64 {
	return 500 * (s.run(1, build).p99 + s.run(2, build).p99)
}

// lost is how many requests failed, of two seeds.
func (s scenario) lost(build func(*rand.Rand, scenario) algorithm) float64 {
	return float64(s.run(1, build).failed + s.run(2, build).failed)
}

func shorter(last float64) scenario {
	s := columns[1].scenario
	s.last = last
	return s
}

// better wants that a rule makes at most a part of what is without it.
func better(t *testing.T, what string, with, without, part float64) {
	t.Helper()
	t.Logf("%s: %.0f, without the rule %.0f", what, with, without)
	if with > part*without {
		t.Errorf("%s: %.0f, want at most %.2f of the %.0f without the rule", what, with, part, without)
	}
}

// Rule 4: the metrics end in a moment when five pods were slow. Weights that stay overload the others for ever.
func TestSimStaleness(t *testing.T) {
	s := shorter(300)
	s.change = func(now float64, pods []*simPod) {
		for _, p := range pods[:5] {
			if p.rate = 100; now >= 20 && now < 60 {
				p.rate = 45
			}
		}
	}
	gone := func(now float64) bool { return now >= 60 }
	build := func(heard bool) func(*rand.Rand, scenario) algorithm {
		return func(random *rand.Rand, s scenario) algorithm {
			a := variant{product: ours(InFlight, 1)(random, s).(*product)}
			if a.deaf = gone; heard {
				a.before = func(now float64, _ *Service) {
					if gone(now) {
						a.step(now, nil)
					}
				}
			}
			return a
		}
	}
	better(t, "p99 in ms after the collector is gone", s.p99(build(true)), s.p99(build(false)), 0.9)
}

// Rule 5: a pod that comes is cold: for half a minute it has a fifth of its capacity.
func TestSimSlowStart(t *testing.T) {
	const born = 70
	s := shorter(60)
	s.change = func(now float64, pods []*simPod) {
		if pods[0].rate = 100; now < born+30 {
			pods[0].rate = 20
		}
	}
	arrives := func(now float64, s *Service) {
		if s.Endpoints[0].State, s.Endpoints[0].Since = Up, simTime(born); now < born {
			s.Endpoints[0].State = Down
		}
	}
	better(t, "p99 in ms while a cold pod comes",
		s.p99(with(Capacity, 1, func(s *Service) { s.SlowStart = DefaultSlowStart }, arrives)), s.p99(with(Capacity, 1, nil, arrives)), 0.7)
}

// Rule 5: a pod is told to end, and is gone 10 s later.
func TestSimDrain(t *testing.T) {
	s := shorter(60)
	s.change = func(_ float64, pods []*simPod) { pods[0].gone = 90 }
	drains := func(now float64, s *Service) { s.Endpoints[0].Draining = now >= 80 }
	dies := func(now float64, s *Service) {
		if s.Endpoints[0].State = Up; now >= 90 {
			s.Endpoints[0].State = Down
		}
	}
	if lost := s.lost(with(Capacity, 1, nil, drains)); lost > 0 {
		t.Errorf("%.0f requests lost to a drained pod", lost)
	}
	if lost := s.lost(with(Capacity, 1, nil, dies)); lost == 0 {
		t.Error("a pod that dies loses nothing: the scenario shows nothing")
	}
}

// Rule 7: what one answer, two, and all make of few big resolvers.
func TestSimAnswers(t *testing.T) {
	s := shorter(200)
	s.resolvers, s.zipf = 100, 1
	better(t, "p99 in ms of 100 resolvers with two answers", s.p99(ours(InFlight, 2)), s.p99(ours(InFlight, 1)), 0.7)
}

// Rule 8: two near pods can serve five sixths of what is asked for, four others are 6 ms away.
func TestSimClosest(t *testing.T) {
	s := shorter(300)
	s.capacities, s.load, s.extra = []float64{100, 100, 100, 100, 100, 100}, 240, []float64{0, 0, 0.006, 0.006, 0.006, 0.006}
	far := func(s *Service) {
		for i := range s.Endpoints[2:] {
			s.Endpoints[2+i].Distance = 6 * time.Millisecond
		}
	}
	never := func(_ float64, s *Service) { s.Spill = 0 }
	spills, stays := with(ClosestCapacity, 1, far, nil), func(random *rand.Rand, s scenario) algorithm {
		a := with(ClosestCapacity, 1, far, never)(random, s).(variant)
		a.deaf = func(float64) bool { return true }
		return a
	}
	better(t, "p99 in ms with the near ones overloaded", s.p99(spills), s.p99(stays), 0.1)

	s.load = 60
	if took := s.run(1, spills).took; took[2]+took[3]+took[4]+took[5] > 0.05*(took[0]+took[1]) {
		t.Errorf("with little to do the far ones got %v", took)
	}
}

// Rule 9: a check is wrong about six of ten pods. The four others cannot carry the load of all.
func TestSimPanic(t *testing.T) {
	s := shorter(120)
	wrong := func(_ float64, s *Service) {
		for i := range s.Endpoints[:6] {
			s.Endpoints[i].State = Down
		}
	}
	panics := with(Capacity, 1, func(s *Service) { s.Panic.Below = DefaultPanicBelow }, wrong)
	better(t, "p99 in ms with a check that is wrong", s.p99(panics), s.p99(with(Capacity, 1, nil, wrong)), 0.1)
}

// Rule 10: a pod dies and its check tells after 3 s. The check's time bounds the TTL.
func TestSimTTL(t *testing.T) {
	s := shorter(60)
	s.change = func(_ float64, pods []*simPod) { pods[0].gone = 90 }
	dies := func(now float64, s *Service) {
		for i := range s.Endpoints {
			s.Endpoints[i].Holds = 3 * time.Second
		}
		if now >= 93 {
			s.Endpoints[0].State = Down
		}
	}
	build := with(Capacity, 1, nil, dies)
	checked := s
	checked.ttl = always(TTL(3*time.Second, time.Second, 30*time.Second).Seconds())
	s.ttl = always(30)
	better(t, "requests lost to a pod that died", checked.lost(build), s.lost(build), 0.5)
}

// The bound of hash: the clients of one pod ask much more than those of others.
func TestSimHash(t *testing.T) {
	s := shorter(300)
	s.resolvers, s.zipf = 200, 0.9
	deaf := func(random *rand.Rand, s scenario) algorithm {
		a := with(Hash, 1, nil, nil)(random, s).(variant)
		a.deaf = func(float64) bool { return true }
		return a
	}
	better(t, "p99 in ms by hash", s.p99(with(Hash, 1, nil, nil)), s.p99(deaf), 0.5)
	// Nobody is sent about who need not be.
	before, after := weighted(Hash, 1, 1, 1, 1, 1), weighted(Hash, 1, 1, 1, 1, 1)
	after.Endpoints[0].Factor = 0.8
	a, b := NewPicker(before, IPv6, 0), NewPicker(after, IPv6, 0)
	for n := range uint32(1000) {
		was, is := a.Pick(nil, client(n<<8)), b.Pick(nil, client(n<<8))
		if !slices.Equal(was, is) && was[0] != netip.MustParseAddr("::1") {
			t.Fatalf("client %d was moved from %v to %v", n, was, is)
		}
	}
}
