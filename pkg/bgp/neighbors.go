package bgp

import (
	"context"
	"net/netip"
	"slices"

	"github.com/osrg/gobgp/v4/api"
)

// Neighbors returns the sessions in the order of the configuration, as copies. It asks GoBGP for its counters, which
// takes a turn in GoBGP's loop: not for the path of a failover.
func (s *Speaker) Neighbors() []NeighborStatus {
	received := s.received(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	l := make([]NeighborStatus, 0, len(s.config.Neighbors))
	for _, n := range s.config.Neighbors {
		st := s.status[n.Address]
		st.SentUpdates = s.sent[n.Address].Load()
		st.ReceivedUpdates = max(st.ReceivedUpdates, s.base[n.Address]+received[n.Address])
		c := *st
		c.Families, c.NotCarried = slices.Clone(st.Families), slices.Clone(st.NotCarried)
		l = append(l, c)
	}
	return l
}

// received asks GoBGP how many UPDATEs came in the present sessions.
func (s *Speaker) received(ctx context.Context) map[netip.Addr]uint64 {
	n := make(map[netip.Addr]uint64)
	s.apply.Lock()
	gobgp := s.server
	s.apply.Unlock()
	if gobgp == nil {
		return n
	}
	_ = gobgp.ListPeer(ctx, &api.ListPeerRequest{}, func(p *api.Peer) { // fails only when stopped
		if addr, err := netip.ParseAddr(p.GetState().GetNeighborAddress()); err == nil {
			n[addr] = p.GetState().GetMessages().GetReceived().GetUpdate()
		}
	})
	return n
}
