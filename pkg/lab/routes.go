package lab

import (
	"context"
	"fmt"
	"net/netip"
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

// between returns the first and the last change of a route to addr in (from, to].
func (w *routeWatch) between(addr netip.Addr, from, to int64) (first, last routeChange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.changes {
		if c.at <= from || c.at > to || !c.to.Contains(addr) {
			continue
		}
		if first.node == "" || c.at < first.at {
			first = c
		}
		if c.at > last.at {
			last = c
		}
	}
	return first, last
}
