package lab

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/probe"
)

func TestRoutesBetween(t *testing.T) {
	host := netip.MustParsePrefix("2001:db8:80::80/128")
	w := &routeWatch{changes: []routeChange{
		{node: "r1", at: 5, to: host},
		{node: "r2", at: 7, to: netip.MustParsePrefix("2001:db8:53::53/128")},
		{node: "r0", at: 12, to: netip.MustParsePrefix("2001:db8:80::/48")},
		{node: "r1", at: 18, to: host}, // learns of the new way from r0
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
			first, last := w.between(netip.MustParseAddr("2001:db8:80::80"), tt.from, tt.to)
			if first.node != tt.first || last.node != tt.last {
				t.Errorf("between = %q, %q, want %q, %q", first.node, last.node, tt.first, tt.last)
			}
		})
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
