package bgp_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gobgp "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

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

var discard = slog.New(slog.DiscardHandler)

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
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD // usable at once, also on lo
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
	return runLogging(t, c, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})))
}

func runLogging(t *testing.T, c bgp.Config, log *slog.Logger) (s *bgp.Speaker, stop func()) {
	t.Helper()
	s, err := bgp.NewSpeaker(c, log)
	if err != nil {
		t.Fatal(err)
	}
	return s, serve(t, s)
}

// serve runs a speaker until the end of the test; the returned function stops it now.
func serve(t *testing.T, s *bgp.Speaker) (stop func()) {
	t.Helper()
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
	return stop
}

func config(addr string, allowed ...netip.Prefix) bgp.Config {
	return bgp.Config{
		ASN: speakerASN, RouterID: netip.MustParseAddr("10.0.0.1"), ListenPort: -1, Allowed: allowed,
		Neighbors: []bgp.Neighbor{{Address: netip.MustParseAddr(addr), ASN: routerASN}},
	}
}

// established waits until the speaker itself sees every session.
func established(t *testing.T, s *bgp.Speaker) {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for {
		down := slices.ContainsFunc(s.Neighbors(), func(n bgp.NeighborStatus) bool { return !n.Established })
		if !down {
			return
		}
		select {
		case <-s.Changed():
		case <-timeout.C:
			t.Fatalf("sessions not established: %+v", s.Neighbors())
		}
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

// peerAt starts a GoBGP peer on an address of lo.
func peerAt(t *testing.T, addr string, change ...func(*bgptest.Config)) *bgptest.Peer {
	t.Helper()
	nettest.Need(t)
	a := netip.MustParseAddr(addr)
	loopback(t, netip.PrefixFrom(a.WithZone(""), a.BitLen()).String())
	c := bgptest.Config{Address: a, ASN: routerASN, SpeakerASN: speakerASN}
	for _, f := range change {
		f(&c)
	}
	return bgptest.NewPeer(t, c)
}

func written(generation uint64) func(bgp.Report) bool {
	return func(r bgp.Report) bool { return r.Generation == generation && r.Err == nil }
}

func failed(r bgp.Report) bool { return r.Err != nil }

// unwritten is a failure of one generation: under load an earlier one may have met GoBGP's race at the start of a session,
// and was repaired.
func unwritten(generation uint64) func(bgp.Report) bool {
	return func(r bgp.Report) bool { return failed(r) && r.Generation == generation }
}

func TestAnnounceAndWithdraw(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	got := newReports()
	c := config("fd00::2", vip6, vip6b, vip4)
	c.OnReport = got.on
	s, _ := run(t, c)
	established(t, s)

	g := set(t, s, vip6, vip4)
	wait(t, s, g)
	peer.WaitFor(vip6, vip4)
	if e, _ := peer.Route(vip4); !e.NextHop.Is6() || e.NextHop.IsUnspecified() {
		t.Errorf("next hop of %s is %s, want the speaker's IPv6 address (RFC 8950)", vip4, e.NextHop)
	}
	if e, _ := peer.Route(vip6); !slices.Equal(e.Path, []uint32{speakerASN}) {
		t.Errorf("AS path of %s is %v, want only %d", vip6, e.Path, speakerASN)
	}
	if again := set(t, s, vip4, vip6); again != g {
		t.Errorf("Set of the same prefixes opened generation %d, want still %d", again, g)
	}

	for _, want := range [][]netip.Prefix{{vip6b}, {vip6, vip6b}, {}, {vip4}} {
		began := time.Now()
		g := set(t, s, want...)
		took := time.Since(began)
		r := got.next(t, written(g))
		if r.Neighbor != peer.Address() || r.Written.Before(began) {
			t.Errorf("report %+v of the Set at %s", r, began)
		}
		t.Logf("set %v, written %v after the call", took, r.Written.Sub(began))
		peer.WaitFor(want...)
	}
}

func TestWithdrawalsGoFirst(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	s, _ := run(t, config("fd00::2", vip6, vip6b))
	established(t, s)
	wait(t, s, set(t, s, vip6))
	peer.WaitFor(vip6)
	set(t, s, vip6b)
	peer.WaitFor(vip6b)
	events := peer.Events()
	last := events[len(events)-2:]
	if !last[0].Withdrawn || last[0].Prefix != vip6 || last[1].Prefix != vip6b {
		t.Errorf("the peer was sent %+v, want the withdrawal of %s first", last, vip6)
	}
}

func TestOnlyAllowedLeaves(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	block := netip.MustParsePrefix("2001:db8:53::/48")
	s, _ := run(t, config("fd00::2", block))
	established(t, s)
	if _, err := s.Set(t.Context(), bgp.Advertisement{Prefix: block}, bgp.Advertisement{Prefix: vip6}); err == nil {
		t.Error("Set took a prefix that is not allowed")
	}
	for _, p := range []netip.Prefix{vip6, vip4, netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("::/0")} {
		if err := s.AddForeign(p); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, s, set(t, s, block))
	peer.WaitFor(block)
	for _, e := range peer.Events() {
		if e.Prefix != block {
			t.Errorf("%s was announced, only %s is allowed", e.Prefix, block)
		}
	}
}

// Of a pool only what was asked for leaves, in its exact length.
func TestPoolLeavesAddressByAddress(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	c := config("fd00::2")
	pool := netip.MustParsePrefix("2001:db8:77::/112")
	c.Pools = []netip.Prefix{pool}
	one, two, three := netip.MustParsePrefix("2001:db8:77::1/128"), netip.MustParsePrefix("2001:db8:77::2/128"), netip.MustParsePrefix("2001:db8:77::3/128")
	s, _ := run(t, c)
	established(t, s)
	for _, p := range []netip.Prefix{three, pool} {
		if err := s.AddForeign(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []netip.Prefix{pool, vip6, netip.MustParsePrefix("::/128")} {
		if _, err := s.Set(t.Context(), bgp.Advertisement{Prefix: p}); err == nil {
			t.Errorf("Set took %s", p)
		}
	}
	wait(t, s, set(t, s, one))
	peer.WaitFor(one)
	wait(t, s, set(t, s, one, two))
	peer.WaitFor(one, two)
	wait(t, s, set(t, s, two))
	peer.WaitFor(two)
	for _, e := range peer.Events() {
		if e.Prefix != one && e.Prefix != two {
			t.Errorf("%s was announced", e.Prefix)
		}
	}
}

func TestNothingIsAccepted(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	peer.Announce(netip.MustParsePrefix("2001:db8:bad::/48"), netip.MustParsePrefix("198.51.100.0/24"), vip6b)
	s, _ := run(t, config("fd00::2", vip6, vip6b))
	wait(t, s, set(t, s, vip6))
	peer.WaitFor(vip6)
	deadline := time.Now().Add(30 * time.Second)
	for s.Neighbors()[0].ReceivedUpdates == 0 && time.Now().Before(deadline) {
		<-time.After(time.Millisecond)
	}
	if n, err := s.Table(); err != nil || n != 1 {
		t.Errorf("table has %d prefixes (error %v), want only the own one", n, err)
	}
}

func TestSessionComesBack(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	got := newReports()
	c := config("fd00::2", vip6, vip6b, vip4)
	c.OnReport = got.on
	s, _ := run(t, c)
	g := set(t, s, vip6, vip4) // before any session
	if r := got.next(t, failed); r.Generation != g || !strings.Contains(r.Err.Error(), "no session") {
		t.Errorf("report %+v, want one that tells that there is no session", r)
	}
	wait(t, s, g) // nobody is there to be told
	got.next(t, written(g))
	peer.WaitFor(vip6, vip4)
	peer.Reset()
	peer.WaitSession(2)
	got.next(t, written(g))
	peer.WaitFor(vip6, vip4)
	n := s.Neighbors()[0]
	if !strings.Contains(n.Reason, "administrative reset") || !strings.HasSuffix(n.Reason, ": bgptest") {
		t.Errorf("reason %q, want what the peer's Cease told", n.Reason)
	}
	if !n.Established || n.State != "established" || !n.ExtendedNextHop || len(n.NotCarried) != 0 ||
		!slices.Equal(n.Families, []string{"ipv6-unicast", "ipv4-unicast"}) || n.SentUpdates < 2 {
		t.Errorf("status %+v", n)
	}
}

func TestNeighborMissingAtStart(t *testing.T) {
	peer := peerAt(t, "fd00::2", func(c *bgptest.Config) { c.Refuse = true })
	c := config("fd00::2", vip6)
	absent := netip.MustParseAddr("fd00::dead") // nobody has it
	c.Neighbors = append(c.Neighbors, bgp.Neighbor{Address: absent, ASN: routerASN})
	s, _ := run(t, c)
	wait(t, s, set(t, s, vip6))
	peer.Accept()
	peer.WaitFor(vip6)
	if n := s.Neighbors(); len(n) != 2 || !n[0].Established || n[1].Established || n[1].Address != absent {
		t.Errorf("neighbors %+v", n)
	}
}

func TestIPv4Session(t *testing.T) {
	peer := peerAt(t, "127.0.0.2")
	peer6 := peerAt(t, "fd00::2")
	got := newReports()
	c := config("127.0.0.2", vip6, vip4)
	c.Neighbors = append(c.Neighbors, bgp.Neighbor{Address: peer6.Address(), ASN: routerASN})
	c.OnReport = got.on
	s, _ := run(t, c)
	established(t, s)
	wait(t, s, set(t, s, vip6, vip4))
	peer.WaitFor(vip4)
	peer6.WaitFor(vip6, vip4)
	if e, _ := peer.Route(vip4); !e.NextHop.Is4() || e.NextHop.IsUnspecified() {
		t.Errorf("next hop %s, want the speaker's IPv4 address", e.NextHop)
	}
	if r := got.next(t, func(r bgp.Report) bool { return failed(r) && r.Neighbor == peer.Address() }); !strings.Contains(r.Err.Error(), vip6.String()) {
		t.Errorf("report %+v, want one that names %s", r, vip6)
	}
}

func TestNoExtendedNextHop(t *testing.T) {
	nettest.Need(t)
	loopback(t, "fd00::2/128")
	addr := netip.MustParseAddr("fd00::2")
	peer := newRawPeer(t, addr, routerASN, gobgp.NewCapMultiProtocol(gobgp.RF_IPv6_UC), gobgp.NewCapMultiProtocol(gobgp.RF_IPv4_UC))
	got := newReports()
	c := config("fd00::2", vip6, vip4)
	c.OnReport = got.on
	s, _ := run(t, c)
	established(t, s)
	wait(t, s, set(t, s, vip4))
	if r := got.next(t, failed); !strings.Contains(r.Err.Error(), "RFC 8950") || !strings.Contains(r.Err.Error(), vip4.String()) {
		t.Errorf("report %+v, want one that names %s and the missing capability", r, vip4)
	}
	wait(t, s, set(t, s, vip6, vip4))
	// The first UPDATE that arrives must be of the second Set, and of IPv6 alone.
	u := <-peer.updates
	for _, a := range u.PathAttributes {
		if reach, ok := a.(*gobgp.PathAttributeMpReachNLRI); ok && reach.AFI != gobgp.AFI_IP6 {
			t.Errorf("IPv4 was announced over an IPv6 session without extended next hop: %v", u)
		}
	}
	if len(u.NLRI) > 0 || len(u.PathAttributes) == 0 || len(peer.updates) > 0 {
		t.Errorf("got %v and %d more, want one UPDATE with %s", u, len(peer.updates), vip6)
	}
	if n := s.Neighbors()[0]; n.ExtendedNextHop || !n.Established {
		t.Errorf("status %+v", n)
	}
}

func TestPassword(t *testing.T) {
	const secret = "correct horse battery"
	right := peerAt(t, "fd00::2", func(c *bgptest.Config) { c.Password = secret })
	wrong := peerAt(t, "fd00::3", func(c *bgptest.Config) { c.Password = "another" })
	c := config("fd00::2", vip6)
	c.Neighbors[0].Password = secret
	c.Neighbors = append(c.Neighbors, bgp.Neighbor{Address: wrong.Address(), ASN: routerASN, Password: secret})
	var log bytes.Buffer
	s, stop := runLogging(t, c, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 8})))
	wait(t, s, set(t, s, vip6))
	right.WaitFor(vip6)
	if n, _, _ := wrong.Sessions(); n != 0 {
		t.Error("a session with the wrong password was established")
	}
	stop()
	if strings.Contains(log.String(), secret) {
		t.Error("the log holds the password")
	}
}

func TestTTLSecurity(t *testing.T) {
	nettest.Need(t)
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/lo/hop_limit", []byte("255"), 0); err != nil {
		t.Fatal(err)
	}
	with := peerAt(t, "fd00::2", func(c *bgptest.Config) { c.TTLSecurity = true })
	without := peerAt(t, "fd00::3") // sends hop limit 1, which must not pass
	c := config("fd00::2", vip6)
	c.Neighbors[0].TTLSecurity = true
	c.Neighbors = append(c.Neighbors, bgp.Neighbor{Address: without.Address(), ASN: routerASN, TTLSecurity: true})
	s, _ := run(t, c)
	set(t, s, vip6)
	with.WaitFor(vip6)
	if n := s.Neighbors()[1]; n.Established {
		t.Errorf("status %+v of a neighbor that does not send hop limit 255", n)
	}
}

func TestLinkLocalNeighbor(t *testing.T) {
	nettest.Need(t)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "v0"}, PeerName: "v1"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	for name, addr := range map[string]string{"v0": "fe80::a/64", "v1": "fe80::b/64"} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err == nil {
			a, _ := netlink.ParseAddr(addr)
			a.Flags = unix.IFA_F_NODAD
			err = netlink.AddrReplace(l, a)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	peer := bgptest.NewPeer(t, bgptest.Config{Address: netip.MustParseAddr("fe80::a%v0"), ASN: routerASN, SpeakerASN: speakerASN})
	s, _ := run(t, config("fe80::a%v1", vip6, vip4))
	set(t, s, vip6, vip4)
	peer.WaitFor(vip6, vip4)
	if e, _ := peer.Route(vip6); !e.NextHop.IsLinkLocalUnicast() {
		t.Errorf("next hop %s", e.NextHop)
	}
	if n := s.Neighbors()[0]; n.Address.Zone() != "v1" || !n.Established || n.SentUpdates == 0 {
		t.Errorf("status %+v", n)
	}
}

func TestLostUpdatesAreSentAgain(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	got := newReports()
	c := config("fd00::2", vip6, vip6b)
	c.OnReport = got.on
	s, _ := run(t, c)
	established(t, s)
	wait(t, s, set(t, s, vip6b))

	var g uint64
	if err := s.Unheard(vip6, func() (err error) {
		g, err = s.Set(t.Context(), bgp.Advertisement{Prefix: vip6}, bgp.Advertisement{Prefix: vip6b})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if r := got.next(t, unwritten(g)); !strings.Contains(r.Err.Error(), "not written yet") {
		t.Errorf("report %+v, want generation %d not written", r, g)
	}
	got.next(t, written(g))
	peer.WaitFor(vip6, vip6b)

	wait(t, s, set(t, s, vip6b))
	peer.WaitFor(vip6b)
	s.PretendWritten(peer.Address(), vip6) // and its withdrawal was lost
	sent := len(peer.Events())
	g = set(t, s)
	got.next(t, unwritten(g))
	got.next(t, written(g))
	peer.WaitFor()
	for _, e := range peer.Events()[sent:] {
		if !e.Withdrawn {
			t.Errorf("announced in passing: %+v", e)
		}
	}
	wait(t, s, set(t, s, vip6)) // the policy is open again
	peer.WaitFor(vip6)
}

func TestPortInUse(t *testing.T) {
	nettest.Need(t)
	l, err := net.Listen("tcp", "[::]:179")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := config("fd00::2", vip6)
	c.ListenPort = 179
	s, err := bgp.NewSpeaker(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = s.Run(t.Context())
	if err == nil || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "listen port 179") {
		t.Errorf("Run: %v, want an error that names the port", err)
	}
	if _, err := s.Set(t.Context()); err == nil {
		t.Error("Set of a speaker that does not run gave no error")
	}
	if err := s.Run(t.Context()); err == nil {
		t.Error("a second Run gave no error")
	}
}

func TestRefusedChangeIsTold(t *testing.T) {
	peerAt(t, "fd00::2")
	s, _ := run(t, config("fd00::2", vip6))
	first := set(t, s, vip6)
	if err := s.StopGoBGP(); err != nil {
		t.Fatal(err)
	}
	g, err := s.Set(t.Context())
	if err == nil || !strings.Contains(err.Error(), "trying again") || g != first+1 {
		t.Errorf("Set: generation %d, error %v; want generation %d and an error", g, err, first+1)
	}
}

func TestStopTellsWhy(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	s, stop := run(t, config("fd00::2", vip6))
	established(t, s)
	wait(t, s, set(t, s, vip6))
	peer.WaitFor(vip6)
	stop()
	peer.WaitDown()
	if _, _, reason := peer.Sessions(); !strings.Contains(reason, "administrative shutdown") {
		t.Errorf("the peer saw %q, want a Cease", reason)
	}
	if _, err := s.Set(t.Context(), bgp.Advertisement{Prefix: vip6}); err == nil {
		t.Error("Set of a stopped speaker gave no error")
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	peerAt(t, "fd00::2")
	s, _ := run(t, config("fd00::2", vip6))
	established(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v, want %v", err, context.Canceled)
	}
	if _, err := s.Set(ctx, bgp.Advertisement{Prefix: vip6}); !errors.Is(err, context.Canceled) {
		t.Errorf("Set: %v, want %v", err, context.Canceled)
	}
}

func TestMetrics(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	s, _ := run(t, config("fd00::2", vip6))
	problems, err := testutil.CollectAndLint(s)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	established(t, s)
	wait(t, s, set(t, s, vip6))
	peer.WaitFor(vip6)
	const want = `
# HELP anyedge_bgp_advertised_prefixes Prefixes wanted at the neighbors; says nothing about what they know or prefer.
# TYPE anyedge_bgp_advertised_prefixes gauge
anyedge_bgp_advertised_prefixes 1
# HELP anyedge_bgp_session_up 1 while the session with a neighbor is established.
# TYPE anyedge_bgp_session_up gauge
anyedge_bgp_session_up{neighbor="fd00::2"} 1
# HELP anyedge_bgp_sessions_established_total How often the session with a neighbor was established.
# TYPE anyedge_bgp_sessions_established_total counter
anyedge_bgp_sessions_established_total{neighbor="fd00::2"} 1
# HELP anyedge_bgp_updates_sent_total UPDATE messages written to a neighbor.
# TYPE anyedge_bgp_updates_sent_total counter
anyedge_bgp_updates_sent_total{neighbor="fd00::2"} 1
`
	if err := testutil.CollectAndCompare(s, strings.NewReader(want), "anyedge_bgp_advertised_prefixes",
		"anyedge_bgp_session_up", "anyedge_bgp_sessions_established_total", "anyedge_bgp_updates_sent_total"); err != nil {
		t.Error(err)
	}
}
