package main

import (
	"fmt"
	"net/netip"
	"strings"
)

// parseAddress reads ADDRESS:PORT, or ADDRESS with a port that is given; IPv6 addresses may lack their brackets where
// no port follows. Port 0: there is none to take.
func parseAddress(item, text string, port uint16) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a, nil
	}
	bare := text
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		bare = text[1 : len(text)-1]
	}
	a, err := netip.ParseAddr(bare)
	switch {
	case err != nil:
		return netip.AddrPort{}, fmt.Errorf("%s %q: want an address and port as [2001:db8::1]:7000 or 192.0.2.1:7000, no host name", item, text)
	case port == 0:
		return netip.AddrPort{}, fmt.Errorf("%s %q: the port is missing: want %s", item, text, netip.AddrPortFrom(a, 7000))
	}
	return netip.AddrPortFrom(a, port), nil
}
