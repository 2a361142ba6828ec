package dnsserver

import (
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/anyedge/anyedge/pkg/steering"
)

// Places are nodes and zones. LABEL.pin.NAME and LABEL.prefer.NAME are the endpoints of service NAME whose node or zone is LABEL: pin
// those alone, and nothing when there are none; prefer all others while none of those is up.

const (
	pinLabel    = "pin"
	preferLabel = "prefer"
)

// places are a service at the places that queries name. Its zero value has none yet.
type places struct {
	made   sync.Map // *service by place: those that were asked for and have endpoints
	once   sync.Once
	index  map[string][]int32  // of endpoints, by label: made when it is needed first
	before map[string]*service // by label, what pin was at the service that this one took the place of: turns go on
}

// place is one that a query names.
type place struct {
	label  string
	strict bool
}

// findPlace returns what exists at the names pin and prefer below the service of n, and one label below these; label is the
// first, and is empty for the former.
func (n *node) findPlace(label, word string, view int) *node {
	if word != pinLabel && word != preferLabel {
		return nil
	}
	sv := n.cell.load().in(view)
	if label == "" || sv == nil {
		return &node{zone: n.zone}
	}
	return n.cell.found(steered, sv.at(label, word == pinLabel))
}

// at returns s as it is at a place. It is made once for each place that there is.
func (s *service) at(label string, strict bool) *service {
	if there, made := s.places.made.Load(place{label, strict}); made {
		return there.(*service)
	}
	var there *service
	if strict {
		there = s.pinned(label)
	} else {
		there = s.rather(s.at(label, true))
	}
	if s.indexAt(label) == nil { // any label has this answer: keeping them would be filling memory by queries
		return there
	}
	kept, _ := s.places.made.LoadOrStore(place{label, strict}, there)
	return kept.(*service)
}

// pinned returns s with its endpoints at a place alone. Whoever names a place wants what is up there, however much is not.
func (s *service) pinned(label string) *service {
	local := s.Service
	local.Panic, local.Endpoints = steering.Panic{Mode: steering.PanicNone}, nil
	for _, i := range s.indexAt(label) {
		local.Endpoints = append(local.Endpoints, s.Endpoints[i])
	}
	return newService(local, s.places.before[label], nil, rand.Uint64)
}

// follow has the turns at places of old, which may be nil, go on: at those that have endpoints still. Nothing is compiled until somebody asks.
func (s *service) follow(old *service) {
	if old == nil {
		return
	}
	for label, there := range old.places.before {
		s.remember(label, there)
	}
	for p, there := range old.places.made.Range {
		if p := p.(place); p.strict {
			s.remember(p.label, there.(*service))
		}
	}
}

// remember keeps what pin was at a label.
func (s *service) remember(label string, there *service) {
	if s.indexAt(label) == nil {
		return
	}
	if s.places.before == nil {
		s.places.before = make(map[string]*service)
	}
	s.places.before[label] = there
}

// indexAt tells which endpoints are at a label. What one costs does not hang on how many others there are.
func (s *service) indexAt(label string) []int32 {
	s.places.once.Do(func() {
		s.places.index = make(map[string][]int32)
		for i := range s.Endpoints {
			node, zone := placeLabel(s.Endpoints[i].Node), placeLabel(s.Endpoints[i].Zone)
			if node != "" {
				s.places.index[node] = append(s.places.index[node], int32(i))
			}
			if zone != "" && zone != node {
				s.places.index[zone] = append(s.places.index[zone], int32(i))
			}
		}
	})
	return s.places.index[label]
}

// rather returns local in each family of which it has a live endpoint, and s in the others. The turns are theirs.
func (s *service) rather(local *service) *service {
	parts := [...]*service{steering.IPv6: s, steering.IPv4: s}
	for f := range parts {
		if live(local.Service, steering.Family(f)) {
			parts[f] = local
		}
	}
	if parts[0] == parts[1] {
		return parts[0]
	}
	both := &service{Service: s.Service}
	both.Endpoints = nil
	for f, part := range parts {
		both.pickers[f] = part.pickers[f]
		for _, e := range part.Endpoints {
			if familyOf(e.Address) == steering.Family(f) {
				both.Endpoints = append(both.Endpoints, e)
			}
		}
	}
	both.targets, both.binding = newTargets(both.Service, parts), newBinding(both.Service)
	both.turn.Store(rand.Uint64())
	return both
}

// isPlaceWord tells whether a label in small letters, as on the wire, is the word of a place.
func isPlaceWord(label []byte) bool {
	return string(label) == pinLabel || string(label) == preferLabel
}

// live tells whether an endpoint of the family is up and stays.
func live(s steering.Service, f steering.Family) bool {
	for _, e := range s.Endpoints {
		if e.State == steering.Up && !e.Draining && familyOf(e.Address) == f {
			return true
		}
	}
	return false
}

// placeLabel is a node or zone as a label: in small letters, and without the dots that names of nodes may have.
func placeLabel(name string) string {
	return strings.ReplaceAll(strings.ToLower(name), ".", "-")
}
