package lab

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/pkg/probe"
)

func TestFirstAndLast(t *testing.T) {
	host := netip.MustParsePrefix("2001:db8:80::80/128")
	w := &routeWatch{changes: []routeChange{
		{node: "r1", at: 5, to: host},
		{node: "r2", at: 7, to: netip.MustParsePrefix("2001:db8:53::53/128")},
		{node: "r1", at: 18, to: host}, // learns of the new way from r0
		{node: "r0", at: 12, to: netip.MustParsePrefix("2001:db8:80::/48")},
		{node: "r0", at: 30, to: host},
	}}
	tests := []struct {
		name        string
		from, to    int64
		first, last string
	}{
		{"all of the failover", 0, 20, "r1", "r0"},
		{"what came before is not the fault's", 5, 17, "r0", "r0"},
		{"nothing", 12, 17, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			changes, err := w.of(netip.MustParseAddr("2001:db8:80::80"), tt.from, 100)
			first, last := firstAndLast(changes, tt.to)
			if err != nil || first.node != tt.first || last.node != tt.last {
				t.Errorf("first and last = %q, %q, %v, want %q, %q", first.node, last.node, err, tt.first, tt.last)
			}
		})
	}
	w.forget(18)
	if diff := cmp.Diff([]routeChange{{node: "r0", at: 30, to: host}}, w.changes, cmp.AllowUnexported(routeChange{}), cmp.Comparer(equalPrefix)); diff != "" {
		t.Errorf("not forgotten (-want +got):\n%s", diff)
	}
}

func equalPrefix(a, b netip.Prefix) bool { return a == b }

func TestNextHops(t *testing.T) {
	hop := func(text string) net.IP { return net.ParseIP(text) }
	via := &netlink.Via{AddrFamily: unix.AF_INET6, Addr: hop("2001:db8::2")}
	tests := []struct {
		name   string
		change routeChange
		want   string
	}{
		{"one", routeChange{hops: nextHops(netlink.Route{Gw: hop("2001:db8::1")})}, "via 2001:db8::1"},
		{"IPv4 over IPv6", routeChange{hops: nextHops(netlink.Route{Via: via})}, "via 2001:db8::2"},
		{"several", routeChange{hops: nextHops(netlink.Route{MultiPath: []*netlink.NexthopInfo{{Via: via}, {Gw: hop("2001:db8::1")}}})}, "via 2001:db8::1, 2001:db8::2"},
		{"connected", routeChange{hops: nextHops(netlink.Route{})}, ""},
		{"gone", routeChange{hops: nextHops(netlink.Route{Gw: hop("2001:db8::1")}), gone: true}, "removed"},
	}
	for _, tt := range tests {
		tt.change.to = netip.MustParsePrefix("2001:db8:80::/48")
		if got, want := tt.change.String(), strings.TrimSpace("route to 2001:db8:80::/48 "+tt.want); got != want {
			t.Errorf("%s: %q, want %q", tt.name, got, want)
		}
	}
}

func TestLosses(t *testing.T) {
	f := failure{at: int64(time.Second), healed: int64(3 * time.Second)}
	r := probe.Report{IntervalMs: 2, Outages: []probe.Outage{
		{StartMonoNs: 0, Lost: 100, GapMs: 200},                          // long before
		{StartMonoNs: int64(990 * time.Millisecond), Lost: 7, GapMs: 16}, // under way at the fault
		{StartMonoNs: int64(4 * time.Second), Lost: 1, GapMs: 4},         // at the return
	}}
	var m Measured
	f.losses(&m, r)
	if diff := cmp.Diff(Measured{Lost: 8, LostOnReturn: 1, MTTRMs: 16, GapMs: 16}, m); diff != "" {
		t.Errorf("measured (-want +got):\n%s", diff)
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(tt.values); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.values, got, tt.want)
		}
	}
}
