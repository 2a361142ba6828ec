// Package steering picks endpoints: which pods answer for a name, and in which turn. Pure: no clock, no I/O, standard
// library only.
//
// A Balancer makes weights of what endpoints tell of their load, and a Picker makes answers of weights.
package steering

import (
	"math"
	"net/netip"
	"slices"
	"time"
)

// Policy is how endpoints are picked.
type Policy int

// The policies.
const (
	RoundRobin      Policy = iota + 1 // "rr": the eligible endpoints in turn
	Capacity                          // "capacity": in turn, each as often as its weight says
	Hash                              // "hash": by the client's prefix, each with the share of its weight
	Closest                           // "closest": the nearest ones in turn
	ClosestCapacity                   // "closest-capacity": the nearest ones in turn, each as often as its weight says
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
	case Closest:
		return "closest"
	case ClosestCapacity:
		return "closest-capacity"
	default:
		return "invalid"
	}
}

// byDistance tells that the policy picks the nearest endpoints.
func (p Policy) byDistance() bool { return p == Closest || p == ClosestCapacity }

// answers is how many addresses an answer has where nobody says: with two, clients have another to go to, and the load of a few large
// resolvers is spread; those for whom one endpoint is better than others get that one.
func (p Policy) answers() int {
	if p == RoundRobin || p == Capacity {
		return 2
	}
	return 1
}

// State is what the checks say of an endpoint. An endpoint without a check is Up.
type State int8

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

// An Endpoint is one pod's own address. Its fields leave no room between them: a site may have a million endpoints.
type Endpoint struct {
	Address netip.Addr
	Port    uint16
	State   State
	// Draining endpoints are about to leave: they get nothing new, unless nothing else serves.
	Draining bool
	// Near tells that it runs on the node of the server that answers.
	Near bool
	// Capacity is how much the endpoint can take, in any unit that all endpoints of its service share. What is not a
	// finite number above 0 counts as 1.
	Capacity float64
	// Factor is how much of its capacity it is to get: what a Balancer makes of load and slow start. What is not a finite
	// number above 0 counts as 1. RoundRobin and Closest go without it.
	Factor float64
	// Since is when the endpoint became up, for slow start; zero: long ago.
	Since time.Time
	// Holds is how long its state holds at least, as far as its checks stand now; zero: until somebody decides otherwise. It
	// should not follow every attempt: each change makes a new picker.
	Holds time.Duration
	// Distance is the measured round trip to an endpoint elsewhere; zero: it is in this site.
	Distance time.Duration

	// Instance is its number among those of its service, such as "0"; empty: none.
	Instance string
	// Node and Zone are where it runs, each a label of a name; empty: not known.
	Node, Zone string
}

// Weight returns how much of the service's requests the endpoint is to get, in the unit of its capacity.
func (e Endpoint) Weight() float64 {
	// Two numbers that make sense may have a product that does not.
	if w := positive(e.Capacity) * positive(e.Factor); positive(w) == w {
		return w
	}
	return positive(e.Capacity)
}

// positive returns x, or 1 where x is not a finite number above 0.
func positive(x float64) float64 {
	if x > 0 && !math.IsInf(x, 1) {
		return x
	}
	return 1
}

// A Service is a name and the endpoints that may answer for it.
type Service struct {
	Name      string // fully qualified, lower case
	Policy    Policy
	Answers   int // addresses an answer, from 1; 0: as many as are best for the policy. AnswerSize tells
	Endpoints []Endpoint
	PortName  string // of the port of the endpoints, such as "http"; empty: none
	Protocol  string // of PortName: "tcp" or "udp"
	// ALPN is all that the endpoints speak over TLS, such as "h2" (RFC 7301); empty: nothing is told of it.
	ALPN  []string
	Panic Panic
	// SlowStart is how long an endpoint that became up takes to its full weight; zero: no time.
	SlowStart time.Duration
	// Spill is the share of the answers by Closest and ClosestCapacity that pass the nearest endpoints over for the next
	// ones, 0 to 1: what a Balancer makes of their load.
	Spill float64
	// Namespace is that of a cluster where the service is; empty: it is in none. Allow are others whose clients may see it,
	// AnyNamespace is all.
	Namespace string
	Allow     []string
	// Semantic is what the service is called by names that state a policy, the zero value: it has none.
	Semantic Semantic
}

// AnyNamespace stands for every namespace.
const AnyNamespace = "*"

// SeenFrom tells whether clients in a namespace may see the service: those of its own, and of others by its word alone (source S1). A service that is in no namespace is seen from all.
func (s Service) SeenFrom(namespace string) bool {
	return s.Namespace == "" || s.Namespace == namespace || slices.Contains(s.Allow, namespace) || slices.Contains(s.Allow, AnyNamespace)
}

// Semantic is a service's name in the terms of source S1: an application and a service, each in a namespace. Each part is
// one label of a name, in lower case.
type Semantic struct{ App, AppNS, Service, ServiceNS string }

// Complete tells that no part is missing.
func (s Semantic) Complete() bool {
	return s.App != "" && s.AppNS != "" && s.Service != "" && s.ServiceNS != ""
}

// Clone returns a service that shares nothing with s.
func (s Service) Clone() Service {
	s.Endpoints, s.Panic.Fallback = slices.Clone(s.Endpoints), slices.Clone(s.Panic.Fallback)
	s.ALPN, s.Allow = slices.Clone(s.ALPN), slices.Clone(s.Allow)
	return s
}

// AnswerSize is how many addresses an answer has at most.
func (s Service) AnswerSize() int {
	if s.Answers > 0 {
		return s.Answers
	}
	return s.Policy.answers()
}

// Equal tells whether both are the same in all that answers hang on.
func (s Service) Equal(other Service) bool {
	return s.Name == other.Name && s.Policy == other.Policy && s.Answers == other.Answers &&
		s.PortName == other.PortName && s.Protocol == other.Protocol && s.SlowStart == other.SlowStart && s.Spill == other.Spill && s.Semantic == other.Semantic &&
		s.Namespace == other.Namespace && slices.Equal(s.Allow, other.Allow) &&
		s.Panic.equal(other.Panic) && slices.Equal(s.ALPN, other.ALPN) && slices.Equal(s.Endpoints, other.Endpoints)
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
