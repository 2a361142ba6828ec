package kube

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// A Pool is what addresses are given from.
type Pool struct {
	Name     string
	Prefixes []netip.Prefix
	Asked    bool // only to who asks for the pool, or for an address of it
}

// The reasons why a Service has no address, as they stand in events and conditions.
const (
	reasonExhausted  = "PoolExhausted"
	reasonNoPool     = "NoPool"
	reasonAddressBad = "BadAddress"
	reasonTakenIP    = "AddressTaken"
	reasonReserved   = "AddressReserved"
	reasonNotInPool  = "AddressNotInPool"
)

// A claimant is a Service that is to have an address of each family.
type claimant struct {
	key
	created     time.Time
	families    []corev1.IPFamily
	held, asked []netip.Addr
	pool        string // the one to be given from; empty: any
}

// A given is an address that a Service has, or is to have.
type given struct {
	address netip.Addr
	from    string // for people: where it comes from
	stray   bool   // it is in no pool: it stays written, and is not announced
}

// A grant is what a claimant has. kept is what it had and may keep; final what it is to have, in the order of its families.
type grant struct {
	kept, final []given
	trouble     []problem
}

func (g *grant) bad(reason, format string, args ...any) {
	g.trouble = append(g.trouble, problem{reason, fmt.Sprintf(format, args...)})
}

// An assignment gives addresses. reserved are those that are somebody else's, and whose.
type assignment struct {
	pools    []Pool
	reserved map[netip.Addr]string
	taken    map[netip.Addr]key
	grants   map[key]*grant
}

// assign says what every claimant has: a function of its arguments alone, in whatever order they come. What one has it keeps;
// of two that have the same the older one does. What one asks for it gets if it is free, instead of what it has. The rest is
// given from the pools, at a place that the name of the Service tells: so most get the same again where all has been
// forgotten.
func assign(pools []Pool, reserved map[netip.Addr]string, all []claimant) map[key]*grant {
	a := &assignment{pools, reserved, make(map[netip.Addr]key), make(map[key]*grant)}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b claimant) int { return cmp.Or(a.created.Compare(b.created), a.key.compare(b.key)) })
	for _, c := range all {
		a.grants[c.key] = new(grant)
		a.keep(c)
	}
	for _, c := range all {
		g := a.grants[c.key]
		g.final = slices.Clone(g.kept)
		a.ask(c, g)
	}
	for _, c := range all {
		a.give(c, a.grants[c.key])
	}
	return a.grants
}

// keep leaves a claimant what it has.
func (a *assignment) keep(c claimant) {
	g := a.grants[c.key]
	for _, address := range c.held {
		if !slices.Contains(c.families, familyOf(address)) || hasFamily(g.kept, familyOf(address)) {
			continue
		}
		pool := a.poolOf(address)
		switch owner, taken := a.taken[address]; {
		case a.reserved[address] != "":
			g.bad(reasonReserved, "%s is %s", address, a.reserved[address])
		case taken:
			g.bad(reasonTakenIP, "%s is that of Service %s, which is older", address, owner)
		case pool == "":
			g.bad(reasonNotInPool, "%s is in no pool of this agent, so it is not announced: put its prefix back into a pool, or ask for another one with %s%s", address, prefix, noteAddress)
			g.kept = append(g.kept, given{address, "its status, in no pool", true})
		default:
			g.kept = append(g.kept, given{address: address, from: pool})
		}
		if _, taken := a.taken[address]; !taken {
			a.taken[address] = c.key
		}
	}
}

// ask gives a claimant what it asks for.
func (a *assignment) ask(c claimant, g *grant) {
	for _, address := range c.asked {
		pool := a.poolOf(address)
		switch owner, taken := a.taken[address]; {
		case !slices.Contains(c.families, familyOf(address)):
			g.bad(reasonAddressBad, "%s is asked for, and the Service has no %s", address, familyOf(address))
		case a.reserved[address] != "":
			g.bad(reasonReserved, "%s is asked for, and is %s", address, a.reserved[address])
		case taken && owner != c.key:
			g.bad(reasonTakenIP, "%s is asked for, and is that of Service %s", address, owner)
		case pool == "":
			g.bad(reasonNotInPool, "%s is asked for, and is in no pool", address)
		default:
			a.taken[address] = c.key
			g.put(given{address: address, from: pool + ", asked for"})
		}
	}
}

// put makes one the address of its family.
func (g *grant) put(one given) {
	for _, list := range []*[]given{&g.kept, &g.final} {
		for i, had := range *list {
			if had.address == one.address || list == &g.final && familyOf(had.address) == familyOf(one.address) {
				(*list)[i] = one
			}
		}
	}
	if !hasFamily(g.final, familyOf(one.address)) {
		g.final = append(g.final, one)
	}
}

// give gives a claimant what it still lacks. Who asks for an address gets that one or none: another would be a surprise.
func (a *assignment) give(c claimant, g *grant) {
	for _, f := range c.families {
		asks := slices.ContainsFunc(c.asked, func(a netip.Addr) bool { return familyOf(a) == f })
		if !asks && !hasFamily(g.final, f) {
			a.pick(c, f, g)
		}
	}
	slices.SortStableFunc(g.final, func(x, y given) int {
		return slices.Index(c.families, familyOf(x.address)) - slices.Index(c.families, familyOf(y.address))
	})
}

// pick gives a claimant a free address of a family.
func (a *assignment) pick(c claimant, f corev1.IPFamily, g *grant) {
	named, some := false, false
	for _, p := range a.pools {
		if c.pool != p.Name && (c.pool != "" || p.Asked) {
			continue
		}
		named = true
		for _, pre := range p.Prefixes {
			if familyOf(pre.Addr()) != f {
				continue
			}
			some = true
			if address, ok := a.free(pre, c.key); ok {
				a.taken[address] = c.key
				g.final = append(g.final, given{address: address, from: "pool " + p.Name})
				return
			}
		}
	}
	switch {
	case !named && c.pool != "":
		g.bad(reasonNoPool, "there is no pool %s", c.pool)
	case !named:
		g.bad(reasonNoPool, "there is no pool that is given from unasked: ask for one with %s%s", prefix, notePool)
	case !some:
		g.bad(reasonNoPool, "no pool that it may have has %s addresses", f)
	default:
		g.bad(reasonExhausted, "all %s addresses are taken: add a prefix to the pool, or delete a Service", f)
	}
}

// hostBits bounds how many addresses of one prefix are given: enough for anybody.
const hostBits = 32

// free finds a free address of a prefix: the first from the place that a name tells. Where there are others, that of the
// prefix itself is never given, nor the last one of IPv4: routers and filters take them for something else (RFC 4291 section
// 2.6.1, RFC 1812 section 5.3.5).
func (a *assignment) free(p netip.Prefix, of key) (netip.Addr, bool) {
	bits := min(p.Addr().BitLen()-p.Bits(), hostBits)
	size, first, last := uint64(1)<<bits, uint64(0), uint64(0)
	if bits > 1 || bits == 1 && p.Addr().Is6() {
		first = 1
	}
	if last = size - 1; bits > 1 && p.Addr().Is4() {
		last--
	}
	n := last - first + 1
	h := fnv.New64a()
	h.Write([]byte(of.String()))
	start := h.Sum64() % n
	for i := range n {
		address := offset(p.Addr(), first+(start+i)%n)
		if _, taken := a.taken[address]; !taken && a.reserved[address] == "" {
			return address, true
		}
	}
	return netip.Addr{}, false
}

// offset returns the address n after one that ends in as many zeros as n needs.
func offset(a netip.Addr, n uint64) netip.Addr {
	if a.Is4() {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|uint32(n))
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	binary.BigEndian.PutUint64(b[8:], binary.BigEndian.Uint64(b[8:])|n)
	return netip.AddrFrom16(b)
}

// poolOf names the pool that an address is in; empty: none.
func (a *assignment) poolOf(address netip.Addr) string {
	for _, p := range a.pools {
		if slices.ContainsFunc(p.Prefixes, func(p netip.Prefix) bool { return p.Contains(address) }) {
			return "pool " + p.Name
		}
	}
	return ""
}

func familyOf(a netip.Addr) corev1.IPFamily {
	if a.Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

func hasFamily(all []given, f corev1.IPFamily) bool {
	return slices.ContainsFunc(all, func(g given) bool { return familyOf(g.address) == f })
}

// claimantOf reads what a Service asks for, and what cannot be read.
func claimantOf(s *service) (c claimant, trouble []problem) {
	c = claimant{key: s.key, created: s.created, families: s.balanced.families, held: s.balanced.held, pool: s.notes[notePool]}
	asked := s.notes[noteAddress]
	if asked == "" {
		asked = s.balanced.asked
	}
	for _, text := range strings.FieldsFunc(asked, func(r rune) bool { return r == ',' || r == ' ' }) {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			trouble = append(trouble, problem{reasonAddressBad, fmt.Sprintf("%q is asked for, and is no address", text)})
			continue
		}
		c.asked = append(c.asked, a.Unmap())
	}
	return c, trouble
}
