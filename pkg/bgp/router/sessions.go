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

// add makes GoBGP keep a session with a neighbor, unless that is held. Of two routers the one with the higher address dials, the other waits:
// two connections that cross cost GoBGP up to five seconds.
func (r *Router) add(ctx context.Context, n Neighbor, own netip.Addr) error {
	r.sessions.Lock()
	defer r.sessions.Unlock()
	if r.peers[n.Address] || r.held[n.Address] {
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
	r.sessions.Lock()
	defer r.sessions.Unlock()
	if !r.peers[n.Address] {
		return
	}
	delete(r.peers, n.Address)
	r.mu.Lock()
	wasUp := r.up[n.Address]
	delete(r.up, n.Address)
	delete(r.lost, n.Address)
	delete(r.young, n.Address)
	delete(r.opening, n.Address)
	r.mu.Unlock()
	if err := r.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: n.Address.String()}); err != nil {
		r.log.Warn("session not ended", "neighbor", n.Address, "error", err)
	}
	if wasUp {
		r.log.Info("bgp session ended", "neighbor", n.Address, "reason", why)
	}
}

// revive replaces sessions that ended, unless they are held, and opens those that were released: GoBGP itself would stay
// idle for five seconds and refuse connections meanwhile.
func (r *Router) revive(ctx context.Context) {
	r.mu.Lock()
	lost := r.lost
	r.lost = make(map[netip.Addr]bool)
	r.mu.Unlock()
	for _, n := range r.config.Neighbors {
		index, own := linkOf(r.links, n.Address)
		if !lost[n.Address] || r.isHeld(n) || index != 0 && !r.links[index].up {
			continue
		}
		r.drop(ctx, n, "lost")
		if err := r.add(ctx, n, own); err != nil {
			r.log.Warn("session not revived", "error", err)
		}
	}
}

func (r *Router) isHeld(n Neighbor) bool {
	r.sessions.Lock()
	defer r.sessions.Unlock()
	return r.held[n.Address]
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
	delete(r.opening, st.NeighborAddress)
	if st.SessionState == bgp.BGP_FSM_OPENCONFIRM {
		r.opening[st.NeighborAddress] = true
	}
	switch was := r.up[st.NeighborAddress]; {
	case up && !was:
		r.up[st.NeighborAddress] = true
		r.young[st.NeighborAddress] = true
		r.log.Info("bgp session established", "neighbor", st.NeighborAddress)
		r.wake()
	case was && !up:
		delete(r.up, st.NeighborAddress)
		delete(r.young, st.NeighborAddress)
		r.lost[st.NeighborAddress] = true
		r.log.Info("bgp session lost", "neighbor", st.NeighborAddress, "reason", st.DisconnectMessage)
		r.wake()
	}
}
