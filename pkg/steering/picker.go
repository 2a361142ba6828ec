package steering

import (
	"net/netip"
	"sync/atomic"
)

// A Picker answers for one service and address family, as its endpoints were when it was made. Safe for concurrent use,
// without locks or allocation.
type Picker struct {
	addrs   []netip.Addr
	answers uint64
	next    atomic.Uint64 // index of the first address of the next answer, modulo the number of addresses
	reason  string        // of panic; empty: none
}

// NewPicker compiles the picker of a service and family. start is any number; it decides who is first, so that sites
// and restarts do not all begin with the same pod.
func NewPicker(s Service, f Family, start uint64) *Picker {
	addrs, _, reason := s.Eligible(f)
	p := &Picker{addrs: addrs, answers: min(uint64(max(s.Answers, 1)), uint64(len(addrs))), reason: reason}
	if len(addrs) > 0 {
		p.next.Store(start % uint64(len(addrs)))
	}
	return p
}

// Pick appends the addresses of one answer to dst: distinct ones, each address in its turn. Nothing is appended when the
// service has no endpoint of the family.
func (p *Picker) Pick(dst []netip.Addr) []netip.Addr {
	n := uint64(len(p.addrs))
	if n == 0 {
		return dst
	}
	// Every answer begins one further: who takes only the first address is spread over all of them, too.
	first := p.next.Add(1) - 1
	for i := range p.answers {
		dst = append(dst, p.addrs[(first+i)%n])
	}
	return dst
}

// Empty tells that the service has no endpoint of the family.
func (p *Picker) Empty() bool { return len(p.addrs) == 0 }

// Panic returns why the picker answers with endpoints that are not known to work; empty: it does not.
func (p *Picker) Panic() string { return p.reason }
