package dnsserver

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// A prefixTable maps every address to what the longest prefix that holds it was given: the zero T where there is none. It
// is a list of intervals for each family, so that a lookup is a search in a few cache lines, and allocates nothing.
type prefixTable[T any] struct{ v6, v4 []interval[T] }

// An interval reaches from its start to the next one's.
type interval[T any] struct {
	start position
	value T
}

// position is an address as a number.
type position struct{ high, low uint64 }

func positionOf(a netip.Addr) position {
	b := a.As16()
	return position{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (p position) compare(q position) int {
	return cmp.Or(cmp.Compare(p.high, q.high), cmp.Compare(p.low, q.low))
}

// newPrefixTable takes each prefix without host bits, and once.
func newPrefixTable[T any](values map[netip.Prefix]T) prefixTable[T] {
	var v6, v4 []netip.Prefix
	for p := range values {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return prefixTable[T]{intervals(v6, values), intervals(v4, values)}
}

// intervals cuts a family where prefixes begin and end. Prefixes are either disjoint or one within the other: a stack holds
// those that are open.
func intervals[T any](prefixes []netip.Prefix, values map[netip.Prefix]T) []interval[T] {
	// An outer one comes before those within it.
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var none T
	var list []interval[T]
	begin := func(a netip.Addr, value T) {
		at := positionOf(a)
		if n := len(list); n > 0 && list[n-1].start == at {
			list = list[:n-1] // nothing is left of it
		}
		list = append(list, interval[T]{at, value})
	}
	var open []netip.Prefix
	end := func() {
		after := last(open[len(open)-1]).Next()
		open = open[:len(open)-1]
		switch {
		case !after.IsValid(): // of all addresses
		case len(open) > 0:
			begin(after, values[open[len(open)-1]])
		default:
			begin(after, none)
		}
	}
	for _, p := range prefixes {
		for len(open) > 0 && !open[len(open)-1].Contains(p.Addr()) {
			end()
		}
		begin(p.Addr(), values[p])
		open = append(open, p)
	}
	for len(open) > 0 {
		end()
	}
	return list
}

// last returns the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// find returns what a was given. IPv4 in IPv6 form is IPv4.
func (t *prefixTable[T]) find(a netip.Addr) T {
	list := t.v6
	if a.Is4() || a.Is4In6() {
		a, list = a.Unmap(), t.v4
	}
	at := positionOf(a)
	low, high := 0, len(list) // the last one that starts at or before a lies in [low-1, high-1]
	for low < high {
		if middle := int(uint(low+high) / 2); list[middle].start.compare(at) <= 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		var none T
		return none
	}
	return list[low-1].value
}
