package vip

import (
	"fmt"
	"net/netip"
	"slices"
)

// plan is what leads from the addresses that are there to those that are wanted.
type plan struct {
	add     []netip.Prefix
	remove  []address
	foreign []address // wanted, but somebody else's
}

// diff plans; it compares addresses, not prefix lengths: the kernel delivers to an address whatever its prefix.
func diff(wanted []netip.Prefix, present []address) plan {
	var p plan
	for _, w := range wanted {
		got, ok := find(present, w.Addr())
		switch {
		case !ok && !slices.Contains(p.add, w):
			p.add = append(p.add, w)
		case ok && !got.ours:
			p.foreign = append(p.foreign, got)
		}
	}
	for _, got := range ours(present) {
		if !slices.ContainsFunc(wanted, func(w netip.Prefix) bool { return w.Addr() == got.prefix.Addr() }) {
			p.remove = append(p.remove, got)
		}
	}
	return p
}

// validate refuses what must not become an address of a host.
func validate(wanted []netip.Prefix) error {
	for _, p := range wanted {
		switch addr := p.Addr(); {
		case !p.IsValid():
			return fmt.Errorf("vip: %v is not an address", p)
		case !p.IsSingleIP():
			return fmt.Errorf("vip: %v: must be a /%d, one address: a wider prefix is announced, not owned", p, addr.BitLen())
		case addr.Is4In6(), addr.IsMulticast(), addr.IsUnspecified():
			return fmt.Errorf("vip: %v: must be a unicast IPv6 or IPv4 address", p)
		}
	}
	return nil
}

// find prefers one that is ours where the same IPv4 address is there twice.
func find(present []address, addr netip.Addr) (address, bool) {
	var found address
	for _, got := range present {
		if got.prefix.Addr() == addr && (!found.prefix.IsValid() || got.ours) {
			found = got
		}
	}
	return found, found.prefix.IsValid()
}

func ours(present []address) []address {
	var all []address
	for _, got := range present {
		if got.ours {
			all = append(all, got)
		}
	}
	return all
}

// prefixes returns the prefixes of all in ascending order, never nil.
func prefixes(all []address) []netip.Prefix {
	list := make([]netip.Prefix, 0, len(all))
	for _, a := range all {
		list = append(list, a.prefix)
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	return list
}
