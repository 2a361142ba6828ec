package peers

import (
	"net/netip"
	"testing"
	"time"
)

// BenchmarkProbe is a request and its answer at both ends, without the kernel's part.
func BenchmarkProbe(b *testing.B) {
	a, z := addr("2001:db8:1::1"), addr("2001:db8:2::1")
	host := func(name string, own netip.Addr, other string, its netip.Addr) *Peers {
		p, err := New(nil, Config{
			Name: name, Site: name, Source: own, VIPs: []netip.Addr{vip6}, Peers: []Peer{{other, other, its, 1}},
			State: func(netip.Addr) State { return well },
		})
		if err != nil {
			b.Fatal(err)
		}
		return p
	}
	near, far := host("a", a, "z", z), host("z", z, "a", a)
	var asked []byte
	b.ReportAllocs()
	for b.Loop() {
		far.limits[0] = bucket{}
		if err := near.ask(0, 0, 500*time.Millisecond, 500*time.Millisecond, func(_, _ int, b []byte) error { asked = b; return nil }); err != nil {
			b.Fatal(err)
		}
		far.receive(asked, a, vip6, func(_ netip.Addr, answer []byte) { near.receive(answer, z, a, nil) })
	}
	if !near.Status()[0].Reachable {
		b.Error("no answer was taken")
	}
}
