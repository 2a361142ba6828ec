package bgp

import (
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// A sensor keeps which neighbors send somebody else's route for what this speaker may announce. It touches neither GoBGP
// nor any clock. Safe for concurrent use.
type sensor struct {
	asn      uint32
	routerID netip.Addr     // set before the first session
	allowed  []netip.Prefix // by address, then length
	pools    []netip.Prefix

	mu     sync.Mutex                             // guards all below
	routes map[netip.Addr]map[netip.Prefix]bool   // of each neighbor: counted routes that cover an allowed prefix, or touch a pool
	counts map[netip.Prefix]map[netip.Addr]uint16 // of each allowed prefix: counted routes that cover it, by neighbor
}

// A route is what the attributes of a received UPDATE tell about who announces its prefixes.
type route struct {
	path       []uint32 // AS path, sets included
	originator netip.Addr
	aggregate  bool
	leaving    bool // GRACEFUL_SHUTDOWN (RFC 8326)
}

func newSensor(asn uint32, allowed, pools []netip.Prefix) *sensor {
	sorted := slices.Clone(allowed)
	slices.SortFunc(sorted, byAddress)
	return &sensor{
		asn: asn, allowed: sorted, pools: pools,
		routes: make(map[netip.Addr]map[netip.Prefix]bool), counts: make(map[netip.Prefix]map[netip.Addr]uint16),
	}
}

func byAddress(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

// received notes one UPDATE and tells whether that changed what is heard.
func (s *sensor) received(neighbor netip.Addr, u update, r route) (changed bool) {
	counted := s.counted(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range u.withdrawn {
		changed = s.note(neighbor, p, false) || changed
	}
	for _, p := range u.announced { // a route replaces the neighbor's last one, whatever that was
		changed = s.note(neighbor, p, counted) || changed
	}
	return changed
}

// counted tells whether a route is a sign of another announcer that one may rely on.
func (s *sensor) counted(r route) bool {
	own := slices.Contains(r.path, s.asn) || r.originator.IsValid() && r.originator == s.routerID
	return !own && !r.aggregate && !r.leaving && !padded(r.path)
}

// padded tells whether the origin has lengthened its path as far as Depreferred does: the community may not have come so far.
func padded(path []uint32) bool {
	n := 0
	for i := len(path) - 1; i >= 0 && path[i] == path[len(path)-1]; i-- {
		n++
	}
	return n > depreferredPrepend
}

// note is called with s.mu held.
func (s *sensor) note(neighbor netip.Addr, p netip.Prefix, counted bool) (changed bool) {
	if p = p.Masked(); s.routes[neighbor][p] == counted || p.Bits() == 0 {
		return false
	}
	covered := s.covered(p)
	touches := slices.ContainsFunc(s.pools, p.Overlaps)
	if len(covered) == 0 && !touches {
		return false
	}
	if !counted {
		delete(s.routes[neighbor], p)
	} else if s.routes[neighbor] == nil {
		s.routes[neighbor] = map[netip.Prefix]bool{p: true}
	} else {
		s.routes[neighbor][p] = true
	}
	for _, a := range covered {
		changed = s.count(a, neighbor, counted) || changed
	}
	return changed || touches
}

// count is called with s.mu held.
func (s *sensor) count(allowed netip.Prefix, neighbor netip.Addr, more bool) (changed bool) {
	by := s.counts[allowed]
	switch {
	case more && by == nil:
		s.counts[allowed] = map[netip.Addr]uint16{neighbor: 1}
		return true
	case more:
		by[neighbor]++
		return by[neighbor] == 1
	case by[neighbor] > 1:
		by[neighbor]--
		return false
	default:
		delete(by, neighbor)
		return true
	}
}

// covered returns the allowed prefixes that are p or lie in it.
func (s *sensor) covered(p netip.Prefix) (l []netip.Prefix) {
	i, _ := slices.BinarySearchFunc(s.allowed, netip.PrefixFrom(p.Addr(), 0), byAddress)
	for ; i < len(s.allowed) && p.Contains(s.allowed[i].Addr()); i++ {
		if s.allowed[i].Bits() >= p.Bits() {
			l = append(l, s.allowed[i])
		}
	}
	return l
}

// lost forgets all that a neighbor sent, and tells whether that changed what is heard.
func (s *sensor) lost(neighbor netip.Addr) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.routes[neighbor] {
		changed = s.note(neighbor, p, false) || changed
	}
	return changed
}

func (s *sensor) heard(p netip.Prefix) []netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, found := slices.BinarySearchFunc(s.allowed, p, byAddress); found {
		return slices.SortedFunc(maps.Keys(s.counts[p]), netip.Addr.Compare)
	}
	return s.heardOfPool(p)
}

// heardOfPool is heard for an address of a pool. Nobody counts for addresses that may never be wanted: the routes are looked
// through, by what is sick alone. The caller holds s.mu.
func (s *sensor) heardOfPool(p netip.Prefix) (all []netip.Addr) {
	for neighbor, routes := range s.routes {
		for r := range routes {
			if r.Bits() <= p.Bits() && r.Contains(p.Addr()) {
				all = append(all, neighbor)
				break
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// routeOf reads the attributes of a received UPDATE.
func routeOf(attrs []bgp.PathAttributeInterface) (r route) {
	for _, attr := range attrs {
		switch attr := attr.(type) {
		case *bgp.PathAttributeAsPath:
			for _, segment := range attr.Value {
				r.path = append(r.path, segment.GetAS()...)
			}
		case *bgp.PathAttributeOriginatorId:
			r.originator = attr.Value
		case *bgp.PathAttributeAtomicAggregate, *bgp.PathAttributeAggregator:
			r.aggregate = true
		case *bgp.PathAttributeCommunities:
			r.leaving = r.leaving || slices.Contains(attr.Value, uint32(GracefulShutdown))
		}
	}
	return r
}
