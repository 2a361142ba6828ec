package steering

import (
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
	PanicAll   PanicMode = iota // "all": all endpoints but those that drain, up or not
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
// there are none, those that are up and do; and by the panic rule what Panic says, reason then tells why. No addresses and no
// panic: the service has no endpoint of this family.
func (s Service) Eligible(f Family) (addrs []netip.Addr, panicking bool, reason string) {
	c := s.eligible(f)
	for _, e := range c.endpoints {
		addrs = append(addrs, e.Address)
	}
	return addrs, c.reason != "", c.reason
}

// A choice is who may answer.
type choice struct {
	endpoints []Endpoint
	reason    string // of panic; empty: none
	leaving   bool   // those that drain have to do
}

// eligible is Eligible with all that is known of each address.
func (s Service) eligible(f Family) choice {
	var up, draining, staying, all set
	healthy, known := 0.0, 0.0
	for _, e := range s.Endpoints {
		e.Address = e.Address.Unmap()
		if !f.has(e.Address) {
			continue
		}
		all.add(e)
		switch {
		case e.Draining && e.State == Up:
			draining.add(e)
		case e.Draining:
		case e.State == Up:
			healthy, known = healthy+positive(e.Capacity), known+positive(e.Capacity)
			up.add(e)
			staying.add(e)
		case e.State == Down:
			known += positive(e.Capacity)
			staying.add(e)
		default: // what nobody has looked at is not sick
			staying.add(e)
		}
	}
	switch {
	case len(up.list) == 0 && len(draining.list) > 0:
		return choice{endpoints: draining.list, leaving: true}
	case len(up.list) > 0 && (s.Panic.Mode == PanicNone || !(healthy < s.Panic.Below*known)):
		return choice{endpoints: up.list}
	case len(all.list) == 0:
		return choice{}
	case len(staying.list) == 0:
		staying = all
	}
	why := "no endpoint is up"
	if len(up.list) > 0 {
		why = fmt.Sprintf("only %.0f %% of the weight is up", 100*healthy/known)
	}
	return s.Panic.choose(f, why, staying.list)
}

// choose picks by the mode; all are the endpoints that do not drain.
func (p Panic) choose(f Family, why string, all []Endpoint) choice {
	switch p.Mode {
	case PanicNone:
		return choice{reason: why + ": answering with none"}
	case PanicOther:
		var others set
		for _, a := range p.Fallback {
			if a = a.Unmap(); f.has(a) {
				others.add(Endpoint{Address: a, State: Up})
			}
		}
		if len(others.list) > 0 {
			return choice{endpoints: others.list, reason: why + ": answering with another site"}
		}
	}
	return choice{endpoints: all, reason: why + ": answering with all of them"}
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
