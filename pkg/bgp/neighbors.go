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
	sent, received := s.counters()
	s.mu.Lock()
	defer s.mu.Unlock()
	l := make([]NeighborStatus, 0, len(s.config.Neighbors))
	for _, n := range s.config.Neighbors {
		st := s.status[n.Address]
		st.SentUpdates = max(st.SentUpdates, sent[n.Address])
		st.ReceivedUpdates = max(st.ReceivedUpdates, received[n.Address])
		c := *st
		c.Families, c.NotCarried = slices.Clone(st.Families), slices.Clone(st.NotCarried)
		l = append(l, c)
	}
	return l
}

func (s *Speaker) counters() (sent, received map[netip.Addr]uint64) {
	sent, received = make(map[netip.Addr]uint64), make(map[netip.Addr]uint64)
	s.apply.Lock()
	gobgp := s.server
	s.apply.Unlock()
	if gobgp == nil {
		return sent, received
	}
	_ = gobgp.ListPeer(context.Background(), &api.ListPeerRequest{}, func(p *api.Peer) { // fails only when stopped
		addr, err := netip.ParseAddr(p.GetState().GetNeighborAddress())
		if err != nil {
			return
		}
		m := p.GetState().GetMessages()
		sent[addr], received[addr] = m.GetSent().GetUpdate(), m.GetReceived().GetUpdate()
	})
	return sent, received
}
