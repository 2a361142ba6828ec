// Package router is a small eBGP router for labs: GoBGP's best paths, ECMP included, written to the kernel's table,
// and fast external fallover when a link goes down.
package router

import (
	"net/netip"
	"time"
)

// Config is one router. Connected prefixes of the node's interfaces are originated too.
type Config struct {
	ASN       uint32
	RouterID  netip.Addr    // IPv4
	HoldTime  time.Duration // zero: 9 s
	Neighbors []Neighbor
	Prefixes  []netip.Prefix // originated beside the connected ones
}

// A Neighbor is an eBGP neighbor on a connected link.
type Neighbor struct {
	Address     netip.Addr // link-local ones carry their zone
	ASN         uint32
	Password    string // TCP MD5 (RFC 2385); empty: none. Never logged.
	TTLSecurity bool   // GTSM (RFC 5082)
}
