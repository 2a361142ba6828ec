package dnsserver

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/anyedge/anyedge/pkg/steering"
)

// A service is what is known of one at a time, ready to answer. It lives on from snapshot to snapshot while its content stays
// the same, so that a change of one service does not disturb the turns of the others. What every answer needs comes first: it shares a
// cache line.
type service struct {
	pickers [2]*steering.Picker // by steering.Family
	views   []*service          // as each view has it, nil where it does not; no list: all have the service itself
	steering.Service
	targets []target // of SRV records
	binding binding
	turn    atomic.Uint64 // index of the first target of the next answer, modulo their number
	states  [3]int        // endpoints by steering.State
	access  *access       // that views were made by; nil: there are none
	places  places
}

// newService compiles sv as each view of a has it, or returns old when it was compiled of the same; old may be nil. Turns go on where
// they are; start gives the first one of a new picker. It keeps what the slices of sv hold.
func newService(sv steering.Service, old *service, a *access, start func() uint64) *service {
	if old != nil && old.Equal(sv) && old.access == a {
		return old
	}
	c := &service{Service: sv, binding: newBinding(sv), access: a}
	c.targets = newTargets(sv, [...]*service{c, c})
	for f := range c.pickers {
		c.pickers[f] = old.picker(sv, steering.Family(f), start)
	}
	c.turn.Store(start() % uint64(max(len(c.targets), 1)))
	for _, e := range sv.Endpoints {
		if e.State >= 0 && int(e.State) < len(c.states) {
			c.states[e.State]++
		}
	}
	c.addViews(old, start)
	c.follow(old)
	return c
}

// addViews compiles the service as views have it that have it otherwise.
func (s *service) addViews(old *service, start func() uint64) {
	if s.access == nil {
		return
	}
	for i := range s.access.source.Views {
		seen, ok := s.access.source.Views[i].sees(s.Service)
		switch {
		case !ok:
			s.views = append(s.views, nil)
		case seen.Equal(s.Service):
			s.views = append(s.views, s)
		default:
			var before *service
			if old != nil && old.access == s.access {
				before = old.views[i]
			}
			s.views = append(s.views, newService(seen, before, nil, start))
		}
	}
}

// in returns the service as a view has it, nil when it does not.
func (s *service) in(view int) *service {
	if view == noView || s.views == nil {
		return s
	}
	return s.views[view]
}

// picker compiles one of sv that goes on with the turns of s; s may be nil.
func (s *service) picker(sv steering.Service, f steering.Family, start func() uint64) *steering.Picker {
	if s != nil && !s.pickers[f].Empty() {
		return s.pickers[f].Follow(sv, f)
	}
	return steering.NewPicker(sv, f, start())
}

// sameNames tells that the names that the two bring along are the same, but for those of their pods.
func sameNames(a, b steering.Service) bool {
	return a.Name == b.Name && a.PortName == b.PortName && a.Protocol == b.Protocol && a.Semantic == b.Semantic && isHTTP(a) == isHTTP(b)
}

// A cell is the place of a service among the names of a snapshot. It stays, and what is known of the service is replaced
// in it as one: whoever answers loads it once.
type cell struct {
	now    atomic.Pointer[service]   // never nil
	stale  atomic.Pointer[staleness] // nil: what is known is what there is
	zone   *zone
	number uint16       // of the service, for counters
	rank   int          // among the services of the content
	taken  []netip.Addr // names of pods that have another meaning: no endpoint may have these addresses

	semantic semanticCells // nil: it has no names that state a policy
}

func (c *cell) load() *service { return c.now.Load() }

// found is a name that is found on the way: s is what the service of the cell is there.
func (c *cell) found(as kind, s *service) *node {
	there := &cell{zone: c.zone}
	if as == steered { // nothing is picked where a pod is named
		there.number = c.number
	}
	there.now.Store(s)
	there.stale.Store(c.stale.Load())
	return &node{zone: c.zone, kind: as, cell: there}
}

// Update replaces one service of the content that Set gave; everything else stays, no query waits, and it costs what that
// service does, however many others there are. What gives it its names cannot change: an error leaves the old one in place, and Set is
// for such changes. What the slices of sv hold is not to be changed after. Safe for concurrent use.
func (s *Server) Update(sv steering.Service) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.current.Load()
	if now == nil {
		return errNoContent
	}
	c := now.services[sv.Name]
	if c == nil {
		return fmt.Errorf("service %s: is not one of the content", sv.Name)
	}
	old := c.load()
	if old.Equal(sv) {
		return nil
	}
	if err := c.refuses(old, sv); err != nil {
		return fmt.Errorf("service %s: %w", sv.Name, err)
	}
	next := newService(sv, old, now.access, rand.Uint64)
	c.store(next)
	now.pointers.move(c, old.Endpoints, next.Endpoints)
	now.changed(c.zone, old, next, time.Now())
	if now.synced {
		s.tellPanic(old, next)
	}
	return nil
}

// refuses tells why sv cannot take the place of old.
func (c *cell) refuses(old *service, sv steering.Service) error {
	if !sameNames(old.Service, sv) {
		return errors.New("its names change: replace the content")
	}
	for _, e := range sv.Endpoints {
		if slices.Contains(c.taken, e.Address.Unmap()) {
			return fmt.Errorf("%s is not only the name of endpoint %s: rename it", podLabel(e.Address.Unmap())+"."+sv.Name, e.Address.Unmap())
		}
	}
	return checkPodNames(sv)
}

// changed counts a change of one service. The serial of its zone follows the clock: at most one a second.
func (s *snapshot) changed(z *zone, old, next *service, now time.Time) {
	for state := range s.states {
		s.states[state].Add(int64(next.states[state] - old.states[state]))
	}
	s.made.Store(now.UnixNano())
	if serial := uint32(now.Unix()); int32(serial-s.serial) > 0 {
		s.serial = serial
	}
	if z.authority.Load().soa.Serial != s.serial {
		z.authority.Store(z.newAuthority(s.serial))
	}
}
