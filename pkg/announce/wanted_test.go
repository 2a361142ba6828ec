package announce

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/anyedge/anyedge/pkg/bgp"
)

func p(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func plain(s string) VIP { return VIP{Address: p(s), Announce: p(s)} }

func under(address, prefix string, when When) VIP {
	return VIP{Address: p(address), Announce: p(prefix), When: when}
}

func ads(prefixes ...string) []bgp.Advertisement {
	all := []bgp.Advertisement{}
	for _, s := range prefixes {
		all = append(all, bgp.Advertisement{Prefix: p(s)})
	}
	return all
}

func prefixes(list ...string) []netip.Prefix {
	all := []netip.Prefix{}
	for _, s := range list {
		all = append(all, p(s))
	}
	return all
}

// worse is ads, de-preferred.
func worse(prefixes ...string) []bgp.Advertisement {
	all := ads(prefixes...)
	for i := range all {
		all[i].Attributes = bgp.Depreferred()
	}
	return all
}

var equatePrefixes = cmpopts.EquateComparable(netip.Prefix{}, bgp.Attributes{})

func TestWanted(t *testing.T) {
	t.Parallel()
	two := []Service{
		{Name: "dns", VIPs: []VIP{plain("2001:db8:53::53/128"), plain("192.0.2.53/32")}},
		{Name: "app", VIPs: []VIP{plain("2001:db8:80::80/128")}},
	}
	cover := func(when When) []Service {
		return []Service{
			{Name: "a", VIPs: []VIP{under("2001:db8:1::1/128", "2001:db8:1::/48", when)}},
			{Name: "b", VIPs: []VIP{under("2001:db8:1::2/128", "2001:db8:1::/48", when), plain("192.0.2.2/32")}},
		}
	}
	tests := []struct {
		name     string
		services []Service
		states   []State
		want     []bgp.Advertisement
	}{
		{"no services", nil, nil, ads()},
		{"nothing told", two, []State{Starting, Starting}, ads()},
		{"not up", two, []State{Settling, Withdrawn}, ads()},
		{"one up", two, []State{Up, Settling}, ads("192.0.2.53/32", "2001:db8:53::53/128")},
		{"all up", two, []State{Up, Up}, ads("192.0.2.53/32", "2001:db8:53::53/128", "2001:db8:80::80/128")},
		{"stopping", two, []State{Stopping, Stopping}, ads()},
		{"draining", two, []State{Up, Draining}, append(ads("192.0.2.53/32", "2001:db8:53::53/128"), worse("2001:db8:80::80/128")...)},
		{"drained", two, []State{Withdrawing, Drained}, ads()},
		{"any of a cover, one drains", cover(Any), []State{Up, Draining}, append(worse("192.0.2.2/32"), ads("2001:db8:1::/48")...)},
		{"any of a cover, one drains alone", cover(Any), []State{Draining, Withdrawn}, worse("2001:db8:1::/48")},
		{"all of a cover, one drains", cover(All), []State{Draining, Up}, append(ads("192.0.2.2/32"), worse("2001:db8:1::/48")...)},
		{"any of a cover, none", cover(Any), []State{Withdrawn, Starting}, ads()},
		{"any of a cover, one", cover(Any), []State{Up, Withdrawn}, ads("2001:db8:1::/48")},
		{"any of a cover, both", cover(Any), []State{Up, Up}, ads("192.0.2.2/32", "2001:db8:1::/48")},
		{"all of a cover, one", cover(All), []State{Withdrawn, Up}, ads("192.0.2.2/32")},
		{"all of a cover, both", cover(All), []State{Up, Up}, ads("192.0.2.2/32", "2001:db8:1::/48")},
		{"one service, all of its own", []Service{{VIPs: []VIP{
			under("192.0.2.1/32", "192.0.2.0/24", All), under("192.0.2.2/32", "192.0.2.0/24", All)}}}, []State{Up}, ads("192.0.2.0/24")},
		{"disagreement: the careful one holds", []Service{
			{VIPs: []VIP{under("192.0.2.1/32", "192.0.2.0/24", All)}},
			{VIPs: []VIP{under("192.0.2.2/32", "192.0.2.0/24", Any)}}}, []State{Withdrawn, Up}, ads()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := newPlan(tt.services).wanted(memories(tt.states))
			if diff := cmp.Diff(tt.want, got, equatePrefixes); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func memories(states []State) []Memory {
	all := make([]Memory, len(states))
	for i, s := range states {
		all[i].State = s
	}
	return all
}

func TestWantedAddresses(t *testing.T) {
	t.Parallel()
	got := newPlan([]Service{
		{VIPs: []VIP{plain("2001:db8::2/128"), under("192.0.2.1/32", "192.0.2.0/24", All)}},
		{VIPs: []VIP{plain("2001:db8::1/128"), plain("2001:db8::2/128")}},
	}).addresses
	want := prefixes("192.0.2.1/32", "2001:db8::1/128", "2001:db8::2/128")
	if diff := cmp.Diff(want, got, equatePrefixes); diff != "" {
		t.Errorf("whatever the states are (-want +got)\n%s", diff)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	s := Service{VIPs: []VIP{
		under("192.0.2.1/32", "192.0.2.0/24", Any), under("192.0.2.2/32", "192.0.2.0/24", Any), plain("2001:db8::1/128"),
	}}
	both, other := ads("192.0.2.0/24", "2001:db8::1/128"), ads("192.0.2.0/24")
	tests := []struct {
		name          string
		action        Action
		before, after []bgp.Advertisement
		want          []netip.Prefix
	}{
		{"none", None, ads(), both, prefixes()},
		{"announce", Announce, ads(), both, prefixes("192.0.2.0/24", "2001:db8::1/128")},
		{"withdraw", Withdraw, both, ads(), prefixes("192.0.2.0/24", "2001:db8::1/128")},
		{"withdraw under a cover that another holds", Withdraw, both, other, prefixes("2001:db8::1/128")},
		{"announce under a cover that another holds", Announce, other, both, prefixes("2001:db8::1/128")},
		{"deprefer", Deprefer, both, worse("192.0.2.0/24", "2001:db8::1/128"), prefixes("192.0.2.0/24", "2001:db8::1/128")},
		{"deprefer under a cover that another holds", Deprefer, both, append(other, worse("2001:db8::1/128")...), prefixes("2001:db8::1/128")},
		{"announce what was de-preferred", Announce, worse("192.0.2.0/24", "2001:db8::1/128"), both, prefixes("192.0.2.0/24", "2001:db8::1/128")},
		{"foreign prefixes", Withdraw, ads("198.51.100.1/32"), ads(), prefixes()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := changed(s, tt.action, tt.before, tt.after)
			if diff := cmp.Diff(tt.want, got, equatePrefixes); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// BenchmarkWanted is on the way from a failure to its UPDATE.
func BenchmarkWanted(b *testing.B) {
	services := make([]Service, 10000)
	states := make([]Memory, len(services))
	for i := range services {
		vip := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)}), 128)
		services[i].VIPs = []VIP{{Address: vip, Announce: vip}}
		states[i].State = Up
	}
	plan := newPlan(services)
	for b.Loop() {
		plan.wanted(states)
	}
}
