package steering

import (
	"net/netip"
	"sync/atomic"
)

// A Picker answers for one service and address family, as its endpoints were when it was made. Safe for concurrent use,
// without locks; it allocates nothing.
type Picker struct {
	addrs   []netip.Addr
	answers int
	reason  string // of panic; empty: none

	order []int32       // of addrs; who is first in one answer after the other. Not of Hash
	next  atomic.Uint64 // index in order of the first address of the next answer, modulo its length

	ranked []ranked // by Hash: the same as addrs, ready to be ranked
}

// NewPicker compiles the picker of a service and family. start is any number; it decides who is first, so that sites
// and restarts do not all begin with the same pod. Hash does without it: every site and restart ranks alike.
func NewPicker(s Service, f Family, start uint64) *Picker {
	endpoints, reason := s.eligible(f)
	p := &Picker{answers: min(max(s.Answers, 1), len(endpoints)), reason: reason}
	weights := make([]float64, len(endpoints))
	for i, e := range endpoints {
		p.addrs = append(p.addrs, e.Address)
		weights[i] = 1
		if s.Policy != RoundRobin {
			weights[i] = e.Weight()
		}
	}
	switch {
	case len(endpoints) == 0:
	case s.Policy == Hash:
		p.ranked = newRanked(p.addrs, weights)
	default:
		p.order = order(shares(weights))
		p.next.Store(start % uint64(len(p.order)))
	}
	return p
}

// Pick appends the addresses of one answer to dst: distinct ones, each address in its turn, or by Hash those that rank
// first for the client. Nothing is appended when the service has no endpoint of the family. client matters to Hash alone.
func (p *Picker) Pick(dst []netip.Addr, client netip.Prefix) []netip.Addr {
	switch {
	case len(p.addrs) == 0:
		return dst
	case p.ranked != nil:
		return p.rank(dst, client)
	}
	// Every answer begins one further: who takes only the first address is spread over all of them, too.
	at := p.next.Add(1) - 1
	begin := len(dst)
	for len(dst) < begin+p.answers {
		if a := p.addrs[p.order[at%uint64(len(p.order))]]; !contains(dst[begin:], a) {
			dst = append(dst, a)
		}
		at++
	}
	return dst
}

func contains(addrs []netip.Addr, a netip.Addr) bool {
	for _, other := range addrs {
		if a == other {
			return true
		}
	}
	return false
}

// Empty tells that the service has no endpoint of the family.
func (p *Picker) Empty() bool { return len(p.addrs) == 0 }

// Panic returns why the picker answers with endpoints that are not known to work; empty: it does not.
func (p *Picker) Panic() string { return p.reason }
