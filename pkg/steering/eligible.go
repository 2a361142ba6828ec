package steering

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// DefaultPanicBelow is the share of the configured weight below which so much is down that the checks are suspect: that
// of Envoy and gdnsd.
const DefaultPanicBelow = 0.5

// A Panic is what to do when a service has too few endpoints that are up: a check can be wrong about many pods at once far
// more easily than they can all be dead, and those that are left may not carry the load of all.
type Panic struct {
	// Below is the share of the weight of all endpoints below which what is up is too little. 0: only nothing is.
	Below float64
	Mode  PanicMode
	// Fallback are the addresses of PanicOther. A family without any goes by PanicAll.
	Fallback []netip.Addr
}

func (p Panic) equal(other Panic) bool {
	return p.Below == other.Below && p.Mode == other.Mode && slices.Equal(p.Fallback, other.Fallback)
}

// PanicMode is who answers in panic.
type PanicMode int

// The modes of panic.
const (
	PanicAll   PanicMode = iota // "all": all endpoints, up or not, but those that drain and are not up
	PanicNone                   // "none": only those that are up, if any
	PanicOther                  // "other": the addresses of another site
)

// String returns the mode's name in a configuration.
func (m PanicMode) String() string {
	switch m {
	case PanicAll:
		return "all"
	case PanicNone:
		return "none"
	case PanicOther:
		return "other"
	default:
		return "invalid"
	}
}

// Eligible returns the addresses of one family that may answer now, each once: those that are up and do not drain; where
// these are none, or too few, also those that are up and do, as long as they last; and by the panic rule what Panic says, reason then
// tells why. No addresses and no panic: the service has no endpoint of this family.
func (s Service) Eligible(f Family) (addrs []netip.Addr, panicking bool, reason string) {
	c := s.eligible(f)
	return addresses(c.endpoints), c.reason != "", c.reason
}

// addresses are those of endpoints, in their order.
func addresses(endpoints []*Endpoint) []netip.Addr {
	if len(endpoints) == 0 {
		return nil
	}
	addrs := make([]netip.Addr, len(endpoints))
	for i, e := range endpoints {
		addrs[i] = e.Address.Unmap()
	}
	return addrs
}

// A choice is who may answer.
type choice struct {
	endpoints []*Endpoint // those of the service, or of its fallback
	reason    string      // of panic; empty: none
	leaving   bool        // those that drain have to do
}

// A group is what endpoints have in common that may answer together.
type group uint8

const (
	spent    group = iota // drain, and are not up
	sick                  // stay, and are down
	doubtful              // stay, and nobody has looked at them: that is not sick
	healthy               // stay, and are up
	leaving               // drain, and are up
	groups
)

func (e *Endpoint) group() group {
	switch {
	case e.Draining && e.State == Up:
		return leaving
	case e.Draining:
		return spent
	case e.State == Up:
		return healthy
	case e.State == Down:
		return sick
	default:
		return doubtful
	}
}

// eligible is Eligible with all that is known of each address.
func (s Service) eligible(f Family) choice {
	var count [groups]int
	var weight [groups]float64
	all := 0
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; f.has(e.Address.Unmap()) {
			g := e.group()
			count[g], weight[g], all = count[g]+1, weight[g]+positive(e.Capacity), all+1
		}
	}
	up, helping, known := weight[healthy], weight[healthy]+weight[leaving], weight[healthy]+weight[sick]
	if s.Policy.byDistance() {
		helping = up // those that leave may be where nobody is sent to, or draw all to where they are
	}
	switch {
	case all == 0:
		return choice{}
	case count[healthy] > 0 && (s.Panic.Mode == PanicNone || !(up < s.Panic.Below*known)):
		return choice{endpoints: s.of(f, count[healthy], healthy)}
	case count[leaving] > 0 && (count[healthy] == 0 || !(helping < s.Panic.Below*known)):
		return choice{endpoints: s.of(f, count[healthy]+count[leaving], healthy, leaving), leaving: true}
	}
	why := "no endpoint is up"
	if count[healthy] > 0 {
		why = fmt.Sprintf("only %.0f %% of the weight is up", 100*up/known)
	}
	if c, ok := s.Panic.instead(f, why); ok {
		return c
	}
	serving := s.of(f, all, s.Policy.doubted()...)
	if len(serving) == 0 {
		serving = s.of(f, all, spent)
	}
	return choice{endpoints: serving, reason: why + ": " + s.Policy.distrust()}
}

// doubted are those who answer where checks are not believed.
func (p Policy) doubted() []group {
	if p.byDistance() {
		return []group{sick, doubtful, healthy}
	}
	return []group{sick, doubtful, healthy, leaving}
}

// distrust tells who answers where checks are not believed.
func (p Policy) distrust() string {
	if p.byDistance() {
		return "answering with all of the nearest"
	}
	return "answering with all of them"
}

// of returns the endpoints of a family in some of the groups, most of them at most, and each address once: a pod may serve the same name
// on several ports.
func (s Service) of(f Family, most int, some ...group) []*Endpoint {
	list := make([]*Endpoint, 0, most)
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; f.has(e.Address.Unmap()) && slices.Contains(some, e.group()) {
			list = append(list, e)
		}
	}
	return distinct(list)
}

// distinct leaves the first endpoint of each address.
func distinct(list []*Endpoint) []*Endpoint {
	if ascending(list) { // as sources mostly tell them
		return list
	}
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Or(compare(list[i], list[j]), i-j) })
	first := order[0]
	for _, i := range order[1:] {
		if compare(list[first], list[i]) == 0 {
			list[i] = nil
			continue
		}
		first = i
	}
	return slices.DeleteFunc(list, func(e *Endpoint) bool { return e == nil })
}

func ascending(list []*Endpoint) bool {
	for i := 1; i < len(list); i++ {
		if compare(list[i-1], list[i]) >= 0 {
			return false
		}
	}
	return true
}

func compare(a, b *Endpoint) int { return a.Address.Unmap().Compare(b.Address.Unmap()) }

// instead picks by the modes that do not answer with the service's own endpoints; false: it is not one of them.
func (p Panic) instead(f Family, why string) (choice, bool) {
	switch p.Mode {
	case PanicNone:
		return choice{reason: why + ": answering with none"}, true
	case PanicOther:
		var fallback []*Endpoint
		for _, a := range p.Fallback {
			if a = a.Unmap(); f.has(a) {
				fallback = append(fallback, &Endpoint{Address: a, State: Up})
			}
		}
		if len(fallback) > 0 {
			return choice{endpoints: distinct(fallback), reason: why + ": answering with another site"}, true
		}
	}
	return choice{}, false
}

// Class tells how far the endpoint is, in the steps that Closest knows: the nearest have the least.
func (e Endpoint) Class() int64 { return e.class() }
