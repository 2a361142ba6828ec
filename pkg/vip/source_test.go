package vip

import (
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// The host's own traffic must not leave from a service address. Both tests are such that the kernel would choose it if it
// were an address like any other.

// The host's own address is on lo too, as with unnumbered uplinks: then rule 8 of RFC 6724, longest match, decides, unless
// rule 3 has left out a deprecated one.
func TestIPv6ServiceAddressIsNoSource(t *testing.T) {
	uplink, _ := newLink(t)
	const own, to = "2001:db8:1::10", "2001:db8:53::99"
	addForeign(t, "lo", own+"/128")
	defer deleteForeign(t, "lo", own+"/128")
	a := newAddresses(t, "lo")
	set(t, a, prefix("2001:db8:53::53/128"))
	defer set(t, a)
	addDefaultRoute(t, uplink, netip.MustParseAddr(to))
	if got := source(t, to); got != own {
		t.Errorf("source to %s: %s, want %s", to, got, own)
	}
}

// The uplink has no IPv4 address, so the kernel looks for one on other interfaces, lo first.
func TestIPv4ServiceAddressIsNoSource(t *testing.T) {
	uplink, _ := newLink(t)
	const own, to = "10.1.0.10", "10.2.0.1"
	a := newAddresses(t, "lo")
	set(t, a, prefix("192.0.2.53/32"))
	defer set(t, a)
	addForeign(t, "lo", own+"/32")
	defer deleteForeign(t, "lo", own+"/32")
	addDefaultRoute(t, uplink, netip.MustParseAddr(to))
	if got := source(t, to); got != own {
		t.Errorf("source to %s: %s, want %s", to, got, own)
	}
}

// source returns the address from which the kernel would send.
func source(t *testing.T, to string) string {
	t.Helper()
	c, err := net.Dial("udp", net.JoinHostPort(to, "9"))
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).IP.String()
}

func addDefaultRoute(t *testing.T, dev string, like netip.Addr) {
	t.Helper()
	link, err := netlink.LinkByName(dev)
	if err != nil {
		t.Fatal(err)
	}
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if like.Is6() {
		all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	// Scope universe, as if there were a gateway: the kernel chooses the source for the wide world.
	err = netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(all.String()), Scope: netlink.SCOPE_UNIVERSE})
	if err != nil {
		t.Fatal(err)
	}
}

// Without the capability New says so before anything is tried.
func TestNoPermission(t *testing.T) {
	nettest.Need(t)
	err := unprivileged(t, func() error { _, err := New(nil, "lo"); return err })
	if err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") || !strings.Contains(err.Error(), "lo") {
		t.Errorf("New without rights: %v, want an error that names lo and CAP_NET_ADMIN", err)
	}
}

func TestPermissionLostLater(t *testing.T) {
	dev, _ := newLink(t)
	a := newAddresses(t, dev)
	set(t, a, prefix("192.0.2.53/32"))
	err := unprivileged(t, func() error { return a.Set(t.Context(), prefix("192.0.2.54/32")) })
	for _, want := range []string{"vip: add 192.0.2.54/32 to " + dev, "vip: remove 192.0.2.53/32 from " + dev, "CAP_NET_ADMIN"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Set without rights: %v, want %q in it", err, want)
		}
	}
}

// unprivileged calls f on a thread of its own that has given up all capabilities, and that ends with it.
func unprivileged(t *testing.T, f func() error) error {
	t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}
