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
	made  sync.Map // *service by place: those that were asked for and have endpoints
	once  sync.Once
	index map[string][]int32 // of endpoints, by label: made when the first place is asked for
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
	c := &cell{zone: n.zone, number: n.cell.number}
	c.now.Store(sv.at(label, word == pinLabel))
	c.stale.Store(n.cell.stale.Load())
	return &node{zone: n.zone, kind: steered, cell: c}
}

// at returns s as it is at a place. It is made once for each place that there is.
func (s *service) at(label string, strict bool) *service {
	if there, made := s.places.made.Load(place{label, strict}); made {
		return there.(*service)
	}
	local := s.Service
	local.Panic = steering.Panic{Mode: steering.PanicNone} // whoever names a place wants what is up there, however much is not
	local.Endpoints = s.endpointsAt(label)
	next := newService(local, nil, nil, rand.Uint64)
	if !strict {
		next = s.rather(next)
	}
	if local.Endpoints == nil { // any label has this answer: keeping them would be filling memory by queries
		return next
	}
	kept, _ := s.places.made.LoadOrStore(place{label, strict}, next)
	return kept.(*service)
}

// endpointsAt returns those whose node or zone is label. What any label costs does not hang on how many others there are.
func (s *service) endpointsAt(label string) (local []steering.Endpoint) {
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
	for _, i := range s.places.index[label] {
		local = append(local, s.Endpoints[i])
	}
	return local
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
	both.binding = newBinding(both.Service)
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
