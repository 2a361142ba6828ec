package dnsserver

import "sync"

// How many places and services are counted apart: what a configuration has, and not what clients ask, makes series, but even
// that must have an end.
const (
	maxPlaces = 256  // 0: all others
	maxPicks  = 1024 // 0: none was picked
	others    = 1    // of services: all others
)

// A corner is where a question belongs: its zone and the client's view, each empty where there is none.
type corner struct{ zone, view string }

// numbers gives places and services small numbers, under which loops count without looking anything up. Its zero value is
// ready; safe for concurrent use.
type numbers struct {
	mu     sync.Mutex // guards following
	places map[corner]uint16
	names  map[string]uint16 // of services
	free   []uint16          // of services that are gone
}

// assign gives numbers to all that is in a snapshot, before it is answered from. A service that is gone gives its number back:
// its counters, where the tallies are, begin anew.
func (n *numbers) assign(s *snapshot, tallies []*tally) {
	n.mu.Lock()
	defer n.mu.Unlock()
	views := 1
	if s.access != nil {
		views += len(s.access.source.Views)
	}
	s.outside = n.viewsOf("", s.access, views)
	for _, z := range s.zones {
		z.places = n.viewsOf(z.name, s.access, views)
	}
	for name, number := range n.names {
		if s.services[name] == nil {
			delete(n.names, name)
			n.free = append(n.free, number)
			for _, t := range tallies {
				t.picks[number].Store(0)
			}
		}
	}
	for name, c := range s.services {
		c.number = n.service(name)
		for _, v := range c.semantic {
			if v != nil {
				v.number = c.number
			}
		}
	}
}

// viewsOf numbers a zone with each view, the first time without one.
func (n *numbers) viewsOf(zone string, a *access, views int) []uint16 {
	all := make([]uint16, views)
	for i := range all {
		all[i] = n.number(corner{zone, a.viewName(i - 1)})
	}
	return all
}

func (n *numbers) number(p corner) uint16 {
	if n.places == nil {
		n.places = map[corner]uint16{{}: 0}
	}
	number, known := n.places[p]
	if !known && len(n.places) < maxPlaces {
		number = uint16(len(n.places))
		n.places[p] = number
	}
	return number
}

func (n *numbers) service(name string) uint16 {
	if number, known := n.names[name]; known {
		return number
	}
	if n.names == nil {
		n.names = make(map[string]uint16)
	}
	switch {
	case len(n.free) > 0:
		n.names[name] = n.free[len(n.free)-1]
		n.free = n.free[:len(n.free)-1]
	case len(n.names) < maxPicks-1-others:
		n.names[name] = uint16(len(n.names) + 1 + others)
	default:
		return others
	}
	return n.names[name]
}

// place returns what a number stands for.
func (n *numbers) place(number int) corner {
	n.mu.Lock()
	defer n.mu.Unlock()
	for p, i := range n.places {
		if int(i) == number {
			return p
		}
	}
	return corner{}
}

// services returns those that are counted apart by their numbers, and "other" once there are more.
func (n *numbers) services() map[uint16]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make(map[uint16]string, len(n.names))
	for name, number := range n.names {
		all[number] = name
	}
	if len(n.names) == maxPicks-1-others {
		all[others] = other
	}
	return all
}

// placeOf is that of a question in a zone, nil: in none, by a client of a view.
func (s *snapshot) placeOf(z *zone, view int) uint16 {
	places := s.outside
	if z != nil {
		places = z.places
	}
	if places == nil { // nobody counts
		return 0
	}
	return places[view+1]
}
