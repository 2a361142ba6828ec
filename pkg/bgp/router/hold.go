package router

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/osrg/gobgp/v4/api"
)

// Hold closes the session with a neighbor at once, with a Cease that tells the reason (administrative shutdown, RFC 9003),
// and keeps it closed until Release. The neighbor's routes leave the kernel's table as soon as GoBGP has taken the order.
// A neighbor that is held already only gets the new reason. Hold may be called before Run, from any goroutine.
func (r *Router) Hold(ctx context.Context, neighbor netip.Addr, reason string) error {
	if err := r.configured(neighbor); err != nil {
		return err
	}
	r.sessions.Lock()
	defer r.sessions.Unlock()
	was := r.held[neighbor]
	r.held[neighbor] = true
	if was || !r.peers[neighbor] {
		return nil
	}
	r.log.Info("bgp session held", "neighbor", neighbor, "reason", reason)
	request := &api.DisablePeerRequest{Address: neighbor.String(), Communication: reason}
	if err := r.server.DisablePeer(ctx, request); err != nil {
		return fmt.Errorf("router: neighbor %s: session not closed: %w", neighbor, err)
	}
	return nil
}

// Release ends Hold. It does nothing for a neighbor that is not held.
func (r *Router) Release(_ context.Context, neighbor netip.Addr) error {
	if err := r.configured(neighbor); err != nil {
		return err
	}
	r.sessions.Lock()
	was := r.held[neighbor]
	delete(r.held, neighbor)
	r.sessions.Unlock()
	if was {
		r.mu.Lock()
		r.lost[neighbor] = true
		r.mu.Unlock()
		r.wake()
	}
	return nil
}

func (r *Router) configured(neighbor netip.Addr) error {
	for _, n := range r.config.Neighbors {
		if n.Address == neighbor {
			return nil
		}
	}
	return fmt.Errorf("router: neighbor %s: is not configured", neighbor)
}
