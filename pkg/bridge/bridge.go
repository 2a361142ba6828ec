// Package bridge is local repair: while routing converges it carries the packets that arrive for a service address (VIP)
// of a sick service on to hosts where the service is well, through SRv6 or VXLAN. The VIP stays on lo, so the service can
// bind it again and local checks of it never leave the host; only packets that arrive on an uplink are carried away, by
// an ip rule ahead of the kernel's local table. Everything is prepared beforehand: the switch is one netlink message per
// VIP. On the other side the tunnels lead to a table that holds only the VIPs, for configured outer sources alone.
//
// Facts of the kernel (Linux 5.18 or newer) that shape it are in docs/bridge.md.
package bridge

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

// Config is what a host bridges, and with whom.
type Config struct {
	Mode Mode
	// Uplinks are the interfaces on which clients' packets and those of the peers' tunnels arrive.
	Uplinks []string
	// SID and SID4 are this host's SRv6 segments: bridged IPv6 (End.DT6) and IPv4 (End.DX4) packets come here. The network
	// must route them to this host. Zero: peers cannot reach this host by SRv6.
	SID, SID4 netip.Addr
	// Source is the unicast address of this host that its outer packets come from; it is also its VXLAN endpoint. Zero:
	// what the kernel chooses.
	Source netip.Addr
	// VNI is the VXLAN network identifier, the same on all hosts, 24 bits; zero: 4660.
	VNI uint32
	// Limit is the most packets per second that this host bridges, all VIPs together; the excess is dropped and counted.
	// Zero: 100,000.
	Limit int
	// VIPs are all addresses, each a /32 or /128, that may be bridged from here or delivered here.
	VIPs  []netip.Prefix
	Peers []Peer
}

// Peer is another host that serves VIPs.
type Peer struct {
	Name, Site string
	// SID and SID4 are its SRv6 segments, as in its own Config.
	SID, SID4 netip.Addr
	// Source is its Config.Source: the outer source of what it sends, its VXLAN endpoint, its unicast address for probes.
	Source netip.Addr
}

// Target is a peer to which a VIP's packets go, and its share of them among the targets of the VIP: 1 to 256.
type Target struct {
	Peer   string
	Weight int
}

// Wanted is a VIP whose packets are to be bridged. Several targets share its clients by weight.
type Wanted struct {
	VIP     netip.Prefix
	Targets []Target
}

// Traffic is what was counted for one VIP since Run began.
type Traffic struct {
	Packets, Bytes uint64    // that were to be bridged from here, those dropped included
	Dropped        uint64    // packets of them that exceeded Config.Limit
	Last           time.Time // when Packets was last seen to grow; zero: never
	Received       uint64    // packets that peers bridged to here
}

// Problem is a precondition of bridging that is not met. It is never cured silently: Remedy tells a person how.
type Problem struct {
	Name   string // what kind, for metrics: "forwarding", "rp_filter", ...
	What   string
	Remedy string
	Fatal  bool // while it lasts, Set refuses the VIPs that it concerns
}

// Bridge prepares this host for bridging, switches VIPs over, and counts. Safe for concurrent use.
type Bridge struct{}

// New checks the configuration and opens the netlink sockets, in the network namespace of the calling thread; it changes
// nothing yet. It needs CAP_NET_ADMIN.
func New(log *slog.Logger, cfg Config) (*Bridge, error) { return &Bridge{}, nil }

// Run prepares rules, tables, decapsulation and filter, keeps them as they should be, and counts. When ctx is done it
// removes all that is ours and returns nil. It must be called once.
func (b *Bridge) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Ready is closed after Run's first attempt to prepare the host; Problems tells whether something fatal is in the way.
func (b *Bridge) Ready() <-chan struct{} { return nil }

// Found returns the bridges that an earlier process of ours left switched on, sorted by VIP. They stay on until the first
// Set. It is valid once Ready is closed.
func (b *Bridge) Found() []Wanted { return nil }

// Set makes wanted the whole set of bridged VIPs.
func (b *Bridge) Set(ctx context.Context, wanted ...Wanted) error { return nil }

// Traffic returns what was counted, for every VIP of the configuration.
func (b *Bridge) Traffic() map[netip.Prefix]Traffic { return nil }

// Changed signals that a bridged VIP's traffic fell quiet (for a second) or is busy again. Capacity 1: read Traffic then.
func (b *Bridge) Changed() <-chan struct{} { return nil }

// Problems returns the preconditions that are not met, fatal ones first.
func (b *Bridge) Problems() []Problem { return nil }

// Mode returns the chosen tunnel: SRv6, VXLAN or Off; Auto before Ready.
func (b *Bridge) Mode() Mode { return Off }

// Mark returns the SO_MARK with which a packet of this host to a VIP goes through the tunnel to that peer instead of to
// this host itself; 0: unknown peer. Setting it needs CAP_NET_ADMIN.
func (b *Bridge) Mark(peer string) uint32 { return 0 }
