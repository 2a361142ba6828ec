package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// addr reads the address of one host.
func (it item) addr(what string) netip.Addr {
	a := it.anyAddr(what)
	if a.IsValid() {
		return it.host(a)
	}
	return a
}

// routed reads the address of one host that is the same on every link: not link-local.
func (it item) routed(what string) netip.Addr {
	a := it.anyAddr(what)
	switch {
	case a.IsLinkLocalUnicast():
		it.bad("%s is link-local: write an address that can be routed", a)
		return netip.Addr{}
	case a.IsValid():
		return it.host(a)
	default:
		return a
	}
}

func (it item) anyAddr(what string) netip.Addr {
	text, ok := it.text(what)
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || badZone(a) {
		it.bad("must be %s, not %q", what, text)
		return netip.Addr{}
	}
	return a
}

// badZone tells of a zone that is no interface: netip takes anything.
func badZone(a netip.Addr) bool { return a.Zone() != "" && !isIfname(a.Zone()) }

// host reports an address that no single host can have.
func (it item) host(a netip.Addr) netip.Addr {
	if why := notHost(a); why != "" {
		it.bad("%s %s", a, why)
		return netip.Addr{}
	}
	return a
}

func notHost(a netip.Addr) string {
	switch {
	case a.Is4In6():
		return "is an IPv4 address in IPv6 form: write " + a.Unmap().String()
	case a.IsUnspecified():
		return "is the unspecified address: write a host's own"
	case a.IsMulticast():
		return "is a multicast address: write a host's own"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is the broadcast address: write a host's own"
	case a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "":
		return "is link-local: add its interface, such as " + a.String() + "%eth1"
	case a.Zone() != "" && !a.IsLinkLocalUnicast():
		return "is not link-local: remove %" + a.Zone()
	default:
		return ""
	}
}

// prefix reads an address with its length; host bits may be set.
func (it item) prefix(what string) netip.Prefix {
	text, ok := it.text(what)
	if !ok {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(text)
	if a, bare := netip.ParseAddr(text); err != nil && bare == nil && a.Zone() == "" {
		it.bad("%s has no length: write %s", a, what)
		return netip.Prefix{}
	}
	if err != nil {
		it.bad("must be %s, not %q", what, text)
		return netip.Prefix{}
	}
	if p.Addr().Is4In6() {
		it.bad("%s is an IPv4 address in IPv6 form: write %s", p, netip.PrefixFrom(p.Addr().Unmap(), max(0, p.Bits()-96)))
		return netip.Prefix{}
	}
	return p
}

// network reads a prefix without host bits.
func (it item) network(what string) netip.Prefix {
	p := it.prefix(what)
	if p.IsValid() && p != p.Masked() {
		it.bad("%s has bits set beyond its length: write %s", p, p.Masked())
		return netip.Prefix{}
	}
	return p
}

// hostPrefix reads a prefix that is one host's own address.
func (it item) hostPrefix(what string) netip.Prefix {
	p := it.prefix(what)
	if !p.IsValid() {
		return p
	}
	if why := notHost(p.Addr()); why != "" && !p.Addr().IsLinkLocalUnicast() {
		it.bad("%s %s", p.Addr(), why)
		return netip.Prefix{}
	}
	return p
}

const (
	targetForm = `ADDRESS:PORT, such as "[::1]:53" or 127.0.0.1:53`
	listenForm = `ADDRESS:PORT, such as "[::1]:9410", or "[::]:9410" for every address`
	serveForm  = `ADDRESS:PORT, such as "[::1]:53", or "[::]:53" for every IPv6 address and 0.0.0.0:53 for every IPv4 address`
)

// addrPort reads ADDRESS:PORT of one host.
func (it item) addrPort() netip.AddrPort {
	ap := it.anyAddrPort(targetForm)
	switch {
	case !ap.IsValid():
		return ap
	case ap.Port() == 0:
		it.bad("must have a port from 1 to 65535, not 0")
	case it.host(ap.Addr()).IsValid():
		return ap
	}
	return netip.AddrPort{}
}

// socket reads ADDRESS:PORT to listen on: the unspecified address is every address, port 0 any free one.
func (it item) socket(what string) netip.AddrPort {
	ap := it.anyAddrPort(what)
	if ap.IsValid() && !ap.Addr().IsUnspecified() && !it.host(ap.Addr()).IsValid() {
		return netip.AddrPort{}
	}
	return ap
}

func (it item) anyAddrPort(what string) netip.AddrPort {
	text, ok := it.text(what)
	if !ok {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(text)
	if err == nil && !badZone(ap.Addr()) {
		return ap
	}
	_, port := strconv.ParseUint(strings.TrimPrefix(text, ":"), 10, 16)
	switch a, noPort := netip.ParseAddr(text); {
	case port == nil:
		it.bad("%q has no address: write %s", text, what)
	case noPort == nil && !badZone(a):
		it.bad("%s has no port: write %s", a, what)
	default:
		it.bad("must be %s, not %q", what, text)
	}
	return netip.AddrPort{}
}
