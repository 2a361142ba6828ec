// Package steering picks endpoints: which pods answer for a name, and in which turn. Pure: no clock, no I/O, standard
// library only.
package steering

import "net/netip"

// Policy is how endpoints are picked.
type Policy int

// RoundRobin ("rr") takes the eligible endpoints in turn. More policies come later.
const (
	RoundRobin Policy = iota + 1
)

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
}

// A Service is a name and the endpoints that may answer for it.
type Service struct {
	Name      string // fully qualified, lower case
	Policy    Policy
	Answers   int // 1 to N addresses an answer
	Endpoints []Endpoint
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
	var up, all set
	for _, e := range s.Endpoints {
		a := e.Address.Unmap()
		if !f.has(a) {
			continue
		}
		all.add(a)
		if e.State == Up {
			up.add(a)
		}
	}
	if len(up.list) == 0 && len(all.list) > 0 {
		return all.list, true, "no endpoint is up: answering with all of them"
	}
	return up.list, false, ""
}

// set is a list of addresses without repetition: a pod may serve the same name on several ports.
type set struct {
	list []netip.Addr
	has  map[netip.Addr]bool
}

func (s *set) add(a netip.Addr) {
	if s.has[a] {
		return
	}
	if s.has == nil {
		s.has = make(map[netip.Addr]bool)
	}
	s.has[a] = true
	s.list = append(s.list, a)
}
