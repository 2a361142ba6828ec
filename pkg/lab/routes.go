package lab

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
)

// routeWatch notes when the kernels' tables of the lab's routers change for the addresses that are measured.
type routeWatch struct {
	mu      sync.Mutex // guards following
	changes []routeChange
}

type routeChange struct {
	node string
	at   int64 // CLOCK_MONOTONIC, ns
	to   netip.Prefix
}

// run watches until ctx is done; ready is closed once every router is watched.
func (w *routeWatch) run(ctx context.Context, l *Lab, routers []string, ready chan<- struct{}) error {
	var g errgroup.Group
	for _, name := range routers {
		updates := make(chan netlink.RouteUpdate, 256)
		ns := l.spaces[name].handle
		err := netlink.RouteSubscribeWithOptions(updates, ctx.Done(), netlink.RouteSubscribeOptions{Namespace: &ns})
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
		w.mu.Lock()
		w.changes = append(w.changes, routeChange{node: node, at: at, to: netip.PrefixFrom(addr.Unmap(), bits)})
		w.mu.Unlock()
	}
}

// between returns when the first router changed its route to addr in (from, to], and when the last one did so for its
// first time: a router that diverts the clients does it once, while those behind it may learn of the new way again later.
func (w *routeWatch) between(addr netip.Addr, from, to int64) (first, last routeChange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[string]bool{}
	for _, c := range slices.SortedFunc(slices.Values(w.changes), byTime) {
		if c.at <= from || c.at > to || seen[c.node] || !c.to.Contains(addr) {
			continue
		}
		if len(seen) == 0 {
			first = c
		}
		seen[c.node], last = true, c
	}
	return first, last
}

func byTime(a, b routeChange) int { return cmp.Compare(a.at, b.at) }
