package router

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// add makes GoBGP hold a session with a neighbor. Of two routers the one with the higher address dials, the other waits:
// two connections that cross cost GoBGP up to five seconds.
func (r *Router) add(ctx context.Context, n Neighbor, own netip.Addr) error {
	if r.peers[n.Address] {
		return nil
	}
	passive := own.IsValid() && own.Less(n.Address)
	if err := r.server.AddPeer(ctx, &api.AddPeerRequest{Peer: gobgpPeer(n, r.config.HoldTime, passive)}); err != nil {
		return fmt.Errorf("neighbor %s: %w", n.Address, err)
	}
	r.peers[n.Address] = true
	return nil
}

// drop ends a session and forgets its paths at once.
func (r *Router) drop(ctx context.Context, n Neighbor, why string) {
	if !r.peers[n.Address] {
		return
	}
	delete(r.peers, n.Address)
	r.mu.Lock()
	wasUp := r.up[n.Address]
	delete(r.up, n.Address)
	delete(r.lost, n.Address)
	delete(r.young, n.Address)
	r.mu.Unlock()
	if err := r.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: n.Address.String()}); err != nil {
		r.log.Warn("session not ended", "neighbor", n.Address, "error", err)
	}
	if wasUp {
		r.log.Info("bgp session ended", "neighbor", n.Address, "reason", why)
	}
}

// revive replaces sessions that ended: GoBGP itself would stay idle for five seconds and refuse connections meanwhile.
func (r *Router) revive(ctx context.Context) {
	r.mu.Lock()
	lost := r.lost
	r.lost = make(map[netip.Addr]bool)
	r.mu.Unlock()
	for _, n := range r.config.Neighbors {
		if !lost[n.Address] || !r.peers[n.Address] {
			continue
		}
		r.drop(ctx, n, "lost")
		_, own := linkOf(r.links, n.Address)
		if err := r.add(ctx, n, own); err != nil {
			r.log.Warn("session not revived", "error", err)
		}
	}
}

// sendAgain gives young sessions all routes once more: GoBGP loses a path that comes between the first table of a new
// session and the moment when the session counts as established.
func (r *Router) sendAgain(ctx context.Context) {
	r.mu.Lock()
	young := r.young
	r.young = make(map[netip.Addr]bool)
	r.mu.Unlock()
	for n := range young {
		request := &api.ResetPeerRequest{Address: n.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT}
		if err := r.server.ResetPeer(ctx, request); err != nil {
			r.log.Warn("routes not sent again", "neighbor", n, "error", err)
		}
	}
}

// onPeer is called by GoBGP's watcher.
func (r *Router) onPeer(ev *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
	if ev.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	st := ev.Peer.State
	up := st.SessionState == bgp.BGP_FSM_ESTABLISHED
	r.mu.Lock()
	defer r.mu.Unlock()
	switch was := r.up[st.NeighborAddress]; {
	case up && !was:
		r.up[st.NeighborAddress] = true
		r.young[st.NeighborAddress] = true
		r.log.Info("bgp session established", "neighbor", st.NeighborAddress)
		r.wake()
	case was && !up:
		delete(r.up, st.NeighborAddress)
		r.lost[st.NeighborAddress] = true
		r.log.Info("bgp session lost", "neighbor", st.NeighborAddress, "reason", st.DisconnectMessage)
		r.wake()
	}
}
