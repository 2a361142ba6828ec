// Package dnsserver answers DNS queries for zones whose names are steered services: a compiled snapshot behind an
// atomic pointer, served over UDP and TCP.
package dnsserver

import (
	"net/netip"
	"time"
)

// A Zone is one zone that this server is authoritative for.
type Zone struct {
	Name string // fully qualified, lower case
	TTL  time.Duration
	NS   []NS
}

// NS is one name server of a zone and, where it lies inside the zone, its addresses.
type NS struct {
	Name      string
	Addresses []netip.Addr
}
