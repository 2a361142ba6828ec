// Package bgp announces prefixes to a rack's routers: a Speaker holds the sessions and makes what the neighbors know
// equal to the whole wanted set. It wraps GoBGP and lets none of its types out.
package bgp

import (
	"net/netip"
	"time"
)

// A Neighbor is one BGP session that the speaker dials.
type Neighbor struct {
	Address     netip.Addr // link-local ones carry their zone
	ASN         uint32
	Password    string // TCP MD5 (RFC 2385); empty: none. Never logged.
	TTLSecurity bool   // GTSM (RFC 5082): packets of the session leave and arrive with 255 hops; not with Multihop
	Multihop    uint8  // hop limit of an eBGP session that crosses routers; 0: direct. iBGP sessions may always cross some.
}

// An Advertisement is one prefix wanted at every neighbor whose session can carry it.
// Another one that differs only in its Attributes replaces it, without a withdrawal between.
type Advertisement struct {
	Prefix netip.Prefix
	Attributes
}

// Config is what a Speaker needs.
type Config struct {
	ASN        uint32
	RouterID   netip.Addr    // IPv4; zero: derived from the machine
	ListenPort int           // 1 to 65535 on all addresses; 0 or -1: dial only
	HoldTime   time.Duration // whole seconds, at least 3 s; zero: 9 s; keepalives are sent every third of it
	Neighbors  []Neighbor
	Allowed    []netip.Prefix // nothing else is ever exported, whatever Set is asked for, but
	Pools      []netip.Prefix // single addresses in these: each as itself, from when Set is first asked for it
	OnReport   func(Report)   // called from the speaker's own goroutine; must not block; may be nil
}

// A Report tells when the UPDATEs of one Set had been written to one neighbor's socket, or why not. A generation ends
// with one Report without Err for every neighbor that has a session, also when the session came later; what cannot be
// announced now, or was not written within a second, is told before by Reports with Err.
type Report struct {
	Generation uint64 // what Set returned
	Neighbor   netip.Addr
	Written    time.Time // with the monotonic clock; zero with Err
	Err        error     // for people: names the neighbor, the prefixes and the remedy
}

// NeighborStatus is one session for people and metrics.
type NeighborStatus struct {
	Address         netip.Addr
	ASN             uint32
	Established     bool
	State           string // RFC 4271 section 8.2.2: idle, connect, active, opensent, openconfirm, established
	Since           time.Time
	Held            string         // why Hold keeps the session closed; empty: it does not
	Families        []string       // negotiated, e.g. "ipv6-unicast"
	ExtendedNextHop bool           // RFC 8950: IPv4 prefixes may go over this IPv6 session
	NotCarried      []netip.Prefix // wanted, but this session cannot carry them
	SentUpdates     uint64
	ReceivedUpdates uint64
	Reason          string // of the last loss of the session
}
