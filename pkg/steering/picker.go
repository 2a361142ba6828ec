package steering

import (
	"net/netip"
	"sync/atomic"
	"time"
)

// A Picker answers for one service and address family, as its endpoints were when it was made. Safe for concurrent use,
// without locks; it allocates nothing. It has two cache lines, and what every Pick by turns needs is in the first: a site may have ten
// thousand, and none is in the processor's cache.
type Picker struct {
	addrs   []netip.Addr
	order   []int32       // of addrs; who is first in one answer after the other. Not of Hash
	next    atomic.Uint64 // index in order of the first address of the next answer, modulo its length
	answers int32
	policy  int8
	hasty   bool // it will change soon

	reason string        // of panic; empty: none
	holds  time.Duration // how long it takes checks at least to change who may answer; 0: not known
	ranked []ranked      // by Hash: the same as addrs, ready to be ranked
	lags   *[]float64    // of addrs: how many turns each was due when order began; nil: none
}

// NewPicker compiles the picker of a service and family. start is any number; it decides who is first, so that sites
// and restarts do not all begin with the same pod. Hash does without it: every site and restart ranks alike.
func NewPicker(s Service, f Family, start uint64) *Picker {
	p, weights := newPicker(s, f)
	if weights != nil {
		p.order = order(shares(weights), nil)
		p.next.Store(start % uint64(len(p.order)))
	}
	return p
}

// Follow compiles the picker that takes the place of p, which answers until then: the turns go on. Whoever is due at p is due
// first, and whoever has just had a turn waits, whatever became of the weights: they may change with every load that comes
// in, and to begin anew each time would bunch picks.
func (p *Picker) Follow(s Service, f Family) *Picker {
	n, weights := newPicker(s, f)
	if weights == nil {
		return n
	}
	turns := shares(weights)
	lags := p.lagsOf(n.addrs, turns)
	n.lags, n.order = &lags, order(turns, lags)
	return n
}

// newPicker compiles all but the turns, which are by the weights; nil: there are none.
func newPicker(s Service, f Family) (*Picker, []float64) {
	c := s.eligible(f)
	p := &Picker{policy: int8(s.Policy), reason: c.reason}
	p.holds, p.hasty = s.last(f, c)
	endpoints, weights := s.weigh(c.endpoints)
	p.addrs = addresses(endpoints)
	p.answers = int32(min(s.AnswerSize(), len(endpoints)))
	switch {
	case len(endpoints) == 0:
		return p, nil
	case s.Policy == Hash:
		p.ranked = newRanked(p.addrs, weights)
		return p, nil
	default:
		return p, weights
	}
}

// weigh returns who of the eligible endpoints is picked, and how often.
func (s Service) weigh(eligible []*Endpoint) ([]*Endpoint, []float64) {
	if s.Policy.byDistance() {
		return s.nearest(eligible)
	}
	weights := make([]float64, len(eligible))
	for i, e := range eligible {
		weights[i] = 1
		if s.Policy != RoundRobin {
			weights[i] = e.Weight()
		}
	}
	return eligible, weights
}

// lagsOf returns how many turns each of addrs is due, below 0 how many it is ahead, where the turns of p are now; who is new
// there is due none. They add up to nothing.
func (p *Picker) lagsOf(addrs []netip.Addr, turns []int) []float64 {
	if len(p.order) == 0 {
		return nil
	}
	due := make(map[netip.Addr]float64, len(p.addrs))
	if p.lags != nil {
		for i, lag := range *p.lags {
			due[p.addrs[i]] = lag
		}
	}
	at := p.next.Load() % uint64(len(p.order))
	for _, i := range p.order {
		due[p.addrs[i]] += float64(at) / float64(len(p.order))
	}
	for _, i := range p.order[:at] {
		due[p.addrs[i]]--
	}
	lags, sum, cycle := make([]float64, len(addrs)), 0.0, 0
	for i, a := range addrs {
		lags[i] = due[a]
		sum += lags[i]
		cycle += turns[i]
	}
	// What those that are gone were due, or had too much, is everybody's.
	for i := range lags {
		lags[i] -= sum * float64(turns[i]) / float64(cycle)
	}
	return lags
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
	return p.turn(dst, p.next.Add(1)-1)
}

// turn appends the answer that begins at an index in order.
func (p *Picker) turn(dst []netip.Addr, at uint64) []netip.Addr {
	begin := len(dst)
	for len(dst) < begin+p.Size() {
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

// Touch and Fetch read the memory that the next Pick needs, and return something of it. Who is to pick from many pickers touches all of
// them first, and then has all of them fetch the addresses: the processor gets it for several at a time.
func (p *Picker) Touch() int {
	if len(p.order) == 0 {
		return len(p.ranked)
	}
	return int(p.order[p.next.Load()%uint64(len(p.order))]) + len(p.reason)
}

// Fetch follows Touch.
func (p *Picker) Fetch() int {
	if len(p.addrs) == 0 {
		return 0
	}
	return p.addrs[0].BitLen() + p.addrs[len(p.addrs)-1].BitLen()
}

// Size is how many addresses Pick appends.
func (p *Picker) Size() int { return int(p.answers) }

// Policy is the service's.
func (p *Picker) Policy() Policy { return Policy(p.policy) }

// Empty tells that the service has no endpoint of the family.
func (p *Picker) Empty() bool { return len(p.addrs) == 0 }

// Panic returns why the picker answers with endpoints that are not known to work; empty: it does not.
func (p *Picker) Panic() string { return p.reason }
