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

const (
	// maxUDP is the largest answer over UDP: the size that passes everywhere without fragments (DNS flag day 2020).
	maxUDP = 1232
	// minUDP is what a client without EDNS takes, RFC 1035 section 4.2.1.
	minUDP = 512
	// maxNegativeTTL bounds how long a resolver may remember that something is not there: pods come at any time.
	maxNegativeTTL = 5 * time.Second
	// panicTTL is that of answers given though no endpoint is known to work.
	panicTTL = time.Second
	// healthLabel is the name below each zone that tells whether this server knows what it says.
	healthLabel = "health."
)
