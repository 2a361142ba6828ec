package bgp

import (
	"net/netip"
	"slices"
)

// Neighbors returns the sessions in the order of the configuration, as copies.
func (s *Speaker) Neighbors() []NeighborStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := make([]NeighborStatus, 0, len(s.config.Neighbors))
	for _, n := range s.config.Neighbors {
		c := *s.status[n.Address]
		counts := s.counts[n.Address]
		c.SentUpdates, c.ReceivedUpdates = counts.sent.Load(), counts.received.Load()
		c.Families, c.NotCarried = slices.Clone(c.Families), slices.Clone(c.NotCarried)
		l = append(l, c)
	}
	return l
}

// Heard returns the neighbors that now send a route of somebody else for exactly this prefix, which must be among
// Config.Allowed or in a pool, or for one that covers it; sorted. It is what Adj-RIB-In tells before any policy. Not counted is what
// says nothing about another announcer: a route with the own AS number in its path or the own router ID as its
// originator, a default route, an aggregate (it may be made of the own route), and a route that is itself de-preferred:
// two sick announcers must not rely on each other.
func (s *Speaker) Heard(prefix netip.Prefix) []netip.Addr { return s.sensor.heard(prefix) }

// Carries tells whether a session is established that can carry the prefix.
func (s *Speaker) Carries(prefix netip.Prefix) bool { return s.ledger.canCarry(prefix) }
