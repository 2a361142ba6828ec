package config

import (
	"net/netip"
	"strings"
)

// addr reads the address of one host.
func (it item) addr(what string) netip.Addr {
	text, ok := it.text(what)
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		it.bad("must be %s, not %q", what, text)
		return netip.Addr{}
	}
	return it.host(a)
}

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

// routed reads the address of one host that is the same on every link: not link-local.
func (it item) routed(what string) netip.Addr {
	a := it.addr(what)
	if a.IsLinkLocalUnicast() {
		it.bad("%s is link-local: write an address that can be routed", a)
		return netip.Addr{}
	}
	return a
}

// routerID reads a BGP identifier (RFC 6286 section 2.1: any number but 0, written as an IPv4 address).
func (it item) routerID() netip.Addr {
	const what = "an IPv4 address, such as 10.0.0.1"
	text, ok := it.text(what)
	if !ok {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(text)
	if err != nil || !a.Is4() || a.IsUnspecified() {
		it.bad("must be %s, not %q", what, text)
		return netip.Addr{}
	}
	return a
}

// prefix reads an address with its length; host bits may be set.
func (it item) prefix(what string) netip.Prefix {
	text, ok := it.text(what)
	if !ok {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(text)
	if a, bare := netip.ParseAddr(text); err != nil && bare == nil && a.Zone() == "" {
		it.bad("%s has no length: write %s", a, netip.PrefixFrom(a, a.BitLen()))
		return netip.Prefix{}
	}
	if err != nil {
		it.bad("must be %s, not %q", what, text)
		return netip.Prefix{}
	}
	if p.Addr().Is4In6() {
		it.bad("%s is an IPv4 address in IPv6 form: write %s with an IPv4 length", p, p.Addr().Unmap())
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

// addrPort reads ADDRESS:PORT of one host.
func (it item) addrPort() netip.AddrPort {
	ap := it.socket(false)
	if ap.IsValid() && !it.host(ap.Addr()).IsValid() {
		return netip.AddrPort{}
	}
	return ap
}

// socket reads ADDRESS:PORT to listen on: the unspecified address is every address; port 0, where allowed, any free one.
func (it item) socket(anyPort bool) netip.AddrPort {
	const what = `ADDRESS:PORT, such as "[::1]:53" or 127.0.0.1:53`
	text, ok := it.text(what)
	if !ok {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(text)
	switch {
	case err != nil && strings.HasPrefix(text, ":"):
		it.bad(`must be %s: for every address write "[::]%s"`, what, text)
	case err != nil:
		it.bad("must be %s, not %q", what, text)
	case ap.Port() == 0 && !anyPort:
		it.bad("must have a port from 1 to 65535, not 0")
	case !ap.Addr().IsUnspecified() && notHost(ap.Addr()) != "":
		it.host(ap.Addr())
	default:
		return ap
	}
	return netip.AddrPort{}
}
