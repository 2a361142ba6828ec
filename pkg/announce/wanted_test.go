package announce

import (
	"fmt"
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

// depreferred is ads, de-preferred.
func depreferred(prefixes ...string) []bgp.Advertisement {
	all := ads(prefixes...)
	for i := range all {
		all[i].Attributes = bgp.Depreferred()
	}
	return all
}

// sick is ads, de-preferred and marked.
func sick(prefixes ...string) []bgp.Advertisement {
	all := ads(prefixes...)
	for i := range all {
		all[i].Attributes = sickAttributes()
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
		{"draining", two, []State{Up, Draining}, append(ads("192.0.2.53/32", "2001:db8:53::53/128"), depreferred("2001:db8:80::80/128")...)},
		{"bridged", two, []State{Bridged, Isolated}, ads("192.0.2.53/32", "2001:db8:53::53/128", "2001:db8:80::80/128")},
		{"sick", two, []State{DePreferred, Held}, sick("192.0.2.53/32", "2001:db8:53::53/128", "2001:db8:80::80/128")},
		{"any of a cover, one sick, one worse", cover(Any), []State{Held, Degraded}, depreferred("192.0.2.2/32", "2001:db8:1::/48")},
		{"all of a cover, one sick, one worse", cover(All), []State{Held, Degraded}, append(depreferred("192.0.2.2/32"), sick("2001:db8:1::/48")...)},
		{"drained", two, []State{Withdrawing, Drained}, ads()},
		{"any of a cover, one drains", cover(Any), []State{Up, Draining}, append(depreferred("192.0.2.2/32"), ads("2001:db8:1::/48")...)},
		{"any of a cover, one drains alone", cover(Any), []State{Draining, Withdrawn}, depreferred("2001:db8:1::/48")},
		{"all of a cover, one drains", cover(All), []State{Draining, Up}, append(ads("192.0.2.2/32"), depreferred("2001:db8:1::/48")...)},
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
			m := newMachine(Config{Services: tt.services})
			for i, v := range m.vips {
				m.memory[i].State = tt.states[v.service]
			}
			got := newPlan(m.vips).advertisements(m.memory)
			if diff := cmp.Diff(tt.want, got, equatePrefixes); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestWantedAddresses(t *testing.T) {
	t.Parallel()
	got := newPlan(newMachine(Config{Services: []Service{
		{VIPs: []VIP{plain("2001:db8::2/128"), under("192.0.2.1/32", "192.0.2.0/24", All)}},
		{VIPs: []VIP{plain("2001:db8::1/128")}},
	}}).vips).addresses
	want := prefixes("192.0.2.1/32", "2001:db8::1/128", "2001:db8::2/128")
	if diff := cmp.Diff(want, got, equatePrefixes); diff != "" {
		t.Errorf("whatever the states are (-want +got)\n%s", diff)
	}
}

// TestWantedBridges: a VIP is bridged to its targets whatever its state is.
func TestWantedBridges(t *testing.T) {
	t.Parallel()
	m := newMachine(Config{Services: []Service{{VIPs: []VIP{plain("2001:db8::1/128"), plain("192.0.2.1/32")}}, {VIPs: []VIP{plain("2001:db8::2/128")}}}})
	m.memory[1].Targets, m.memory[2].Targets = []Target{{"a", 1}, {"b", 2}}, []Target{{"c", 1}}
	want := []Bridging{{p("192.0.2.1/32"), []Target{{"a", 1}, {"b", 2}}}, {p("2001:db8::2/128"), []Target{{"c", 1}}}}
	if diff := cmp.Diff(want, newPlan(m.vips).bridges(m.memory), equatePrefixes); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	const prefix = "192.0.2.0/24"
	other := ads("198.51.100.0/24")
	tests := []struct {
		name          string
		action        Action
		before, after []bgp.Advertisement
		want          bool
	}{
		{"none", None, other, ads(prefix), false},
		{"announce", Announce, other, ads(prefix), true},
		{"withdraw", Withdraw, ads(prefix), other, true},
		{"withdraw under a cover that another holds", Withdraw, ads(prefix), ads(prefix), false},
		{"withdraw under a cover that another holds, worse", Withdraw, ads(prefix), depreferred(prefix), false},
		{"deprefer", Deprefer, ads(prefix), depreferred(prefix), true},
		{"deprefer for sickness", Deprefer, ads(prefix), sick(prefix), true},
		{"worse is as de-preferred as sick", Deprefer, depreferred(prefix), sick(prefix), false},
		{"announce what was de-preferred", Announce, sick(prefix), ads(prefix), true},
	}
	for _, tt := range tests {
		if got := changed(p(prefix), tt.action, tt.before, tt.after); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// BenchmarkWanted is on the way from a failure to its UPDATE.
func BenchmarkWanted(b *testing.B) {
	m := newMachine(Config{Services: many(10000)})
	for i := range m.memory {
		m.memory[i].State = Up
	}
	plan := newPlan(m.vips)
	for b.Loop() {
		plan.advertisements(m.memory)
	}
}

// many returns services of one VIP each.
func many(n int) []Service {
	services := make([]Service, n)
	for i := range services {
		vip := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 14: byte(i >> 8), 15: byte(i)}), 128)
		services[i].Name = fmt.Sprintf("s%d", i)
		services[i].VIPs = []VIP{{Address: vip, Announce: vip}}
	}
	return services
}
