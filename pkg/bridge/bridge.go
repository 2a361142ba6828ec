// Package bridge is local repair: while routing converges it carries the packets that arrive for a service address (VIP)
// of a sick service on to hosts where the service is well, through SRv6 or VXLAN. The VIP stays on lo, so the service can
// bind it again and local checks of it never leave the host; only packets that arrive on an uplink are carried away, by
// an ip rule ahead of the kernel's local table. Everything is prepared beforehand: the switch is one netlink message per
// VIP. On the other side the tunnels lead to a table that holds only the VIPs, for configured outer sources alone.
//
// Facts of the kernel (Linux 5.18 or newer) that shape it are in docs/bridge.md.
package bridge

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
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
type Bridge struct {
	log    *slog.Logger
	cfg    Config
	vips   map[netip.Prefix]bool // cfg.VIPs
	kernel *kernel
	filter *filter
	ready  chan struct{}

	changed  chan struct{}
	switched chan struct{} // capacity 1: wakes Run, which counts more often while something is bridged

	mu       sync.Mutex // guards the fields below, and makes Set atomic to other callers
	plan     *plan      // nil until the host is prepared
	on       map[netip.Prefix][]Target
	found    []Wanted
	findings []finding
	failure  error // of the last attempt to prepare the host

	countMu sync.Mutex // guards the fields below; never held while mu is asked for
	tally   *tally
	refused uint64
}

// New checks the configuration and opens the netlink sockets, in the network namespace of the calling thread, which must
// be that of the process; it changes nothing yet. It needs CAP_NET_ADMIN, but for Off.
func New(log *slog.Logger, cfg Config) (*Bridge, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	k, err := newKernel()
	if err != nil {
		return nil, err
	}
	if err := k.permitted(); err != nil && cfg.Mode != Off {
		k.close()
		return nil, err
	}
	f, err := newFilter()
	if err != nil {
		k.close()
		return nil, err
	}
	vips := make(map[netip.Prefix]bool)
	for _, vip := range cfg.VIPs {
		vips[vip] = true
	}
	return &Bridge{
		log: log, cfg: cfg, vips: vips, kernel: k, filter: f,
		ready: make(chan struct{}), changed: make(chan struct{}, 1), switched: make(chan struct{}, 1),
		on: make(map[netip.Prefix][]Target), tally: newTally(cfg.VIPs),
	}, nil
}

// Ready is closed after Run's first attempt to prepare the host; Problems tells whether something fatal is in the way.
func (b *Bridge) Ready() <-chan struct{} { return b.ready }

// Found returns the bridges that an earlier process of ours left switched on, sorted by VIP. They stay on until the first
// Set. It is valid once Ready is closed.
func (b *Bridge) Found() []Wanted {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.found)
}

// Traffic returns what was counted, for every VIP of the configuration. The counters of bridged VIPs are read every 100
// ms, the others every second.
func (b *Bridge) Traffic() map[netip.Prefix]Traffic {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	return b.tally.traffic()
}

// Refused returns how many tunnel packets were dropped here because their outer source, their shape or their inner
// destination is none of the configured.
func (b *Bridge) Refused() uint64 {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	return b.refused
}

// Changed signals that a bridged VIP's traffic fell quiet (for a second) or is busy again. Capacity 1: read Traffic then.
func (b *Bridge) Changed() <-chan struct{} { return b.changed }

// Problems returns the preconditions that were not met when last looked at, at most 10 s ago, fatal ones first.
func (b *Bridge) Problems() []Problem {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Problem
	if b.failure != nil {
		all = append(all, Problem{Name: "prepare", What: b.failure.Error(), Remedy: "cure it: it is tried again every second", Fatal: true})
	}
	for _, f := range b.findings {
		all = append(all, f.Problem)
	}
	slices.SortStableFunc(all, func(a, b Problem) int { return cmp.Compare(severity(a), severity(b)) })
	return all
}

func severity(p Problem) int {
	if p.Fatal {
		return 0
	}
	return 1
}

// Mode returns the chosen tunnel: SRv6, VXLAN or Off; Auto before the host is prepared.
func (b *Bridge) Mode() Mode {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.cfg.Mode == Off:
		return Off
	case b.plan == nil:
		return Auto
	}
	return b.plan.mode
}

// Mark returns the SO_MARK with which a packet of this host to a VIP goes through the tunnel to that peer instead of to
// this host itself; 0: unknown peer. Setting it needs CAP_NET_ADMIN.
func (b *Bridge) Mark(peer string) uint32 {
	i, ok := b.cfg.peer(peer)
	if !ok || b.cfg.Mode == Off {
		return 0
	}
	return markPeer + uint32(i)
}
