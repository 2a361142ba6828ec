package dnsserver

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/anyedge/anyedge/pkg/steering"
)

// pointers are the names of endpoints by their addresses: PTR records, in the zones below arpa. that there are. Unlike all
// other names they come and go with endpoints, so they are not in a snapshot's table. Its zero value has no zones.
type pointers struct {
	zones []netip.Prefix // of addresses whose names lie in one

	mu     sync.RWMutex           // guards the following
	owners map[netip.Addr][]*cell // who has an endpoint there, by rank
	below  map[netip.Prefix]int   // how many addresses lie there: names on the way to one exist (RFC 8020)
}

// addZone makes room for the names of addresses in a zone, if that is what it has.
func (p *pointers) addZone(name string) (added bool) {
	prefixes := []netip.Prefix{netip.PrefixFrom(netip.IPv6Unspecified(), 0), netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	if name != "arpa." {
		prefix, ok := reversePrefix(name)
		if !ok {
			return false
		}
		prefixes = []netip.Prefix{prefix}
	}
	p.zones = append(p.zones, prefixes...)
	if p.owners == nil {
		p.owners, p.below = make(map[netip.Addr][]*cell), make(map[netip.Prefix]int)
	}
	return true
}

// find returns what exists for a view at a name that has no other meaning, nil when nothing does.
func (p *pointers) find(name string, z *zone, view int) *node {
	if z == nil || !z.reverse {
		return nil
	}
	prefix, ok := reversePrefix(name)
	if !ok {
		return nil
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	switch {
	case p.below[prefix] == 0:
		return nil
	case !prefix.IsSingleIP():
		return &node{zone: z}
	}
	for _, owner := range p.owners[prefix.Addr()] {
		if sv := owner.load().in(view); sv != nil && sv.has(prefix.Addr()) {
			return &node{zone: z, kind: pointer, target: sv.podName(prefix.Addr()), owner: owner}
		}
	}
	return nil
}

// move replaces the endpoints of a service.
func (p *pointers) move(c *cell, old, next []steering.Endpoint) {
	if len(p.zones) == 0 {
		return
	}
	had, has := p.addresses(c, old), p.addresses(c, next)
	p.mu.Lock()
	defer p.mu.Unlock()
	for a := range had {
		if !has[a] {
			p.remove(c, a)
		}
	}
	for a := range has {
		if !had[a] {
			p.add(c, a)
		}
	}
}

// addresses are those that get a name; one whose pod has none has nothing to point to.
func (p *pointers) addresses(c *cell, endpoints []steering.Endpoint) map[netip.Addr]bool {
	set := make(map[netip.Addr]bool)
	for _, e := range endpoints {
		a := e.Address.Unmap()
		inZone := slices.ContainsFunc(p.zones, func(z netip.Prefix) bool { return z.Contains(a) })
		if inZone && checkName(c.load().podName(a)) == nil {
			set[a] = true
		}
	}
	return set
}

func (p *pointers) add(c *cell, a netip.Addr) {
	at, _ := slices.BinarySearchFunc(p.owners[a], c, func(x, y *cell) int { return cmp.Compare(x.rank, y.rank) })
	p.owners[a] = slices.Insert(p.owners[a], at, c)
	p.count(a, 1)
}

func (p *pointers) remove(c *cell, a netip.Addr) {
	p.owners[a] = slices.DeleteFunc(p.owners[a], func(other *cell) bool { return other == c })
	if len(p.owners[a]) == 0 {
		delete(p.owners, a)
	}
	p.count(a, -1)
}

// count adds n to every name on the way to a.
func (p *pointers) count(a netip.Addr, n int) {
	step := 4
	if a.Is4() {
		step = 8
	}
	for bits := 0; bits <= a.BitLen(); bits += step {
		prefix, _ := a.Prefix(bits)
		if p.below[prefix] += n; p.below[prefix] == 0 {
			delete(p.below, prefix)
		}
	}
}

// reversePrefix is what a name at or below ip6.arpa. (RFC 3596 section 2.5) or in-addr.arpa. (RFC 1035 section 3.5) stands
// for: an address, or those that have names below it.
func reversePrefix(name string) (netip.Prefix, bool) {
	var b [16]byte
	size, step, base := 16, 4, 16
	rest, is := cutParent(name, "ip6.arpa.")
	if !is {
		size, step, base = 4, 8, 10
		if rest, is = cutParent(name, "in-addr.arpa."); !is {
			return netip.Prefix{}, false
		}
	}
	var labels []string
	if rest != "" {
		labels = strings.Split(rest, ".") // one with an escaped dot is no number anyway
	}
	if len(labels)*step > 8*size {
		return netip.Prefix{}, false
	}
	slices.Reverse(labels)
	for i, label := range labels {
		n, err := strconv.ParseUint(label, base, step)
		if err != nil || strconv.FormatUint(n, base) != label {
			return netip.Prefix{}, false
		}
		b[i*step/8] |= byte(n) << (8 - step - i*step%8)
	}
	a, _ := netip.AddrFromSlice(b[:size])
	return netip.PrefixFrom(a, len(labels)*step), true
}

// cutParent returns the labels of name before those of its ancestor, or of itself.
func cutParent(name, ancestor string) (rest string, is bool) {
	if name == ancestor {
		return "", true
	}
	rest, is = strings.CutSuffix(name, "."+ancestor)
	return rest, is && rest != ""
}
