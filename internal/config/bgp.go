package config

import (
	"net/netip"
	"time"
)

// The Hold Time of RFC 4271 section 4.2: at least 3 s, two octets. 0, no keepalives, would leave a dead router
// unnoticed for ever.
const (
	holdTime    = 9 * time.Second
	minHoldTime = 3 * time.Second
	maxHoldTime = 65535 * time.Second
)

func (it item) holdTime() time.Duration {
	return it.seconds(holdTime, minHoldTime, maxHoldTime)
}

// asn reads an AS number of two or four octets (RFC 6793); 0 is reserved (RFC 7607).
func (it item) asn() uint32 {
	asn := uint32(it.integer(0, 1, 1<<32-1))
	if asn == 23456 || asn == 1<<32-1 { // AS_TRANS, and RFC 7300
		it.bad("%d is reserved: write your own AS number, or a private one from 64512 to 65534", asn)
		return 0
	}
	return asn
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
