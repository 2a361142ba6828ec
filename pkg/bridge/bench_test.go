package bridge

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/anyedge/anyedge/internal/nettest"
)

// newBenchBridge returns a running Bridge in the namespace of the test, with so many VIPs of each family.
func newBenchBridge(b *testing.B, mode Mode, vips int) *Bridge {
	b.Helper()
	nettest.Need(b)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = "e0", 1600
	link := &netlink.Veth{LinkAttrs: attrs, PeerName: "e1", PeerMTU: 1600}
	if err := netlink.LinkAdd(link); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = netlink.LinkDel(link) })
	e0, _ := netlink.LinkByName("e0")
	e1, _ := netlink.LinkByName("e1")
	cfg := Config{Mode: mode, Uplinks: []string{"e0"}, SID: peerOf("a").SID, SID4: peerOf("a").SID4, Source: peerOf("a").Source, Peers: []Peer{peerOf("b"), peerOf("c")}}
	for i := range vips {
		cfg.VIPs = append(cfg.VIPs,
			single(netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0x53, 14: byte(i >> 8), byte(i)})),
			single(netip.AddrFrom4([4]byte{198, 18 + byte(i>>16), byte(i >> 8), byte(i)})))
	}
	for _, err := range []error{
		netlink.LinkSetUp(e0), netlink.LinkSetUp(e1),
		netlink.AddrAdd(e0, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("2001:db8:1::2/32")), Flags: 2}),
		os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0),
		os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0),
	} {
		if err != nil {
			b.Fatal(err)
		}
	}
	br, err := New(nil, cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	start := time.Now()
	go func() { done <- br.Run(ctx) }()
	<-br.Ready()
	b.ReportMetric(float64(time.Since(start).Milliseconds()), "prepare-ms")
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return br
}

// BenchmarkSwitch is the time from Set's call to the moment when packets are bridged (route), and to Set's return: goal
// well below 0.2 ms.
func BenchmarkSwitch(b *testing.B) {
	for _, mode := range []Mode{SRv6, VXLAN} {
		for i, name := range []string{"v6", "v4"} {
			b.Run(fmt.Sprintf("%v/%s", mode, name), func(b *testing.B) {
				br := newBenchBridge(b, mode, 1)
				vip := br.cfg.VIPs[i]
				var route, set []time.Duration
				for b.Loop() {
					w := Wanted{vip, []Target{{"b", 1}}}
					start := time.Now()
					if err := br.kernel.RouteReplace(br.plan.bridge(w)); err != nil {
						b.Fatal(err)
					}
					route = append(route, time.Since(start))
					start = time.Now()
					if err := br.Set(b.Context(), w); err != nil {
						b.Fatal(err)
					}
					set = append(set, time.Since(start))
					if err := br.Set(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				report(b, "route", route)
				report(b, "set", set)
			})
		}
	}
}

// BenchmarkSwitchMany switches thousands of VIPs over at once.
func BenchmarkSwitchMany(b *testing.B) {
	const vips = 5000 // of each family
	br := newBenchBridge(b, VXLAN, vips)
	var all []Wanted
	for _, vip := range br.cfg.VIPs {
		all = append(all, Wanted{vip, []Target{{"b", 1}}})
	}
	for b.Loop() {
		start := time.Now()
		if err := br.Set(b.Context(), all...); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "on-ms")
		start = time.Now()
		if err := br.Set(b.Context(), all[1:]...); err != nil { // one comes back
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "one-of-many-ms")
		start = time.Now()
		br.countSent()
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "count-ms")
		if err := br.Set(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func report(b *testing.B, name string, times []time.Duration) {
	slices.Sort(times)
	at := func(share float64) float64 {
		return float64(times[int(share*float64(len(times)-1))].Nanoseconds()) / 1000
	}
	b.ReportMetric(at(0.5), name+"-p50-us")
	b.ReportMetric(at(0.99), name+"-p99-us")
}
