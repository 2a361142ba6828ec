package bridge

import (
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Everything of ours in the kernel can be told from what is not: routes and rules by protocol, the interface and the nft
// table by name, packets by mark.
const (
	protocol  = 0xae // of routes and rules (rtm_protocol, FRA_PROTOCOL); "ip route" and "ip rule" print "proto 174"
	device    = "anyedge0"
	vxlanPort = 4789 // RFC 7348

	tableBridge = 53000 // VIP -> tunnel, while bridged; asked for packets that arrive on uplinks
	tableVIPs   = 53001 // "local VIP" for all VIPs: all that decapsulated packets can reach
	tableSIDs   = 53002 // own segments -> decapsulation; asked for packets that the filter has passed
	tablePeers  = 53100 // and up: everything -> tunnel to one peer; asked for packets with its mark

	markMask    = 0xffff0000
	markBase    = 0xae530000
	markSegment = markBase | 0x0001 // set by the filter: a peer's SRv6 packet, and what was in it
	markBridged = markBase | 0x0002 // set by the filter: a packet of a bridged VIP
	markVXLAN   = markBase | 0x0003 // set by the filter: a peer's VXLAN packet, and what was in it
	markPeer    = markBase | 0x0100 // and up: set by a local socket, a packet for that peer

	localPreference      = 100 // of the rule for the local table, which the kernel has at 0
	localPreferenceOther = 101 // when somebody else has one at 100 already
	lastPreference       = 15  // of the rules below, which must come before the local table's
)

type family int

const (
	family4 family = unix.AF_INET
	family6 family = unix.AF_INET6
)

func (f family) String() string {
	if f == family4 {
		return "IPv4"
	}
	return "IPv6"
}

func familyOf(a netip.Addr) family {
	if a.Is4() {
		return family4
	}
	return family6
}

// plan is what the host shall look like: pure, made from the configuration and the little that must be found out.
type plan struct {
	cfg    Config
	mode   Mode       // SRv6 or VXLAN: of what is sent; both are received as far as configured
	source netip.Addr // outer source and VXLAN endpoint of this host
	seg6   bool       // the kernel can decapsulate SRv6
	index  int        // of the tunnel device
}

// rules are ours in the order in which they are asked, without the local table's.
func (p plan) rules(f family) []netlink.Rule {
	var all []netlink.Rule
	add := func(preference int, set func(*netlink.Rule)) {
		r := netlink.NewRule()
		r.Family, r.Priority, r.Protocol = int(f), preference, protocol
		set(r)
		all = append(all, *r)
	}
	decapsulated := tableSIDs
	if f == family4 {
		decapsulated = tableVIPs // End.DX4 leads to the rules once more, and the mark is still there
	}
	for _, uplink := range p.cfg.Uplinks {
		add(10, func(r *netlink.Rule) { r.IifName, r.Mark, r.Table = uplink, markSegment, decapsulated })
		add(11, func(r *netlink.Rule) { r.IifName, r.Mark, r.Type = uplink, markSegment, unix.RTN_UNREACHABLE })
		add(12, func(r *netlink.Rule) { r.IifName, r.Table = uplink, tableBridge })
	}
	add(13, func(r *netlink.Rule) { r.IifName, r.Mark, r.Table = device, markVXLAN, tableVIPs })
	add(14, func(r *netlink.Rule) { r.IifName, r.Type = device, unix.RTN_UNREACHABLE })
	for i := range p.cfg.Peers {
		add(lastPreference, func(r *netlink.Rule) { r.Mark, r.Table = markPeer+uint32(i), tablePeers+i })
	}
	return all
}

// routes are ours that are there whether or not something is bridged.
func (p plan) routes() []netlink.Route {
	var all []netlink.Route
	for _, vip := range p.cfg.VIPs {
		all = append(all, p.route(tableVIPs, vip, func(r *netlink.Route) {
			r.Type, r.LinkIndex, r.Scope = unix.RTN_LOCAL, loopback, netlink.SCOPE_HOST
		}))
	}
	if p.seg6 && p.cfg.SID.IsValid() {
		all = append(all, p.decapsulation(p.cfg.SID, nl.SEG6_LOCAL_ACTION_END_DT6, func(e *netlink.SEG6LocalEncap) {
			e.Flags[nl.SEG6_LOCAL_TABLE], e.Table = true, tableVIPs
		}))
	}
	if p.seg6 && p.cfg.SID4.IsValid() {
		all = append(all, p.decapsulation(p.cfg.SID4, nl.SEG6_LOCAL_ACTION_END_DX4, func(e *netlink.SEG6LocalEncap) {
			e.Flags[nl.SEG6_LOCAL_NH4], e.InAddr = true, net.IPv4zero.To4() // look the inner destination up
		}))
	}
	for i := range p.cfg.Peers {
		all = append(all, p.peerRoutes(i)...)
	}
	return all
}

const loopback = 1 // the index of lo in every network namespace

func (p plan) decapsulation(sid netip.Addr, action int, set func(*netlink.SEG6LocalEncap)) netlink.Route {
	encap := &netlink.SEG6LocalEncap{Action: action}
	encap.Flags[nl.SEG6_LOCAL_ACTION] = true
	set(encap)
	return p.route(tableSIDs, single(sid), func(r *netlink.Route) { r.LinkIndex, r.Encap = p.index, encap })
}

// peerRoutes lead all of a table through the tunnel to one peer, but for the tunnel's own outer packets, which carry the
// mark, too. Should the tunnel be taken away, nothing is answered in the peer's place.
func (p plan) peerRoutes(peer int) []netlink.Route {
	table := tablePeers + peer
	var all []netlink.Route
	for _, f := range p.cfg.families() {
		everything := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		if f == family4 {
			everything = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		}
		all = append(all,
			p.route(table, everything, func(r *netlink.Route) {
				hop := p.hop(f, peer)
				r.LinkIndex, r.Flags, r.Gw, r.Via, r.Encap = hop.LinkIndex, hop.Flags, hop.Gw, hop.Via, hop.Encap
			}),
			p.route(table, everything, func(r *netlink.Route) { r.Type, r.Priority = unix.RTN_UNREACHABLE, 1<<31 }))
	}
	target := p.cfg.Peers[peer]
	for _, outer := range []netip.Addr{target.SID, target.SID4, target.Source} {
		if outer.IsValid() && (outer.Is6() || p.cfg.has(family4)) {
			all = append(all, p.route(table, single(outer), func(r *netlink.Route) { r.Type = unix.RTN_THROW }))
		}
	}
	return all
}

// bridge is the one route that switches a VIP over. It is what the kernel is told when it has to go fast.
func (p plan) bridge(w Wanted) *netlink.Route {
	r := p.route(tableBridge, w.VIP, func(r *netlink.Route) {
		if len(w.Targets) == 1 {
			hop := p.hop(familyOf(w.VIP.Addr()), p.target(w.Targets[0]))
			r.LinkIndex, r.Flags, r.Gw, r.Via, r.Encap = hop.LinkIndex, hop.Flags, hop.Gw, hop.Via, hop.Encap
			return
		}
		for _, t := range w.Targets {
			hop := p.hop(familyOf(w.VIP.Addr()), p.target(t))
			hop.Hops = t.Weight - 1
			r.MultiPath = append(r.MultiPath, hop)
		}
	})
	return &r
}

func (p plan) target(t Target) int {
	i, _ := p.cfg.peer(t.Peer)
	return i
}

// hop leads to a peer. The gateway is there in SRv6, too, though nobody is asked for it: IPv6 shares among next hops only
// where they have one, and it tells which peer is meant when an earlier process' routes are read.
func (p plan) hop(f family, peer int) *netlink.NexthopInfo {
	target := p.cfg.Peers[peer]
	gw := net.IP(gateway(target.Source).AsSlice())
	hop := &netlink.NexthopInfo{LinkIndex: p.index, Flags: int(netlink.FLAG_ONLINK)}
	if f == family4 {
		hop.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: gw}
	} else {
		hop.Gw = gw
	}
	if p.mode == SRv6 {
		sid := target.SID
		if f == family4 {
			sid = target.SID4
		}
		hop.Encap = &netlink.SEG6Encap{Mode: encapReduced, Segments: []net.IP{sid.AsSlice()}}
	}
	return hop
}

const encapReduced = 3 // SEG6_IPTUN_MODE_ENCAP_RED of linux/seg6_iptunnel.h (5.19?), which package nl lacks: no routing header for one segment

func (p plan) route(table int, dst netip.Prefix, set func(*netlink.Route)) netlink.Route {
	r := netlink.Route{Table: table, Protocol: protocol, Family: int(familyOf(dst.Addr())), Dst: ipNet(dst)}
	set(&r)
	return r
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// choose picks the tunnel for what is sent. Reason is for people.
func choose(cfg Config, underlay int, seg6 error) (mode Mode, reason string) {
	if cfg.Mode != Auto {
		return cfg.Mode, "configured"
	}
	switch lacking := cfg.lackingSegment(); {
	case lacking != "":
		return VXLAN, "no " + lacking + " is configured"
	case seg6 != nil:
		return VXLAN, "the kernel has no SRv6: " + seg6.Error()
	case underlay < clientMTU+overheadSRv6:
		return VXLAN, "the underlay has no room for SRv6, which needs an MTU of 1540"
	}
	return SRv6, "all hosts have segments and the underlay has room"
}

const (
	clientMTU      = 1500
	overheadSRv6   = 40
	overheadVXLAN6 = 70
	overheadVXLAN4 = 50
)

func overheadVXLAN(source netip.Addr) int {
	if source.Is4() {
		return overheadVXLAN4
	}
	return overheadVXLAN6
}
