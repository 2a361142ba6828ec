package lab

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// routeBuffer is what the kernel may hold of notices that are still to be read, in bytes: a flapping site makes many.
const routeBuffer = 1 << 20

// routeWatch notes when the kernels' tables of the lab's routers change.
type routeWatch struct {
	mu      sync.Mutex // guards following
	changes []routeChange
	err     error // why some were missed
}

type routeChange struct {
	node string
	at   int64 // CLOCK_MONOTONIC, ns
	to   netip.Prefix
	hops []netip.Addr // next hops in order; an invalid one: none is named
	gone bool         // the route was removed
}

func (c routeChange) String() string {
	verb := "route to " + c.to.String()
	if c.gone {
		return verb + " removed"
	}
	var hops []string
	for _, h := range c.hops {
		if h.IsValid() {
			hops = append(hops, h.String())
		}
	}
	if len(hops) == 0 {
		return verb
	}
	return verb + " via " + strings.Join(hops, ", ")
}

// run watches until ctx is done; ready is closed once every router is watched.
func (w *routeWatch) run(ctx context.Context, l *Lab, routers []string, ready chan<- struct{}) error {
	var g errgroup.Group
	for _, name := range routers {
		updates := make(chan netlink.RouteUpdate, 256)
		ns := l.spaces[name].handle
		err := netlink.RouteSubscribeWithOptions(updates, ctx.Done(), netlink.RouteSubscribeOptions{
			Namespace: &ns, ReceiveBufferSize: routeBuffer,
			ErrorCallback: func(err error) { w.fail(ctx, name, err) },
		})
		if err != nil {
			return fmt.Errorf("watch routes of %s: %w", name, err)
		}
		g.Go(func() error { w.follow(name, updates); return nil })
	}
	close(ready)
	return g.Wait()
}

func (w *routeWatch) follow(node string, updates <-chan netlink.RouteUpdate) {
	for u := range updates {
		at := monotonic()
		if u.Dst == nil {
			continue
		}
		addr, _ := netip.AddrFromSlice(u.Dst.IP)
		bits, _ := u.Dst.Mask.Size()
		c := routeChange{
			node: node, at: at, to: netip.PrefixFrom(addr.Unmap(), bits), hops: nextHops(u.Route), gone: u.Type == unix.RTM_DELROUTE,
		}
		w.mu.Lock()
		w.changes = append(w.changes, c)
		w.mu.Unlock()
	}
}

// nextHops returns the next hops of a route, also those of IPv4 over IPv6.
func nextHops(r netlink.Route) []netip.Addr {
	hop := func(gw []byte, via netlink.Destination) netip.Addr {
		if v, ok := via.(*netlink.Via); ok {
			gw = v.Addr
		}
		addr, _ := netip.AddrFromSlice(gw)
		return addr.Unmap()
	}
	if len(r.MultiPath) == 0 {
		return []netip.Addr{hop(r.Gw, r.Via)}
	}
	var hops []netip.Addr
	for _, n := range r.MultiPath {
		hops = append(hops, hop(n.Gw, n.Via))
	}
	slices.SortFunc(hops, netip.Addr.Compare)
	return hops
}

// fail keeps why notices of a router ended; at the end of the watch that is as it should be.
func (w *routeWatch) fail(ctx context.Context, node string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() == nil && w.err == nil {
		w.err = fmt.Errorf("watch routes of %s: %w", node, err)
	}
}

// of returns the changes of routes to addr in (from, to], by their time.
func (w *routeWatch) of(addr netip.Addr, from, to int64) ([]routeChange, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []routeChange
	for _, c := range w.changes {
		if c.at > from && c.at <= to && c.to.Contains(addr) {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b routeChange) int { return cmp.Compare(a.at, b.at) })
	return found, w.err
}

// forget drops what happened until a moment: a flapping site makes many changes.
func (w *routeWatch) forget(until int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes = slices.DeleteFunc(w.changes, func(c routeChange) bool { return c.at <= until })
}

// firstAndLast returns when the first router changed its route until a moment, and when the last one did so for its first
// time: a router that diverts the clients does it once, while those behind it may learn of the new way again later.
func firstAndLast(changes []routeChange, until int64) (first, last routeChange) {
	seen := map[string]bool{}
	for _, c := range changes {
		if c.at > until || seen[c.node] {
			continue
		}
		if len(seen) == 0 {
			first = c
		}
		seen[c.node], last = true, c
	}
	return first, last
}
