// Package steering picks endpoints: which pods answer for a name, and in which turn. Pure: no clock, no I/O, standard
// library only.
package steering

import (
	"math"
	"net/netip"
)

// Policy is how endpoints are picked.
type Policy int

// The policies.
const (
	RoundRobin Policy = iota + 1 // "rr": the eligible endpoints in turn
	Capacity                     // "capacity": in turn, each as often as its capacity says
	Hash                         // "hash": by the client's prefix, each with the share of its capacity
)

// String returns the policy's name in a configuration.
func (p Policy) String() string {
	switch p {
	case RoundRobin:
		return "rr"
	case Capacity:
		return "capacity"
	case Hash:
		return "hash"
	default:
		return "invalid"
	}
}

// State is what the checks say of an endpoint. An endpoint without a check is Up.
type State int

// The states of an endpoint.
const (
	Unknown State = iota // the first verdict is not in yet
	Up
	Down
)

// String returns "unknown", "up" or "down".
func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Up:
		return "up"
	case Down:
		return "down"
	default:
		return "invalid"
	}
}

// An Endpoint is one pod's own address.
type Endpoint struct {
	Address netip.Addr
	Port    uint16
	State   State
	// Capacity is how much the endpoint can take, in any unit that all endpoints of its service share. What is not a
	// finite number above 0 counts as 1.
	Capacity float64
}

// Weight returns the endpoint's capacity, or 1 where it has none that makes sense.
func (e Endpoint) Weight() float64 {
	if e.Capacity > 0 && !math.IsInf(e.Capacity, 1) {
		return e.Capacity
	}
	return 1
}

// A Service is a name and the endpoints that may answer for it.
type Service struct {
	Name      string // fully qualified, lower case
	Policy    Policy
	Answers   int // 1 to N addresses an answer
	Endpoints []Endpoint
	PortName  string // of the port of the endpoints, such as "http"; empty: none
	Protocol  string // of PortName: "tcp" or "udp"
}

// Family is an address family.
type Family int

// The address families.
const (
	IPv6 Family = iota
	IPv4
)

// has tells whether a belongs to the family.
func (f Family) has(a netip.Addr) bool { return a.IsValid() && a.Is4() == (f == IPv4) }

// Synced tells whether every endpoint has a verdict: before that, an answer would be a guess.
func (s Service) Synced() bool {
	for _, e := range s.Endpoints {
		if e.State == Unknown {
			return false
		}
	}
	return true
}

// Eligible returns the addresses of one family that may answer now, each once: those that are up. The panic rule: when
// there is none, all of them may, because a check can be wrong about every pod at once far more easily than every pod can
// be dead; reason then says so. No addresses: the service has no endpoint of this family.
func (s Service) Eligible(f Family) (addrs []netip.Addr, panicking bool, reason string) {
	endpoints, reason := s.eligible(f)
	for _, e := range endpoints {
		addrs = append(addrs, e.Address)
	}
	return addrs, reason != "", reason
}

// eligible is Eligible with all that is known of each address.
func (s Service) eligible(f Family) (endpoints []Endpoint, reason string) {
	var up, all set
	for _, e := range s.Endpoints {
		e.Address = e.Address.Unmap()
		if !f.has(e.Address) {
			continue
		}
		all.add(e)
		if e.State == Up {
			up.add(e)
		}
	}
	if len(up.list) == 0 && len(all.list) > 0 {
		return all.list, "no endpoint is up: answering with all of them"
	}
	return up.list, ""
}

// set is a list of endpoints of which no two share an address: a pod may serve the same name on several ports.
type set struct {
	list []Endpoint
	has  map[netip.Addr]bool
}

func (s *set) add(e Endpoint) {
	if s.has[e.Address] {
		return
	}
	if s.has == nil {
		s.has = make(map[netip.Addr]bool)
	}
	s.has[e.Address] = true
	s.list = append(s.list, e)
}
