package steering

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever the policy: a peek is the next pick, and changes nothing.
func TestPeek(t *testing.T) {
	for _, policy := range []Policy{RoundRobin, Capacity, Hash} {
		p := NewPicker(weighted(policy, 2, 3, 1, 1, 2), IPv6, 3)
		for n := range uint32(20) {
			first, second := p.Peek(nil, client(n)), p.Peek(nil, client(n))
			if got := p.Pick(nil, client(n)); !slices.Equal(first, got) || !slices.Equal(second, got) {
				t.Fatalf("%s, pick %d: %v was %v and %v before", policy, n, got, first, second)
			}
		}
	}
	if got := NewPicker(Service{}, IPv6, 0).Peek(nil, netip.Prefix{}); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestShares(t *testing.T) {
	for policy, want := range map[Policy]map[netip.Addr]float64{
		RoundRobin: {number(1): 0.5, number(2): 0.5},
		Capacity:   {number(1): 0.75, number(2): 0.25},
		Hash:       {number(1): 0.75, number(2): 0.25},
	} {
		if diff := cmp.Diff(want, NewPicker(weighted(policy, 1, 3, 1), IPv6, 0).Shares(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got)\n%s", policy, diff)
		}
	}
	if got := NewPicker(Service{}, IPv6, 0).Shares(); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
