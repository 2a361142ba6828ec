package vip

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// hostPrefix returns the /32 or /128 of an address.
func hostPrefix(s string) netip.Prefix {
	addr := netip.MustParseAddr(s)
	return netip.PrefixFrom(addr, addr.BitLen())
}

// newLink makes an interface that is up and has no address, not even a link-local one; its other end is peer.
func newLink(t *testing.T) (name, peer string) {
	t.Helper()
	nettest.Need(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "vip0"
	link := &netlink.Veth{LinkAttrs: attrs, PeerName: "vip1"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	for _, name := range []string{link.Name, link.PeerName} {
		setUp(t, name)
	}
	return link.Name, link.PeerName
}

func setUp(t *testing.T, name string) {
	t.Helper()
	const none = 1 // IN6_ADDR_GEN_MODE_NONE
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = errors.Join(netlink.LinkSetIP6AddrGenMode(link, none), netlink.LinkSetUp(link))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func removeLink(t *testing.T, name string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func newAddresses(t *testing.T, dev string) *Addresses {
	t.Helper()
	a, err := New(nil, dev)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func set(t *testing.T, a *Addresses, wanted ...netip.Prefix) {
	t.Helper()
	if err := a.Set(t.Context(), wanted...); err != nil {
		t.Fatalf("Set(%v): %v", wanted, err)
	}
}

func wantOurs(t *testing.T, a *Addresses, want ...netip.Prefix) {
	t.Helper()
	got, err := a.List()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(want, netip.Prefix.Compare)
	want = slices.Compact(want)
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty()); d != "" {
		t.Errorf("List (-want +got):\n%s", d)
	}
}

// all returns every address on the interface, ours or not, as another program sees them.
func all(t *testing.T, dev string) []string {
	t.Helper()
	var list []string
	for _, a := range addrs(t, dev, netlink.FAMILY_ALL) {
		list = append(list, a.IPNet.String())
	}
	slices.SortFunc(list, strings.Compare)
	return list
}

func one(t *testing.T, dev string, family int) netlink.Addr {
	t.Helper()
	list := addrs(t, dev, family)
	if len(list) != 1 {
		t.Fatalf("%d addresses on %s, want 1: %v", len(list), dev, list)
	}
	return list[0]
}

func addrs(t *testing.T, dev string, family int) []netlink.Addr {
	t.Helper()
	link, err := netlink.LinkByName(dev)
	if err != nil {
		t.Fatal(err)
	}
	list, err := netlink.AddrList(link, family)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func ipNet(s string) *net.IPNet {
	p := prefix(s)
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func addForeign(t *testing.T, dev, addr string) {
	t.Helper()
	link, err := netlink.LinkByName(dev)
	if err == nil {
		// No duplicate detection: an address under it cannot be a source yet.
		err = netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(addr), Flags: unix.IFA_F_NODAD})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func deleteForeign(t *testing.T, dev, addr string) {
	t.Helper()
	link, err := netlink.LinkByName(dev)
	if err == nil {
		err = netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(addr)})
	}
	if err != nil {
		t.Error(err)
	}
}
