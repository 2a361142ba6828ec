package bgp_test

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bgp/bgptest"
)

const (
	speakerASN = 64611
	routerASN  = 65533
)

var (
	vip6  = netip.MustParsePrefix("2001:db8:53::53/128")
	vip6b = netip.MustParsePrefix("2001:db8:80::80/128")
	vip4  = netip.MustParsePrefix("192.0.2.53/32")
)

// loopback adds addresses to lo of the test's own namespace.
func loopback(t *testing.T, addrs ...string) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrReplace(lo, addr); err != nil {
			t.Fatalf("address %s: %v", a, err)
		}
		t.Cleanup(func() { _ = netlink.AddrDel(lo, addr) })
	}
}

// reports collects what a speaker reports.
type reports struct {
	mu  sync.Mutex
	all []bgp.Report
	ch  chan bgp.Report
}

func newReports() *reports { return &reports{ch: make(chan bgp.Report, 1000)} }

func (r *reports) on(rep bgp.Report) {
	r.mu.Lock()
	r.all = append(r.all, rep)
	r.mu.Unlock()
	r.ch <- rep
}

// next waits for the next report that matches.
func (r *reports) next(t *testing.T, match func(bgp.Report) bool) bgp.Report {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for {
		select {
		case rep := <-r.ch:
			if match(rep) {
				return rep
			}
		case <-timeout.C:
			t.Fatalf("no such report among %v", r.all)
		}
	}
}

// run starts a speaker that stops at the end of the test; the returned function stops it now.
func run(t *testing.T, c bgp.Config) (s *bgp.Speaker, stop func()) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := bgp.NewSpeaker(c, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-s.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("speaker is not ready")
	}
	return s, stop
}

func config(addr string, allowed ...netip.Prefix) bgp.Config {
	return bgp.Config{
		ASN: speakerASN, RouterID: netip.MustParseAddr("10.0.0.1"), ListenPort: -1, Allowed: allowed,
		Neighbors: []bgp.Neighbor{{Address: netip.MustParseAddr(addr), ASN: routerASN}},
	}
}

func set(t *testing.T, s *bgp.Speaker, prefixes ...netip.Prefix) uint64 {
	t.Helper()
	var ads []bgp.Advertisement
	for _, p := range prefixes {
		ads = append(ads, bgp.Advertisement{Prefix: p})
	}
	g, err := s.Set(t.Context(), ads...)
	if err != nil {
		t.Fatalf("Set(%v): %v", prefixes, err)
	}
	return g
}

func wait(t *testing.T, s *bgp.Speaker, generation uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Wait(ctx, generation); err != nil {
		t.Fatal(err)
	}
}

func TestAnnounceAndWithdraw(t *testing.T) {
	nettest.Need(t)
	loopback(t, "fd00::2/128")
	peer := bgptest.NewPeer(t, bgptest.Config{Address: netip.MustParseAddr("fd00::2"), ASN: routerASN, SpeakerASN: speakerASN})
	got := newReports()
	c := config("fd00::2", vip6, vip6b, vip4)
	c.OnReport = got.on
	s, _ := run(t, c)
	peer.WaitSession(1)

	g := set(t, s, vip6, vip4)
	wait(t, s, g)
	peer.WaitFor(vip6, vip4)
	if e, _ := peer.Route(vip4); !e.NextHop.Is6() || e.NextHop.IsUnspecified() {
		t.Errorf("next hop of %s is %s, want the speaker's IPv6 address (RFC 8950)", vip4, e.NextHop)
	}

	for range 20 {
		for _, want := range [][]netip.Prefix{{vip6b}, {vip6, vip6b}} {
			began := time.Now()
			g = set(t, s, want...)
			took := time.Since(began)
			r := got.next(t, func(r bgp.Report) bool { return r.Generation == g && r.Err == nil })
			t.Logf("set %v, written %v after the call, report %v", took, r.Written.Sub(began), time.Since(began))
			peer.WaitFor(want...)
		}
	}
}
