package router_test

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bgp/bgptest"
	"github.com/anyedge/anyedge/pkg/bgp/router"
)

// pair starts a speaker s1 and a router r0 that know each other by the given addresses.
func pair(t *testing.T, own, neighbor string, options bgp.Neighbor, security router.Neighbor) (s1, r0 *node) {
	t.Helper()
	nettest.Need(t)
	length := "/64"
	if !strings.Contains(own, ":") {
		length = "/24"
	}
	c := speaker(64611, own+length, neighbor)
	if length == "/24" {
		c.Speaker.Allowed = []netip.Prefix{netip.MustParsePrefix(vip4)}
	}
	options.Address, options.ASN = netip.MustParseAddr(neighbor), 65000
	c.Speaker.Neighbor = options
	security.Address, security.ASN = netip.MustParseAddr(own), 64611
	if security.Address.IsLinkLocalUnicast() {
		c.Speaker.Neighbor.Address = options.Address.WithZone("r0")
		security.Address = security.Address.WithZone("s1")
	}
	s1 = start(t, "s1", c)
	r0 = start(t, "r0", child{
		Addresses: map[string][]string{"s1": {neighbor + length}},
		Router:    &router.Config{ASN: 65000, RouterID: netip.MustParseAddr("10.255.0.1"), Neighbors: []router.Neighbor{security}},
	})
	join(r0, s1)
	run(s1, r0)
	var all []string
	for _, p := range c.Speaker.Allowed {
		all = append(all, p.String())
	}
	s1.command(strings.Join(all, " "))
	return s1, r0
}

func TestHold(t *testing.T) {
	_, r0 := pair(t, "2001:db8:1::10", "2001:db8:1::1", bgp.Neighbor{}, router.Neighbor{})
	r0.waitRoute(vip6, "2001:db8:1::10")
	for range 3 {
		r0.command("hold 2001:db8:1::10")
		t.Logf("held: route gone after %v", r0.waitRoute(vip6, ""))
		r0.waitRoute(vip4, "")
		time.Sleep(2500 * time.Millisecond) // the speaker dials in vain meanwhile
		if left := r0.routes(); len(left) > 0 {
			t.Errorf("held, and there is %v", left)
		}
		r0.command("release 2001:db8:1::10")
		t.Logf("released: route back after %v", r0.waitRoute(vip6, "2001:db8:1::10"))
	}
}

// The speaker dials, and its GTSM wants 255 hops already of the router's SYN-ACK.
func TestSecuredSessions(t *testing.T) {
	for name, addrs := range map[string][2]string{
		"global": {"2001:db8:1::10", "2001:db8:1::1"}, "IPv4": {"198.51.100.10", "198.51.100.1"}, "link-local": {"fe80::10", "fe80::1"},
	} {
		t.Run(name, func(t *testing.T) {
			const secret = "correct horse"
			_, r0 := pair(t, addrs[0], addrs[1], bgp.Neighbor{TTLSecurity: true, Password: secret}, router.Neighbor{TTLSecurity: true, Password: secret})
			r0.waitRoute(vip4, addrs[0])
			if name != "IPv4" {
				r0.waitRoute(vip6, addrs[0])
			}
		})
	}
}

func TestHoldRefuses(t *testing.T) {
	r, err := router.New(router.Config{ASN: 65000, RouterID: netip.MustParseAddr("10.0.0.1")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stranger := netip.MustParseAddr("fd00::3")
	for name, err := range map[string]error{"Hold": r.Hold(t.Context(), stranger, ""), "Release": r.Release(t.Context(), stranger)} {
		if err == nil || !strings.Contains(err.Error(), "neighbor fd00::3: is not configured") {
			t.Errorf("%s: %v, want an error that names the neighbor", name, err)
		}
	}
}

// A withdrawal that GoBGP lost is made good, and nobody hears an announcement in passing.
func TestLostWithdrawalIsSentAgain(t *testing.T) {
	nettest.Need(t)
	r0 := start(t, "r0", child{
		Addresses: map[string][]string{"peer": {"2001:db8:1::10/64"}},
		Router: &router.Config{
			ASN: 65000, RouterID: netip.MustParseAddr("10.255.0.1"), Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:ffff::/48")},
			Neighbors: []router.Neighbor{{Address: netip.MustParseAddr("2001:db8:1::1"), ASN: 65533}},
		},
	})
	here := near(t, r0, "peer", "2001:db8:1::1/64") // the lower address waits
	peer := bgptest.NewPeer(t, bgptest.Config{Address: here, ASN: 65533, SpeakerASN: 65000})
	run(r0)
	peer.WaitFor(netip.MustParsePrefix("2001:db8:1::/64"), netip.MustParsePrefix("2001:db8:ffff::/48"))
	for _, lost := range []string{vip6, vip4, vip6} {
		sent := len(peer.Events())
		r0.command("gone " + lost)
		withdrawn := func() bool {
			return slices.ContainsFunc(peer.Events()[sent:], func(e bgptest.Event) bool { return e.Withdrawn && e.Prefix.String() == lost })
		}
		for began := time.Now(); !withdrawn(); time.Sleep(time.Millisecond) {
			if time.Since(began) > patience {
				t.Fatalf("%s was not withdrawn: %v", lost, peer.Events()[sent:])
			}
		}
	}
	r0.command("gone 2001:db8:ffff::/48") // which is there
	for _, e := range peer.Events() {
		if s := e.Prefix.String(); !e.Withdrawn && (s == vip6 || s == vip4) || e.Withdrawn && s == "2001:db8:ffff::/48" {
			t.Errorf("sent in passing: %+v", e)
		}
	}
}

// near makes a link between a node and the test's own namespace; the node's end has a name, this end an address.
func near(t *testing.T, n *node, name, address string) netip.Addr {
	t.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	n.take("far", name)
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	addr.Flags = unix.IFA_F_NODAD
	if err := netlink.AddrAdd(veth, addr); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(veth); err != nil {
		t.Fatal(err)
	}
	return netip.MustParsePrefix(address).Addr()
}
