package router

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

var (
	hopA   = netip.MustParseAddr("2001:db8:a::1")
	hopB   = netip.MustParseAddr("2001:db8:a::2")
	vip    = netip.MustParsePrefix("2001:db8:53::53/128")
	vip4   = netip.MustParsePrefix("192.0.2.53/32")
	absent = netip.MustParseAddr("2001:db8:bbbb::1") // no link leads there
)

// newTestFIB makes a table beside a link to hopA and hopB.
func newTestFIB(t *testing.T) (f *fib, log *bytes.Buffer, failures *int) {
	t.Helper()
	nettest.Need(t)
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "d0"}, PeerName: "d1"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	peer, err := netlink.LinkByName("d1")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(peer); err != nil {
		t.Fatal(err)
	}
	addr, err := netlink.ParseAddr("2001:db8:a::ff/64")
	if err != nil {
		t.Fatal(err)
	}
	addr.Flags = unix.IFA_F_NODAD
	if err := netlink.AddrAdd(link, addr); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatal(err)
	}
	log, failures = new(bytes.Buffer), new(int)
	f, err = newFIB(slog.New(slog.NewTextHandler(log, nil)), func() { *failures++ })
	if err != nil {
		t.Fatal(err)
	}
	return f, log, failures
}

// kernel returns the next hops of a BGP route, nil when there is none.
func kernel(t *testing.T, p netip.Prefix) []string {
	t.Helper()
	family := unix.AF_INET6
	if p.Addr().Is4() {
		family = unix.AF_INET
	}
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Protocol: unix.RTPROT_BGP}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		t.Fatal(err)
	}
	var hops []string
	for _, r := range routes {
		if r.Dst.String() != p.String() {
			continue
		}
		if r.Priority != metric {
			t.Errorf("metric %d, want %d", r.Priority, metric)
		}
		for _, h := range append(r.MultiPath, &netlink.NexthopInfo{Gw: r.Gw, Via: r.Via}) {
			if via, ok := h.Via.(*netlink.Via); ok && via != nil {
				hops = append(hops, via.Addr.String())
			} else if h.Gw != nil {
				hops = append(hops, h.Gw.String())
			}
		}
	}
	slices.Sort(hops)
	return hops
}

func expect(t *testing.T, p netip.Prefix, want ...string) {
	t.Helper()
	if got := kernel(t, p); !slices.Equal(got, want) {
		t.Errorf("%s has next hops %v, want %v", p, got, want)
	}
}

func TestFIBFollowsThePaths(t *testing.T) {
	f, _, _ := newTestFIB(t)
	for _, p := range []netip.Prefix{vip, vip4} {
		f.update([]change{{p, hopA, hopA}})
		expect(t, p, hopA.String())
		f.update([]change{{p, hopB, hopB}})
		expect(t, p, hopA.String(), hopB.String())
		f.update([]change{{p, hopA, netip.Addr{}}, {p, hopA, hopA}}) // a withdrawal and an update of one neighbor
		expect(t, p, hopA.String(), hopB.String())
		f.update([]change{{p, hopA, hopB}}) // two neighbors, one next hop
		expect(t, p, hopB.String())
		f.update([]change{{p, hopA, netip.Addr{}}, {p, hopB, netip.Addr{}}})
		expect(t, p)
		f.update([]change{{p, hopB, netip.Addr{}}}) // unknown
		expect(t, p)
	}
}

func TestFIBRewritesWhatTheKernelLost(t *testing.T) {
	f, _, _ := newTestFIB(t)
	f.update([]change{{vip, hopA, hopA}})
	if err := clean(); err != nil {
		t.Fatal(err)
	}
	expect(t, vip)
	f.rewrite()
	expect(t, vip, hopA.String())
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	f.update([]change{{vip, hopB, hopB}})
	expect(t, vip)
}

func TestFIBTriesAgain(t *testing.T) {
	f, log, failures := newTestFIB(t)
	f.update([]change{{vip, absent, absent}})
	if *failures != 1 || log.Len() > 0 {
		t.Errorf("%d failures, log %q; want one, not told yet", *failures, log)
	}
	f.retry()
	if !f.retry() || strings.Count(log.String(), "route not written") != 1 {
		t.Errorf("log %q, want one line for a route that still fails", log)
	}
	f.update([]change{{vip, absent, netip.Addr{}}, {vip, hopA, hopA}})
	if f.retry() {
		t.Error("still something to retry")
	}
	expect(t, vip, hopA.String())
}
