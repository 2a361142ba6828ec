package vip

import (
	"errors"
	"net"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A client behind the uplink reaches the service address and hears the answer from it, in spite of scope and lifetime.
func TestServiceAddressServesNeighbors(t *testing.T) {
	for _, test := range []struct{ name, vip, host, router string }{
		{"IPv6", "2001:db8:53::53", "2001:db8:1::10/64", "2001:db8:1::1/64"},
		{"IPv4", "192.0.2.53", "10.1.0.10/24", "10.1.0.1/24"},
	} {
		t.Run(test.name, func(t *testing.T) {
			uplink, peer := newLink(t)
			a := newAddresses(t, "lo")
			vip := hostPrefix(test.vip)
			set(t, a, vip)
			defer set(t, a)
			addForeign(t, uplink, test.host)
			l, err := net.Listen("tcp", net.JoinHostPort(test.vip, "0"))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			err = onRouter(t, peer, func() error {
				addForeign(t, peer, test.router)
				link, err := netlink.LinkByName(peer)
				if err != nil {
					return err
				}
				via := prefix(test.host).Addr().AsSlice()
				err = netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(vip.String()), Gw: via})
				if err != nil {
					return err
				}
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					return err
				}
				return c.Close()
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// onRouter moves the interface to a new network namespace and calls f there, on a thread that ends with it.
func onRouter(t *testing.T, dev string, f func() error) error {
	t.Helper()
	link, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	moved, there, result := make(chan error), make(chan netns.NsHandle), make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: its namespace must not be used by anybody else
		ns, err := netns.New()
		there <- ns
		if err = errors.Join(err, <-moved); err == nil {
			setUp(t, dev)
			err = f()
		}
		result <- err
	}()
	ns := <-there
	moved <- netlink.LinkSetNsFd(link, int(ns))
	defer ns.Close()
	return <-result
}
