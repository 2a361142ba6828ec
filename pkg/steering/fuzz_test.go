package steering

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// choices makes decisions of the octets of a fuzzer, and the first of each when there are no more.
type choices []byte

func (c *choices) octet() byte {
	if len(*c) == 0 {
		return 0
	}
	b := (*c)[0]
	*c = (*c)[1:]
	return b
}

func (c *choices) below(n int) int { return int(c.octet()) % n }

// number is any float, NaN and infinities too, or one that makes sense: those are rare among all bit patterns.
func (c *choices) number() float64 {
	switch c.below(4) {
	case 0:
		return 1
	case 1:
		return float64(c.octet()) / 16
	case 2:
		return []float64{0, math.NaN(), math.Inf(1), math.Inf(-1), -1, math.MaxFloat64, math.SmallestNonzeroFloat64, 1e12}[c.below(8)]
	default:
		var b [8]byte
		for i := range b {
			b[i] = c.octet()
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b[:]))
	}
}

func (c *choices) service(now time.Time) Service {
	s := Service{
		Policy: Policy(c.below(7)), Answers: c.below(20) - 1, Spill: c.number(), SlowStart: time.Duration(c.below(3)) * 10 * time.Second,
		Panic: Panic{Below: c.number(), Mode: PanicMode(c.below(4))},
	}
	if c.below(2) == 1 {
		s.Panic.Fallback = []netip.Addr{number(1000), netip.AddrFrom4([4]byte{192, 0, 2, 1}), {}}
	}
	for n := c.below(40); n > 0; n-- {
		e := Endpoint{
			Address: number(c.below(64)), State: State(c.below(4)), Capacity: c.number(), Factor: c.number(), Draining: c.below(4) == 3,
			Distance: time.Duration(c.below(5)-1) * time.Millisecond, Holds: time.Duration(c.below(3)-1) * time.Second,
		}
		switch c.below(5) {
		case 0:
			e.Address = netip.AddrFrom4([4]byte{10, 0, 0, c.octet()})
		case 1:
			e.Since, e.Near = now.Add(time.Duration(c.below(60)-5)*time.Second), true
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func (c *choices) loads(now time.Time, n int) (all []Load) {
	for range n + c.below(2) { // or one too many
		l := Load{At: now.Add(time.Duration(c.below(8)-6) * time.Second)}
		for _, r := range []*Reading{&l.InFlight, &l.Latency, &l.CPU} {
			if c.below(2) == 1 {
				*r = Read(c.number())
			}
		}
		all = append(all, l)
	}
	return all
}

// FuzzRanking: whatever endpoints are and tell, weights are numbers above 0 and within bounds, shares add up to 1, and answers
// are distinct addresses of those that may answer; nothing is lost from one picker to the next.
func FuzzRanking(f *testing.F) {
	f.Add([]byte{})
	for _, policy := range []Policy{RoundRobin, Capacity, Hash, Closest, ClosestCapacity} {
		f.Add(append([]byte{byte(policy), 3, 0, 0, 0, 0, 0, 3}, slices.Repeat([]byte{1, 1, 0, 0, 0, 1, 1, 2}, 20)...))
		f.Add(append([]byte{byte(policy), 17, 1, 9, 2, 2, 1, 1, 39}, slices.Repeat([]byte{7, 1, 2, 4, 3, 2, 1, 0, 1, 9, 3, 255}, 40)...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := choices(b)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		var balancer Balancer
		var pickers [2]*Picker
		for range 4 {
			s := c.service(now)
			weights, again := balancer.Step(nil, now, s, c.loads(now, len(s.Endpoints)))
			if len(weights) != len(s.Endpoints) || !again.IsZero() && !again.After(now) {
				t.Fatalf("%d weights of %d endpoints, again at %v, it is %v", len(weights), len(s.Endpoints), again, now)
			}
			for i, w := range weights {
				if !(w.Factor >= leastFactor*rampFloor && w.Factor <= mostFactor) || w.Reason() == "" {
					t.Fatalf("weight %+v", w)
				}
				if c.below(4) > 0 {
					s.Endpoints[i].Factor = w.Factor
				}
			}
			if spill := balancer.Spill(); !(spill >= 0 && spill <= mostSpill) {
				t.Fatalf("spill %v", spill)
			}
			for family := range pickers {
				if pickers[family] == nil {
					pickers[family] = NewPicker(s, Family(family), uint64(c.octet())<<56)
				} else {
					pickers[family] = pickers[family].Follow(s, Family(family))
				}
				checkPicker(t, s, Family(family), pickers[family])
			}
			now = now.Add(time.Duration(c.below(10)) * time.Second)
		}
	})
}

func checkPicker(t *testing.T, s Service, f Family, p *Picker) {
	t.Helper()
	eligible, panicking, reason := s.Eligible(f)
	if p.Panic() != reason || panicking != (reason != "") || p.Empty() != (len(p.addrs) == 0) || len(p.addrs) > len(eligible) || p.Empty() != (len(eligible) == 0) {
		t.Fatalf("picker of %v, reason %q; eligible %v, reason %q", p.addrs, p.Panic(), eligible, reason)
	}
	if ttl := p.TTL(time.Second, time.Minute); ttl < time.Second || ttl > time.Minute || ttl%time.Second != 0 {
		t.Fatalf("TTL %v", ttl)
	}
	may := make(map[netip.Addr]bool, len(eligible))
	for _, a := range eligible {
		may[a] = true
	}
	shares, sum := p.Shares(), 0.0
	for a, share := range shares {
		if !(share > 0 && share <= 1) || !may[a] {
			t.Fatalf("%v has a share of %v", a, share)
		}
		sum += share
	}
	if !p.Empty() && math.Abs(sum-1) > 1e-9 || len(shares) != len(p.addrs) {
		t.Fatalf("shares %v add up to %v", shares, sum)
	}
	want := min(max(s.Answers, 1), len(p.addrs))
	for n := range uint32(8) {
		peeked := p.Peek(nil, client(n))
		picked := p.Pick(nil, client(n))
		if len(picked) != want || p.Size() != want || !slices.Equal(peeked, picked) {
			t.Fatalf("picked %v after a peek at %v: want %d, told %d", picked, peeked, want, p.Size())
		}
		for i, a := range picked {
			if contains(picked[:i], a) || shares[a] == 0 || a.Is4() != (f == IPv4) {
				t.Fatalf("picked %v of %v", picked, p.addrs)
			}
		}
	}
}

// Services come in all sizes: nobody, one, ten thousand.
func TestSizes(t *testing.T) {
	for _, n := range []int{0, 1, 2, 10_000} {
		capacities := make([]float64, n)
		for i := range capacities {
			capacities[i] = float64(i%7 + 1)
		}
		for _, policy := range []Policy{RoundRobin, Capacity, Hash, Closest, ClosestCapacity} {
			s := weighted(policy, 2, capacities...)
			var b Balancer
			b.Step(nil, time.Unix(1e9, 0), s, nil)
			p := NewPicker(s, IPv6, 12345)
			checkPicker(t, s, IPv6, p)
			checkPicker(t, s, IPv6, p.Follow(s, IPv6))
			if len(p.addrs) != n {
				t.Errorf("%s: %d of %d endpoints", policy, len(p.addrs), n)
			}
		}
	}
}
