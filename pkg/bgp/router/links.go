package router

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A link is one interface of this network namespace, lo excluded.
type link struct {
	name     string
	up       bool           // administratively up and carrier there
	prefixes []netip.Prefix // global unicast addresses with their length
	own      netip.Addr     // the first link-local address
}

// readLinks returns the interfaces by index.
func readLinks() (map[int]*link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("cannot list interfaces: %w", err)
	}
	links := make(map[int]*link)
	for _, l := range all {
		a := l.Attrs()
		if a.RawFlags&unix.IFF_LOOPBACK != 0 {
			continue
		}
		links[a.Index] = &link{name: a.Name, up: isUp(a.RawFlags)}
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("cannot list addresses: %w", err)
	}
	for _, a := range addrs {
		l := links[a.LinkIndex]
		ip, ok := netip.AddrFromSlice(a.IP)
		switch ip = ip.Unmap(); {
		case l == nil || !ok:
			continue
		case ip.Is6() && ip.IsLinkLocalUnicast():
			if !l.own.IsValid() {
				l.own = ip.WithZone(l.name)
			}
			continue
		case !ip.IsGlobalUnicast():
			continue
		}
		bits, _ := a.Mask.Size()
		l.prefixes = append(l.prefixes, netip.PrefixFrom(ip, bits))
	}
	return links, nil
}

func isUp(flags uint32) bool {
	return flags&unix.IFF_UP != 0 && flags&unix.IFF_LOWER_UP != 0
}

// connected returns what the links that are up are connected to.
func connected(links map[int]*link) []netip.Prefix {
	var l []netip.Prefix
	for _, link := range links {
		if !link.up {
			continue
		}
		for _, p := range link.prefixes {
			l = append(l, p.Masked())
		}
	}
	return l
}

// linkOf returns the index of the link that a neighbor is on and the own address there; 0 when no link has its prefix.
func linkOf(links map[int]*link, neighbor netip.Addr) (index int, own netip.Addr) {
	for i, link := range links {
		if neighbor.Zone() != "" && neighbor.Zone() == link.name {
			return i, link.own
		}
		for _, p := range link.prefixes {
			if p.Contains(neighbor) {
				return i, p.Addr()
			}
		}
	}
	return 0, netip.Addr{}
}
