package router

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// metric is worse than that of connected routes (IPv6: 256) and of static ones (IPv6: 1024): those win.
const metric = 2048

// A fib keeps the kernel's main table equal to the best paths. Its routes carry protocol "bgp".
type fib struct {
	log    *slog.Logger
	onFail func() // the kernel refused a route: come back with retry

	mu     sync.Mutex // guards all below
	closed bool
	told   map[netip.Prefix]bool                      // failed, and a person was told
	paths  map[netip.Prefix]map[netip.Addr]netip.Addr // prefix: neighbor: next hop
	failed map[netip.Prefix]bool                      // not in the kernel as wanted
}

// A change is one path that came or went.
type change struct {
	prefix   netip.Prefix
	neighbor netip.Addr
	nextHop  netip.Addr // zero: gone
}

// newFIB removes what an earlier router left in the table.
func newFIB(log *slog.Logger, onFail func()) (*fib, error) {
	f := &fib{log: log, onFail: onFail, paths: make(map[netip.Prefix]map[netip.Addr]netip.Addr), failed: make(map[netip.Prefix]bool), told: make(map[netip.Prefix]bool)}
	return f, clean()
}

// close removes all routes and ignores what comes later.
func (f *fib) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return clean()
}

// clean removes all BGP routes from the main table.
func clean() error {
	for _, family := range []int{unix.AF_INET6, unix.AF_INET} {
		filter := &netlink.Route{Protocol: unix.RTPROT_BGP, Table: unix.RT_TABLE_MAIN}
		routes, err := netlink.RouteListFiltered(family, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			return fmt.Errorf("cannot read the kernel's routes: %w", err)
		}
		for _, r := range routes {
			if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("cannot remove the old bgp route %s (CAP_NET_ADMIN is needed): %w", r.Dst, err)
			}
		}
	}
	return nil
}

// update takes changes and writes every prefix that they touch once.
func (f *fib) update(changes []change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	var dirty []netip.Prefix
	for _, c := range changes {
		f.note(c)
		if !slices.Contains(dirty, c.prefix) {
			dirty = append(dirty, c.prefix)
		}
	}
	for _, p := range dirty {
		f.write(p)
	}
}

func (f *fib) note(c change) {
	if !c.nextHop.IsValid() {
		delete(f.paths[c.prefix], c.neighbor)
		return
	}
	if f.paths[c.prefix] == nil {
		f.paths[c.prefix] = make(map[netip.Addr]netip.Addr)
	}
	f.paths[c.prefix][c.neighbor] = c.nextHop
}

// write makes the kernel's route of one prefix what the paths say.
func (f *fib) write(p netip.Prefix) {
	r := route(p, f.hops(p))
	var err error
	if len(f.paths[p]) == 0 {
		delete(f.paths, p)
		if err = netlink.RouteDel(r); errors.Is(err, unix.ESRCH) {
			err = nil // the kernel removed it with its link
		}
	} else {
		err = netlink.RouteReplace(r)
	}
	if err == nil {
		delete(f.failed, p)
		delete(f.told, p)
		return
	}
	// The first failure is usual: a link is gone, and the withdrawal of its paths is on its way.
	if f.failed[p] && !f.told[p] {
		f.told[p] = true
		f.log.Warn("route not written, trying again", "prefix", p, "next_hops", f.hops(p), "error", err)
	}
	f.failed[p] = true
	f.onFail()
}

// retry writes what failed, and tells whether something still does.
func (f *fib) retry() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.failed {
		f.write(p)
	}
	return len(f.failed) > 0
}

// has tells whether there is a path.
func (f *fib) has(p netip.Prefix) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.paths[p]) > 0
}

// rewrite writes all routes again: the kernel may have dropped some with a link.
func (f *fib) rewrite() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.paths {
		f.write(p)
	}
}

// hops returns the distinct next hops of a prefix, in order.
func (f *fib) hops(p netip.Prefix) []netip.Addr {
	var hops []netip.Addr
	for _, h := range f.paths[p] {
		if !slices.Contains(hops, h) {
			hops = append(hops, h)
		}
	}
	slices.SortFunc(hops, netip.Addr.Compare)
	return hops
}

// route is a route of the main table; with several next hops it is an ECMP set.
func route(p netip.Prefix, hops []netip.Addr) *netlink.Route {
	r := &netlink.Route{
		Dst:      &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
		Protocol: unix.RTPROT_BGP,
		Priority: metric,
		Table:    unix.RT_TABLE_MAIN,
	}
	for _, h := range hops {
		gw, via, link := gateway(p, h)
		if len(hops) == 1 {
			r.Gw, r.Via, r.LinkIndex = gw, via, link
			break
		}
		r.MultiPath = append(r.MultiPath, &netlink.NexthopInfo{Gw: gw, Via: via, LinkIndex: link})
	}
	return r
}

// gateway tells a next hop as netlink wants it: IPv4 over an IPv6 next hop is RTA_VIA.
func gateway(p netip.Prefix, hop netip.Addr) (gw net.IP, via netlink.Destination, link int) {
	if hop.Zone() != "" {
		if l, err := net.InterfaceByName(hop.Zone()); err == nil {
			link = l.Index
		}
	}
	if p.Addr().Is4() && hop.Is6() {
		return nil, &netlink.Via{AddrFamily: unix.AF_INET6, Addr: hop.AsSlice()}, link
	}
	return hop.AsSlice(), nil, link
}
