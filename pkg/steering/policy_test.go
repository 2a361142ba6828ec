package steering

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// weighted is a service of policy p with an endpoint for each capacity, ::1 the first.
func weighted(p Policy, answers int, capacities ...float64) Service {
	s := Service{Policy: p, Answers: answers}
	for i, c := range capacities {
		s.Endpoints = append(s.Endpoints, Endpoint{Address: number(i + 1), State: Up, Capacity: c})
	}
	return s
}

func number(n int) netip.Addr { return netip.AddrFrom16([16]byte{14: byte(n >> 8), 15: byte(n)}) }

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestCapacityOrder(t *testing.T) {
	for _, tt := range []struct {
		capacities []float64
		want       []string
	}{
		{[]float64{5, 1, 1}, []string{"::1", "::1", "::1", "::2", "::1", "::1", "::3"}},
		{[]float64{2, 1, 1}, []string{"::1", "::2", "::1", "::3"}},
		{[]float64{100, 50, 75}, []string{"::1", "::3", "::1", "::2", "::3", "::1", "::1", "::2", "::3"}},
		{[]float64{0.5, 0.25}, []string{"::1", "::1", "::2"}},
		{[]float64{0, math.NaN(), math.Inf(1), -1}, []string{"::1", "::2", "::3", "::4"}},
		{[]float64{math.MaxFloat64, math.MaxFloat64}, []string{"::1", "::2"}},
	} {
		p := NewPicker(weighted(Capacity, 1, tt.capacities...), IPv6, 0)
		var got []string
		for range tt.want {
			got = append(got, p.Pick(nil, netip.Prefix{})[0].String())
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.capacities, diff)
		}
	}
}

// Whatever the capacities and whenever one looks: every endpoint has had its share, to less than one turn and,
// where shares had to be rounded to a cycle, one more.
func TestCapacityIsFairAndSmooth(t *testing.T) {
	random := seeded(t)
	for range 100 {
		capacities := make([]float64, 1+random.IntN(30))
		total := 0.0
		for i := range capacities {
			capacities[i] = float64(1 + random.IntN(20))
			if random.IntN(2) == 0 {
				capacities[i] += random.Float64()
			}
			total += capacities[i]
		}
		p := NewPicker(weighted(Capacity, 1, capacities...), IPv6, random.Uint64())
		p.next.Store(0) // the cycle begins here: shares hold from its start to anywhere
		count := make(map[netip.Addr]int)
		for n := range p.order {
			count[p.Pick(nil, netip.Prefix{})[0]]++
			for i, c := range capacities {
				if share := c / total * float64(n+1); math.Abs(share-float64(count[number(i+1)])) >= 2 {
					t.Fatalf("%v: ::%x had %d of %d answers, its share is %v", capacities, i+1, count[number(i+1)], n+1, share)
				}
			}
		}
		for i, c := range capacities {
			if share := c / total * float64(len(p.order)); math.Abs(share-float64(count[number(i+1)])) > 1+1e-6 {
				t.Fatalf("%v: ::%x had %d in a cycle of %d, its share is %v", capacities, i+1, count[number(i+1)], len(p.order), share)
			}
		}
	}
}

// Between whole numbers nothing is rounded: less than one turn off, at any time.
func TestOrderIsSmooth(t *testing.T) {
	random := seeded(t)
	for range 100 {
		turns, cycle := make([]int, 1+random.IntN(20)), 0
		for i := range turns {
			turns[i] = 1 + random.IntN(30)
			cycle += turns[i]
		}
		had := make([]int, len(turns))
		for n, i := range order(turns, nil) {
			had[i]++
			for j := range turns {
				if off := turns[j]*(n+1) - had[j]*cycle; off <= -cycle || off >= cycle {
					t.Fatalf("%v: after %d of %d, %d had %d turns", turns, n+1, cycle, j, had[j])
				}
			}
		}
		if !slices.Equal(turns, had) {
			t.Fatalf("%v turns were given, want %v", had, turns)
		}
	}
}

func TestCyclesAreBounded(t *testing.T) {
	for _, capacities := range [][]float64{
		{1, 1e300}, {math.SmallestNonzeroFloat64, math.MaxFloat64, 1}, {math.Pi, math.E, 1}, slices.Repeat([]float64{7, 11.3}, 1000),
	} {
		turns := shares(capacities)
		sum := 0
		for _, n := range turns {
			if n < 1 {
				t.Errorf("somebody never gets a turn: %v", turns)
			}
			sum += n
		}
		if most := max(maxCycle, 4*len(capacities)) + len(capacities); sum > most {
			t.Errorf("a cycle of %d, want at most %d", sum, most)
		}
	}
}

func TestAnswersAreDistinct(t *testing.T) {
	random := seeded(t)
	for range 100 {
		n, answers := 1+random.IntN(20), 1+random.IntN(20)
		capacities := make([]float64, n)
		for i := range capacities {
			capacities[i] = math.Exp(10 * random.Float64())
		}
		for _, policy := range []Policy{Capacity, Hash} {
			p := NewPicker(weighted(policy, answers, capacities...), IPv6, random.Uint64())
			got := p.Pick(nil, client(random.Uint32()))
			if len(got) != min(n, answers) || len(slices.Compact(slices.SortedFunc(slices.Values(got), netip.Addr.Compare))) != len(got) {
				t.Fatalf("%s, %d of %d: picked %v", policy, answers, n, got)
			}
		}
	}
}

func client(n uint32) netip.Prefix {
	a := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(n >> 24), byte(n >> 16), byte(n >> 8)})
	return netip.PrefixFrom(a, 56)
}

// An endpoint that goes away moves its own clients, and nobody else's; it takes nothing more than its share of them.
func TestHashDisruptsLittle(t *testing.T) {
	random := seeded(t)
	for range 50 {
		capacities := make([]float64, 2+random.IntN(10))
		for i := range capacities {
			capacities[i] = 1 + 9*random.Float64()
		}
		s := weighted(Hash, 1+random.IntN(3), capacities...)
		gone := random.IntN(len(capacities))
		before := NewPicker(s, IPv6, 1)
		left := s
		left.Endpoints = slices.Clone(s.Endpoints)
		left.Endpoints[gone].State = Down
		after := NewPicker(left, IPv6, 2)
		for range 200 {
			c := client(random.Uint32())
			was, is := before.Pick(nil, c), after.Pick(nil, c)
			stay := slices.DeleteFunc(slices.Clone(was), func(a netip.Addr) bool { return a == s.Endpoints[gone].Address })
			if len(is) < len(stay) || !slices.Equal(stay, is[:len(stay)]) {
				t.Fatalf("%v: without %v %v became %v", c, s.Endpoints[gone].Address, was, is)
			}
		}
	}
}

func TestHashSharesByCapacity(t *testing.T) {
	p := NewPicker(weighted(Hash, 1, 1, 2, 5), IPv6, 0)
	count := map[netip.Addr]float64{}
	const clients = 20000
	for i := range uint32(clients) {
		count[p.Pick(nil, client(i<<8))[0]]++
	}
	for i, share := range []float64{1. / 8, 2. / 8, 5. / 8} {
		if got := count[number(i+1)] / clients; math.Abs(got-share) > 0.02 {
			t.Errorf("::%d has %v of the clients, want %v", i+1, got, share)
		}
	}
}

func TestHashAllocatesNothing(t *testing.T) {
	p := NewPicker(weighted(Hash, 2, 1, 2, 5), IPv6, 0)
	buf := make([]netip.Addr, 0, 2)
	if n := testing.AllocsPerRun(100, func() { p.Pick(buf, client(7)) }); n != 0 {
		t.Errorf("Pick allocates %v times", n)
	}
}

// Turns go on when weights change: whatever becomes of them and however often, an endpoint is never two turns away from
// what its shares add up to.
func TestFollowIsSmooth(t *testing.T) {
	random := seeded(t)
	for range 10 {
		s := weighted(Capacity, 1, make([]float64, 2+random.IntN(12))...)
		p := NewPicker(s, IPv6, 0)
		due, had := make([]float64, len(s.Endpoints)), map[netip.Addr]float64{}
		for range 50 {
			for i := range s.Endpoints {
				s.Endpoints[i].Factor = 0.1 + 3.9*random.Float64()
			}
			p = p.Follow(s, IPv6)
			cycle, turns := float64(len(p.order)), make([]float64, len(due))
			for _, i := range p.order {
				turns[i]++
			}
			for range random.IntN(5) {
				had[p.Pick(nil, netip.Prefix{})[0]]++
				for i := range due {
					due[i] += turns[i] / cycle
					if off := due[i] - had[number(i+1)]; math.Abs(off) >= 2 {
						t.Fatalf("::%x is due %v turns and had %v", i+1, due[i], had[number(i+1)])
					}
				}
			}
		}
	}
}

// Endpoints that come and go in between are in their turns as well.
func TestFollowComingsAndGoings(t *testing.T) {
	p := NewPicker(weighted(Capacity, 1, 1, 1, 1, 1), IPv6, 0)
	p.Pick(nil, netip.Prefix{}) // ::1
	p.Pick(nil, netip.Prefix{}) // ::2
	s := weighted(Capacity, 1, 1, 1, 1, 1, 1)
	s.Endpoints[3].State = Down
	p = p.Follow(s, IPv6)
	var got []string
	for range 4 {
		got = append(got, texts(p.Pick(nil, netip.Prefix{}))...)
	}
	if diff := cmp.Diff([]string{"::3", "::5", "::1", "::2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	none := p.Follow(weighted(Capacity, 1), IPv6)
	if !none.Empty() || none.Follow(s, IPv6).Empty() || none.Follow(weighted(Hash, 1, 1), IPv6).Empty() {
		t.Error("a service that had no endpoint does not come back")
	}
}

func BenchmarkFollow(b *testing.B) {
	s := weighted(Capacity, 1, make([]float64, 100)...)
	p := NewPicker(s, IPv6, 0)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		for i := range s.Endpoints {
			s.Endpoints[i].Factor = 1 + float64((n+i)%17)/10
		}
		p = p.Follow(s, IPv6)
	}
}

func BenchmarkPickByHash(b *testing.B) {
	p := NewPicker(weighted(Hash, 1, make([]float64, 100)...), IPv6, 0)
	buf := make([]netip.Addr, 0, 4)
	b.ReportAllocs()
	for n := uint32(0); b.Loop(); n++ {
		buf = p.Pick(buf[:0], client(n<<8))
	}
}
