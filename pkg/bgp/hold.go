package bgp

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/osrg/gobgp/v4/api"
)

// Hold closes the session with a neighbor at once, with a Cease that tells the reason (administrative shutdown, RFC 9003;
// GoBGP cannot send "BFD down" of RFC 9384 as a code), and keeps it closed, also against the neighbor's own tries, until
// Release. It returns when the order was taken; that the session is down is seen by Neighbors. A neighbor that is held
// already only gets the new reason. Hold may be called before Run: the session is then not opened in the first place.
func (s *Speaker) Hold(ctx context.Context, neighbor netip.Addr, reason string) error {
	if _, err := s.neighbor(neighbor); err != nil {
		return err
	}
	if reason == "" {
		reason = "held"
	}
	s.sessions.Lock()
	defer s.sessions.Unlock()
	if s.setHeld(neighbor, reason) || !s.peers[neighbor] {
		return nil
	}
	request := &api.DisablePeerRequest{Address: neighbor.String(), Communication: reason}
	if err := s.peering.DisablePeer(ctx, request); err != nil {
		return fmt.Errorf("bgp: neighbor %s: session not closed: %w", neighbor, err)
	}
	return nil
}

// Release ends Hold: the neighbor is dialed within two seconds, by a session that knows nothing of the one that was held.
// It does nothing for a neighbor that is not held.
func (s *Speaker) Release(ctx context.Context, neighbor netip.Addr) error {
	n, err := s.neighbor(neighbor)
	if err != nil {
		return err
	}
	s.sessions.Lock()
	defer s.sessions.Unlock()
	if !s.setHeld(neighbor, "") || s.peering == nil {
		return nil
	}
	if err := s.replace(ctx, n); err != nil {
		return fmt.Errorf("bgp: neighbor %s: session not opened: %w", neighbor, err)
	}
	return nil
}

// setHeld tells whether the neighbor was held before.
func (s *Speaker) setHeld(neighbor netip.Addr, reason string) (was bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, was = s.held[neighbor]
	s.status[neighbor].Held = reason
	if reason == "" {
		delete(s.held, neighbor)
	} else {
		s.held[neighbor] = reason
	}
	return was
}

func (s *Speaker) isHeld(neighbor netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, held := s.held[neighbor]
	return held
}

func (s *Speaker) neighbor(addr netip.Addr) (Neighbor, error) {
	for _, n := range s.config.Neighbors {
		if n.Address == addr {
			return n, nil
		}
	}
	return Neighbor{}, fmt.Errorf("bgp: neighbor %s: is not configured", addr)
}

// replace gives a neighbor a fresh session. GoBGP's own would stay idle for five seconds before it dials again, and would
// carry over what was queued for the old one. The caller holds s.sessions.
func (s *Speaker) replace(ctx context.Context, n Neighbor) error {
	if s.peers[n.Address] {
		if err := s.peering.DeletePeer(ctx, &api.DeletePeerRequest{Address: n.Address.String()}); err != nil {
			return err
		}
		delete(s.peers, n.Address)
	}
	if err := s.peering.AddPeer(ctx, &api.AddPeerRequest{Peer: gobgpPeer(n, s.config.HoldTime)}); err != nil {
		return err
	}
	s.peers[n.Address] = true
	return nil
}
