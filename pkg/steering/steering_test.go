package steering

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func endpoints(states ...any) []Endpoint {
	var list []Endpoint
	for i := 0; i < len(states); i += 2 {
		list = append(list, Endpoint{Address: netip.MustParseAddr(states[i].(string)), State: states[i+1].(State)})
	}
	return list
}

func texts(addrs []netip.Addr) []string {
	var list []string
	for _, a := range addrs {
		list = append(list, a.String())
	}
	return list
}

func TestEligible(t *testing.T) {
	const panicking = "no endpoint is up: answering with all of them"
	tests := []struct {
		name      string
		endpoints []Endpoint
		v6, v4    []string
		why6      string
		why4      string
	}{
		{name: "no endpoints"},
		{name: "all up", endpoints: endpoints("::1", Up, "::2", Up, "10.0.0.1", Up), v6: []string{"::1", "::2"}, v4: []string{"10.0.0.1"}},
		{name: "down ones are left out", endpoints: endpoints("::1", Down, "::2", Up), v6: []string{"::2"}},
		{name: "unknown ones are left out", endpoints: endpoints("::1", Unknown, "::2", Up), v6: []string{"::2"}},
		{name: "an address counts once", endpoints: endpoints("::1", Down, "::1", Up, "::1", Up), v6: []string{"::1"}},
		{name: "mapped ones are IPv4", endpoints: endpoints("::ffff:10.0.0.1", Up), v4: []string{"10.0.0.1"}},
		{name: "no address", endpoints: []Endpoint{{State: Up}}},
		{name: "none up: all", endpoints: endpoints("::1", Down, "::2", Unknown), v6: []string{"::1", "::2"}, why6: panicking},
		{name: "what is down and drains is no help", endpoints: []Endpoint{drains("::1", Down), down("::2")}, v6: []string{"::2"}, why6: panicking},
		{name: "all drain and are down: all", endpoints: []Endpoint{drains("::1", Down), drains("::2", Down)}, v6: []string{"::1", "::2"}, why6: panicking},
		{name: "draining ones are left out", endpoints: []Endpoint{drains("::1", Up), up("::2")}, v6: []string{"::2"}},
		{name: "unless nothing else serves", endpoints: []Endpoint{drains("::1", Up), down("::2")}, v6: []string{"::1"}},
		{
			name: "panic of one family only", endpoints: endpoints("::1", Up, "10.0.0.1", Down),
			v6: []string{"::1"}, v4: []string{"10.0.0.1"}, why4: panicking,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Service{Endpoints: tt.endpoints}
			for f, want := range map[Family]struct {
				addrs []string
				why   string
			}{IPv6: {tt.v6, tt.why6}, IPv4: {tt.v4, tt.why4}} {
				addrs, panicking, why := s.Eligible(f)
				if diff := cmp.Diff(want.addrs, texts(addrs)); diff != "" || why != want.why || panicking != (why != "") {
					t.Errorf("family %d: panic %v %q (-want +got):\n%s", f, panicking, why, diff)
				}
			}
		})
	}
}

func up(a string) Endpoint   { return endpoints(a, Up)[0] }
func down(a string) Endpoint { return endpoints(a, Down)[0] }

func drains(a string, s State) Endpoint {
	e := endpoints(a, s)[0]
	e.Draining = true
	return e
}

func TestPanic(t *testing.T) {
	sized := func(e Endpoint, capacity float64) Endpoint {
		e.Capacity = capacity
		return e
	}
	unknown := endpoints("::9", Unknown)[0]
	elsewhere := []netip.Addr{netip.MustParseAddr("2001:db8:2::1"), netip.MustParseAddr("2001:db8:2::1"), netip.MustParseAddr("::ffff:192.0.2.1")}
	for _, tt := range []struct {
		name      string
		panic     Panic
		endpoints []Endpoint
		want      []string
		why       string
	}{
		{name: "just enough", panic: Panic{Below: 0.5}, endpoints: []Endpoint{up("::1"), down("::2")}, want: []string{"::1"}},
		{
			name: "too little", panic: Panic{Below: 0.5}, endpoints: []Endpoint{up("::1"), down("::2"), down("::3")},
			want: []string{"::1", "::2", "::3"}, why: "only 33 % of the weight is up: answering with all of them",
		},
		{name: "weight counts, not number", panic: Panic{Below: 0.5}, endpoints: []Endpoint{sized(up("::1"), 2), down("::2"), down("::3")}, want: []string{"::1"}},
		{name: "who was never looked at is not sick", panic: Panic{Below: 0.5}, endpoints: []Endpoint{up("::1"), unknown, unknown}, want: []string{"::1"}},
		{name: "who drains does not count", panic: Panic{Below: 0.5}, endpoints: []Endpoint{up("::1"), drains("::2", Up), drains("::3", Down)}, want: []string{"::1"}},
		{name: "none: those that are up", panic: Panic{Below: 0.9, Mode: PanicNone}, endpoints: []Endpoint{up("::1"), down("::2")}, want: []string{"::1"}},
		{
			name: "none: and nothing else", panic: Panic{Below: 0.9, Mode: PanicNone}, endpoints: []Endpoint{down("::1"), down("::2")},
			why: "no endpoint is up: answering with none",
		},
		{name: "none: of nothing", panic: Panic{Below: 0.9, Mode: PanicNone}},
		{
			name: "other site", panic: Panic{Below: 0.9, Mode: PanicOther, Fallback: elsewhere}, endpoints: []Endpoint{up("::1"), down("::2")},
			want: []string{"2001:db8:2::1"}, why: "only 50 % of the weight is up: answering with another site",
		},
		{
			name: "other site of the other family", panic: Panic{Mode: PanicOther, Fallback: elsewhere[2:]}, endpoints: []Endpoint{down("::1")},
			want: []string{"::1"}, why: "no endpoint is up: answering with all of them",
		},
		{
			name: "those that drain help where too few stay", panic: Panic{Below: 0.5}, endpoints: []Endpoint{up("::1"), down("::2"), down("::3"), down("::4"), drains("::5", Up), drains("::6", Up)},
			want: []string{"::1", "::5", "::6"},
		},
		{
			name: "or in panic", panic: Panic{Below: 0.5}, endpoints: []Endpoint{up("::1"), down("::2"), down("::3"), down("::4"), down("::5"), drains("::6", Up)},
			want: []string{"::1", "::2", "::3", "::4", "::5", "::6"}, why: "only 20 % of the weight is up: answering with all of them",
		},
		{name: "those that drain come before panic", panic: Panic{Below: 0.5, Mode: PanicOther, Fallback: elsewhere}, endpoints: []Endpoint{drains("::1", Up), down("::2")}, want: []string{"::1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addrs, _, why := Service{Panic: tt.panic, Endpoints: tt.endpoints}.Eligible(IPv6)
			if diff := cmp.Diff(tt.want, texts(addrs)); diff != "" || why != tt.why {
				t.Errorf("%q, want %q (-want +got):\n%s", why, tt.why, diff)
			}
		})
	}
}

func TestSynced(t *testing.T) {
	if (Service{Endpoints: endpoints("::1", Up, "::2", Unknown)}).Synced() {
		t.Error("synced though an endpoint has no verdict")
	}
	if !(Service{Endpoints: endpoints("::1", Up, "::2", Down)}).Synced() {
		t.Error("not synced though every endpoint has a verdict")
	}
}

// Whatever the numbers: an answer has distinct addresses, as many as asked for and there are, and over any window of as
// many answers as there are addresses, each address is given equally often, and comes first once.
func TestPickIsFair(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		n, answers := 1+random.IntN(20), 1+random.IntN(20)
		s := Service{Policy: RoundRobin, Answers: answers}
		for i := range n {
			s.Endpoints = append(s.Endpoints, Endpoint{Address: netip.AddrFrom16([16]byte{0xfd, 15: byte(i)}), State: Up})
		}
		p := NewPicker(s, IPv6, random.Uint64())
		for range random.IntN(n) { // where the window begins
			p.Pick(nil, netip.Prefix{})
		}
		count, first := map[netip.Addr]int{}, map[netip.Addr]int{}
		for range n {
			got := p.Pick(nil, netip.Prefix{})
			if len(got) != min(n, answers) || len(slices.Compact(slices.SortedFunc(slices.Values(got), netip.Addr.Compare))) != len(got) {
				t.Fatalf("%d of %d: picked %v", answers, n, got)
			}
			first[got[0]]++
			for _, a := range got {
				count[a]++
			}
		}
		for a, c := range count {
			if c != min(n, answers) || first[a] != 1 {
				t.Fatalf("%d of %d: %v was picked %d times in %d answers and first %d times, want %d and 1", answers, n, a, c, n, first[a], min(n, answers))
			}
		}
	}
}

func TestPickStartsAnywhere(t *testing.T) {
	s := Service{Policy: RoundRobin, Answers: 1, Endpoints: endpoints("::1", Up, "::2", Up, "::3", Up)}
	for start, want := range map[uint64]string{0: "::1", 1: "::2", 5: "::3"} {
		if got := texts(NewPicker(s, IPv6, start).Pick(nil, netip.Prefix{})); !slices.Equal(got, []string{want}) {
			t.Errorf("start %d: %v, want %s", start, got, want)
		}
	}
}

func TestPickConcurrently(t *testing.T) {
	s := Service{Policy: RoundRobin, Answers: 1, Endpoints: endpoints("::1", Up, "::2", Up)}
	p := NewPicker(s, IPv6, 0)
	var mu sync.Mutex
	count := map[string]int{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				got := p.Pick(nil, netip.Prefix{})[0].String()
				mu.Lock()
				count[got]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if diff := cmp.Diff(map[string]int{"::1": 400, "::2": 400}, count); diff != "" {
		t.Errorf("picks (-want +got):\n%s", diff)
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	p := NewPicker(Service{Policy: RoundRobin, Answers: 2, Endpoints: endpoints("::1", Up, "::2", Up, "::3", Up)}, IPv6, 0)
	buf := make([]netip.Addr, 0, 2)
	if n := testing.AllocsPerRun(100, func() { p.Pick(buf, netip.Prefix{}) }); n != 0 {
		t.Errorf("Pick allocates %v times", n)
	}
}

func TestNothingToPick(t *testing.T) {
	p := NewPicker(Service{Policy: RoundRobin, Answers: 2, Endpoints: endpoints("::1", Up)}, IPv4, 7)
	if got := p.Pick(nil, netip.Prefix{}); got != nil || !p.Empty() || p.Panic() != "" {
		t.Errorf("picked %v, empty %v, panic %q: want nothing, without panic", got, p.Empty(), p.Panic())
	}
}

func BenchmarkPick(b *testing.B) {
	p := NewPicker(Service{Policy: RoundRobin, Answers: 2, Endpoints: endpoints("::1", Up, "::2", Up, "::3", Up)}, IPv6, 0)
	buf := make([]netip.Addr, 0, 4)
	b.ReportAllocs()
	for b.Loop() {
		buf = p.Pick(buf[:0], netip.Prefix{})
	}
}
