package bgp

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

var (
	prefix  = netip.MustParsePrefix
	routerA = netip.MustParseAddr("fd00::a")
	routerB = netip.MustParseAddr("fd00::b")
	selfID  = netip.MustParseAddr("10.0.0.1")
)

const selfASN = 64611

func TestSensor(t *testing.T) {
	other := route{path: []uint32{65533, 64612}}
	const vip = "2001:db8:53::53/128"
	type heard struct {
		from      netip.Addr
		announced string
		withdrawn string
		route     route
		lost      bool
		changed   bool
		want      []netip.Addr // of vip
	}
	announce := func(from netip.Addr, p string, r route, changed bool, want ...netip.Addr) heard {
		return heard{from: from, announced: p, route: r, changed: changed, want: want}
	}
	withdraw := func(from netip.Addr, p string, changed bool, want ...netip.Addr) heard {
		return heard{from: from, withdrawn: p, changed: changed, want: want}
	}
	lose := func(from netip.Addr, changed bool, want ...netip.Addr) heard {
		return heard{from: from, lost: true, changed: changed, want: want}
	}
	padded := route{path: append([]uint32{65533}, 64612, 64612, 64612, 64612, 64612, 64612, 64612, 64612, 64612, 64612, 64612)}
	for name, story := range map[string][]heard{
		"comes and goes": {announce(routerA, vip, other, true, routerA), announce(routerA, vip, other, false, routerA), withdraw(routerA, vip, true), withdraw(routerA, vip, false)},
		"two neighbors":  {announce(routerB, vip, other, true, routerB), announce(routerA, vip, other, true, routerA, routerB), lose(routerB, true, routerA), lose(routerB, false, routerA)},
		"covered": {
			announce(routerA, "2001:db8:53::/48", other, true, routerA), announce(routerA, vip, other, false, routerA),
			withdraw(routerA, "2001:db8:53::/48", false, routerA), withdraw(routerA, vip, true),
		},
		"both lost at once":       {announce(routerA, "2001:db8::/32", other, true, routerA), announce(routerA, vip, other, false, routerA), lose(routerA, true)},
		"more specific":           {announce(routerA, "2001:db8:54::/48", other, false), announce(routerA, "2001:db8:53::52/127", other, true, routerA)},
		"default route":           {announce(routerA, "::/0", other, false)},
		"other family":            {announce(routerA, "128.0.0.0/1", other, true)}, // covers the IPv4 one
		"own AS":                  {announce(routerA, vip, route{path: []uint32{65533, selfASN}}, false)},
		"own AS replaces another": {announce(routerA, vip, other, true, routerA), announce(routerA, vip, route{path: []uint32{65533, 65534, selfASN}}, true)},
		"own originator":          {announce(routerA, vip, route{originator: selfID}, false), announce(routerA, vip, route{originator: netip.MustParseAddr("10.0.0.2")}, true, routerA)},
		"aggregate":               {announce(routerA, "2001:db8::/32", route{path: other.path, aggregate: true}, false)},
		"leaving":                 {announce(routerA, vip, other, true, routerA), announce(routerA, vip, route{path: other.path, leaving: true}, true)},
		"padded":                  {announce(routerA, vip, padded, false), announce(routerA, vip, route{path: padded.path[:11]}, true, routerA)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSensor(selfASN, []netip.Prefix{prefix("2001:db8:80::80/128"), prefix("192.0.2.53/32"), prefix(vip)}, nil)
			s.routerID = selfID
			for i, h := range story {
				var u update
				if h.announced != "" {
					u.announced = []netip.Prefix{prefix(h.announced)}
				}
				if h.withdrawn != "" {
					u.withdrawn = []netip.Prefix{prefix(h.withdrawn)}
				}
				var changed bool
				if h.lost {
					changed = s.lost(h.from)
				} else {
					changed = s.received(h.from, u, h.route)
				}
				if diff := cmp.Diff(h.want, s.heard(prefix(vip)), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || changed != h.changed {
					t.Fatalf("step %d: changed %v, want %v; heard (-want +got)\n%s", i, changed, h.changed, diff)
				}
			}
		})
	}
}

func TestSensorOfNestedPrefixes(t *testing.T) {
	short, long := prefix("2001:db8:53::/48"), prefix("2001:db8:53::/128")
	s := newSensor(selfASN, []netip.Prefix{long, short}, nil)
	s.received(routerA, update{announced: []netip.Prefix{prefix("2001:db8:53::/56")}}, route{})
	if got := [2]int{len(s.heard(short)), len(s.heard(long))}; got != [2]int{0, 1} {
		t.Errorf("the /56 is heard %v times for the /48 and the /128, want 0 and 1", got)
	}
}

// What is heard for an address of a pool is known from before the address was wanted.
func TestSensorOfPool(t *testing.T) {
	s := newSensor(selfASN, nil, []netip.Prefix{prefix("2001:db8:53::/112")})
	other := route{path: []uint32{65533, 64612}}
	for _, step := range []struct {
		route   string
		from    netip.Addr
		counted bool
		changed bool
	}{
		{"2001:db8:53::1/128", routerB, true, true}, {"2001:db8:53::1/128", routerB, true, false}, {"2001:db8::/32", routerA, true, true},
		{"2001:db8:54::/48", routerA, true, false}, {"2001:db8:53::2/128", routerA, true, true}, {"2001:db8:53::2/128", routerA, false, true},
	} {
		u := update{announced: []netip.Prefix{prefix(step.route)}}
		if !step.counted {
			u = update{withdrawn: u.announced}
		}
		if changed := s.received(step.from, u, other); changed != step.changed {
			t.Errorf("%v: changed %v", step, changed)
		}
	}
	got := map[string][]netip.Addr{}
	for _, p := range []string{"2001:db8:53::1/128", "2001:db8:53::2/128", "2001:db9::1/128"} {
		got[p] = s.heard(prefix(p))
	}
	want := map[string][]netip.Addr{"2001:db8:53::1/128": {routerA, routerB}, "2001:db8:53::2/128": {routerA}, "2001:db9::1/128": nil}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if s.lost(routerA); len(s.heard(prefix("2001:db8:53::2/128"))) != 0 {
		t.Error("what a lost neighbor sent is still heard")
	}
}

func TestRouteOf(t *testing.T) {
	aggregator, err := bgp.NewPathAttributeAggregator(uint32(64612), netip.MustParseAddr("10.0.0.9"))
	if err != nil {
		t.Fatal(err)
	}
	originator, err := bgp.NewPathAttributeOriginatorId(selfID)
	if err != nil {
		t.Fatal(err)
	}
	path := bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{
		bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{65533, 64612}), bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SET, []uint32{1, 2}),
	})
	got := routeOf([]bgp.PathAttributeInterface{path, aggregator, originator, bgp.NewPathAttributeCommunities([]uint32{1, uint32(GracefulShutdown)})})
	want := route{path: []uint32{65533, 64612, 1, 2}, originator: selfID, aggregate: true, leaving: true}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(route{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
