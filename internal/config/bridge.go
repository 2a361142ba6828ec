package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bfd"
	"github.com/anyedge/anyedge/pkg/bridge"
	"github.com/anyedge/anyedge/pkg/peers"
)

// bridgeConfig reads the bridge and the times of announcements that go with it. Without the key nothing is bridged.
func bridgeConfig(it item) (bridge.Config, announce.Times) {
	o := it.object([]string{"mode", "uplinks", "sid", "sid4", "source", "vni", "limit", "grace", "max"}, nil)
	c := bridge.Config{Mode: bridge.Off}
	if !it.present() {
		return c, announce.Times{}
	}
	c.Mode, _ = bridge.ParseMode(o.get("mode").choice("auto", []string{"auto", "srv6", "vxlan", "off"}, nil))
	c.VNI = uint32(o.get("vni").integer(4660, 1, 1<<24-1))
	c.Limit = int(o.get("limit").integer(100_000, 1, 1<<31-1))
	c.SID, c.SID4 = o.get("sid").segment(), o.get("sid4").segment()
	if c.SID.IsValid() && c.SID == c.SID4 {
		o.get("sid4").bad("%s is the sid, too: IPv6 and IPv4 packets need segments of their own", c.SID4)
	}
	c.Source = o.get("source").routed("this host's own unicast address, such as 2001:db8:1:1::10")
	uplinks := make(places[string])
	for _, one := range o.need("uplinks", "the interfaces on which clients' packets arrive: [eth1]").list("interface") {
		name := one.ifname()
		uplinks.once(one, name)
		if name == "lo" {
			one.bad("nobody's packets arrive on lo: name the interfaces towards the routers, such as eth1")
		}
		c.Uplinks = append(c.Uplinks, name)
	}
	times := announce.Times{
		Grace: o.get("grace").duration(announce.DefaultGrace, 0, time.Minute),
		Max:   o.get("max").duration(announce.DefaultMax, time.Second, time.Hour),
	}
	if times.Grace > times.Max && o.has("grace") {
		o.get("grace").bad("%s is longer than max, %s: after max all is withdrawn", span(times.Grace), span(times.Max))
	}
	if times.Grace == 0 {
		times.Grace = -1 // routers are told at once
	}
	return c, times
}

// segment reads an SRv6 segment identifier.
func (it item) segment() netip.Addr {
	a := it.routed("an IPv6 address that is routed to the host and that it has nowhere else, such as 2001:db8:1::d6")
	if a.Is4() {
		it.bad("%s is an IPv4 address: a segment is an IPv6 address (RFC 8986)", a)
		return netip.Addr{}
	}
	return a
}

// peerList reads the other hosts that serve the same VIPs.
func peerList(list item, own string, c *bridge.Config) {
	names, sources := make(places[string]), make(places[netip.Addr])
	segments := make(places[netip.Addr])
	for _, it := range list.list("peer") {
		o := it.object([]string{"name", "site", "sid", "sid4", "source"}, nil)
		p := bridge.Peer{
			Name:   o.need("name", "the name that the peer calls itself").label("a name"),
			Site:   o.need("site", "the name of the peer's site").label("a name"),
			SID:    o.get("sid").segment(),
			SID4:   o.get("sid4").segment(),
			Source: o.need("source", "the peer's own unicast address").routed("an IP address, such as 2001:db8:2:1::10"),
		}
		if p.Name != "" && p.Name == own {
			o.get("name").bad("%q is this host's own name: name the others, or give this one another name", p.Name)
		}
		names.once(o.get("name"), p.Name)
		sources.once(o.get("source"), p.Source)
		foreign(o.get("source"), p.Source, c.Source)
		segments.once(o.get("sid"), p.SID)
		segments.once(o.get("sid4"), p.SID4)
		foreign(o.get("sid"), p.SID, c.SID, c.SID4)
		foreign(o.get("sid4"), p.SID4, c.SID, c.SID4)
		if c.Source.IsValid() && p.Source.IsValid() && c.Source.Is4() != p.Source.Is4() {
			o.get("source").bad("%s is of another address family than bridge.source %s: tunnels and probes need the same", p.Source, c.Source)
		}
		c.Peers = append(c.Peers, p)
	}
}

// foreign reports an address of a peer that is this host's.
func foreign(it item, a netip.Addr, own ...netip.Addr) {
	if a.IsValid() && slices.Contains(own, a) {
		it.bad("%s is this host's own: list only the others as peers", a)
	}
}

// Peering is how this host asks its peers; zero values are the defaults of package peers.
type Peering struct {
	Port     uint16
	Interval time.Duration
}

func peering(it item) Peering {
	o := it.object([]string{"port", "interval"}, nil)
	if !it.present() {
		return Peering{}
	}
	return Peering{
		Port:     uint16(o.get("port").integer(peers.DefaultPort, 1, 65535)),
		Interval: o.get("interval").duration(peers.DefaultInterval, 50*time.Millisecond, time.Minute),
	}
}

// needPeers reports a bridge that could lead nowhere, and peers that nobody could reach.
func needPeers(bridged, peers item, c bridge.Config) {
	switch {
	case c.Mode == bridge.Off && peers.present():
		peers.bad("are reached through the bridge, which is off: add bridge: {uplinks: [...], source: ...}, or remove peers")
	case c.Mode != bridge.Off && len(c.Peers) == 0 && !peers.present():
		bridged.bad("leads nowhere: add peers: [{name: ..., site: ..., source: ...}], or remove bridge")
	case c.Mode == bridge.SRv6:
		segments := c.SID.IsValid() || c.SID4.IsValid()
		if !segments {
			bridged.bad("mode srv6 needs sid or sid4: the segments at which this host receives")
		}
	}
}

// A BFD is how one neighbor is watched.
type BFD struct {
	bfd.Config
	Strict bool // BGP waits until BFD is up
}

// bfdConfig reads how a neighbor is watched; multihop is its hop limit, 0 for a direct one.
func bfdConfig(it item, neighbor netip.Addr, multihop uint8, ttlSecurity bool) *BFD {
	o := it.object([]string{"interval", "multiplier", "strict"}, nil)
	if !it.present() || !neighbor.IsValid() {
		return nil
	}
	// Of multihop neighbors any hop limit counts: BIRD sends with 64.
	c := bfd.Config{
		Peer: neighbor, Multihop: multihop > 0, Either: ttlSecurity,
		Interval:   o.get("interval").duration(50*time.Millisecond, time.Millisecond, time.Minute),
		Multiplier: uint8(o.get("multiplier").integer(3, 1, 255)),
	}
	return &BFD{Config: c, Strict: o.get("strict").boolean(false)}
}

// guard reads what bounds the failures of a service.
func guard(it item) announce.Guard {
	o := it.object([]string{"fail", "withdrawals", "per", "hold_down"}, nil)
	var g announce.Guard
	if !it.present() {
		return g
	}
	if o.get("fail").choice("open", []string{"open", "closed"}, nil) == "closed" {
		g.Fail = announce.Closed
	}
	g.Withdrawals = int(o.get("withdrawals").integer(0, 1, 1_000_000))
	g.Per = o.get("per").duration(0, time.Second, 7*24*time.Hour)
	h := o.get("hold_down").object([]string{"base", "max"}, nil)
	g.HoldDown.Base = h.get("base").duration(0, 0, time.Hour)
	if h.has("base") && g.HoldDown.Base == 0 {
		g.HoldDown.Base = -1
	}
	g.HoldDown.Max = h.get("max").duration(0, time.Second, 24*time.Hour)
	if h.has("max") && g.HoldDown.Base > g.HoldDown.Max && g.HoldDown.Max > 0 {
		h.get("max").bad("%s is shorter than base, %s", span(g.HoldDown.Max), span(g.HoldDown.Base))
	}
	return g
}

// guards reads what bounds the failures of all services together.
func guards(it item) announce.Guards {
	o := it.object([]string{"brake"}, nil)
	b := o.get("brake").object([]string{"services", "window"}, nil)
	var g announce.Guards
	if b.has("services") {
		g.Brake = brakeServices(b.get("services"))
	}
	g.Brake.Window = b.get("window").duration(0, 100*time.Millisecond, time.Hour)
	return g
}

// brakeServices reads a number of services, a share of them such as 50%, or off.
func brakeServices(it item) announce.Brake {
	const what = "a number of services, a share of them such as 50%, or off"
	text, ok := it.text(what)
	if !ok {
		return announce.Brake{}
	}
	if text == "off" {
		return announce.Brake{Services: -1}
	}
	if share, is := strings.CutSuffix(text, "%"); is {
		if n, err := strconv.Atoi(share); err == nil && n >= 1 && n <= 100 {
			return announce.Brake{Share: float64(n) / 100}
		}
	} else if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= 1_000_000 {
		return announce.Brake{Services: n}
	}
	it.bad("must be %s, not %q", what, text)
	return announce.Brake{}
}

// bridged returns the addresses of all VIPs, each once.
func bridged(services []Service) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range services {
		for _, v := range s.Announce.VIPs {
			if v.Address.IsValid() && !slices.Contains(all, v.Address) {
				all = append(all, v.Address)
			}
		}
	}
	return all
}
