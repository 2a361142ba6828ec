package config

import (
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bgp"
)

const vipForm = "an address with its length, such as 2001:db8:53::53/128"

// vipRules holds what the VIPs of all services have to agree on.
type vipRules struct {
	neighbors []bgp.Neighbor
	ipv4Only  bool                    // no session can carry IPv6
	addresses places[netip.Addr]      // a VIP belongs to one service
	when      map[netip.Prefix]whenAt // of an announced prefix
}

type whenAt struct {
	when announce.When
	at   item
}

func newVIPRules(neighbors []bgp.Neighbor) vipRules {
	return vipRules{
		neighbors: neighbors,
		ipv4Only:  len(neighbors) > 0 && !slices.ContainsFunc(neighbors, func(n bgp.Neighbor) bool { return !n.Address.Is4() }),
		addresses: make(places[netip.Addr]),
		when:      make(map[netip.Prefix]whenAt),
	}
}

func vips(list item, rules vipRules) []announce.VIP {
	var all []announce.VIP
	for _, it := range list.list("VIP") {
		v := vip(it, rules)
		if v.Announce.IsValid() {
			all = append(all, v)
		}
	}
	return all
}

// vip reads "ADDRESS/128", or {address, announce, when}.
func vip(it item, rules vipRules) announce.VIP {
	if !it.present() || it.node.Kind != yaml.MappingNode {
		address := vipAddress(it, rules)
		rules.carry(it, address)
		return announce.VIP{Address: address, Announce: address}
	}
	o := it.object([]string{"address", "announce", "when"}, nil)
	address := vipAddress(o.need("address", vipForm), rules)
	if !o.has("announce") {
		o.get("when").bad("does nothing without announce: add announce, or remove when")
		rules.carry(o.get("address"), address)
		return announce.VIP{Address: address, Announce: address}
	}
	v := announce.VIP{Address: address, Announce: announced(o.get("announce"), address), When: announce.Any}
	if o.get("when").choice("any", []string{"any", "all"}, nil) == "all" {
		v.When = announce.All
	}
	rules.carry(o.get("announce"), v.Announce)
	rules.agree(o, v)
	return v
}

func vipAddress(it item, rules vipRules) netip.Prefix {
	if text, ok := it.scalar(); ok {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			it.bad("%s has no length: write %s", a, netip.PrefixFrom(a, a.BitLen()))
			return netip.Prefix{}
		}
	}
	p := it.prefix(vipForm)
	switch a := p.Addr(); {
	case !p.IsValid():
		return p
	case !p.IsSingleIP():
		it.bad("%s is not one address: a VIP is a /128 or a /32; a covering prefix goes into {address: ..., announce: %s}", p, p.Masked())
	case a.IsLoopback():
		it.bad("%s is a loopback address: no router would take it", a)
	case a.IsLinkLocalUnicast():
		it.bad("%s is link-local: a VIP must be routed", a)
	case notHost(a) != "":
		it.bad("%s %s", a, notHost(a))
	default:
		rules.own(it, a)
		return p
	}
	return netip.Prefix{}
}

// own reports an address that someone has already.
func (r vipRules) own(it item, a netip.Addr) {
	if slices.ContainsFunc(r.neighbors, func(n bgp.Neighbor) bool { return n.Address == a }) {
		it.bad("%s is the address of a neighbor: a VIP is the service's own", a)
	}
	if first, ok := r.addresses[a]; ok {
		it.bad("%s is a VIP already, %s on line %d: a VIP belongs to one service", a, first.path, first.line())
		return
	}
	r.addresses[a] = it
}

// announced reads the prefix that announces a VIP.
func announced(it item, address netip.Prefix) netip.Prefix {
	p := it.network("a prefix, such as 2001:db8:53::/48")
	switch {
	case !p.IsValid():
		return p
	case p.Bits() == 0:
		it.bad("%s would draw all traffic: announce the service's own prefix", p)
	case address.IsValid() && !p.Contains(address.Addr()):
		it.bad("%s does not cover %s", p, address.Addr())
	default:
		return p
	}
	return netip.Prefix{}
}

// carry reports a prefix that no session can carry. IPv4 goes over an IPv6 session where both ends agree at run time
// (RFC 8950); there is no such way for IPv6 over IPv4.
func (r vipRules) carry(it item, p netip.Prefix) {
	if p.IsValid() && p.Addr().Is6() && r.ipv4Only {
		it.bad("no session can carry %s: all neighbors are IPv4; add a neighbor with an IPv6 address, or remove this VIP", p)
	}
}

// agree reports VIPs that share an announced prefix and differ in when.
func (r vipRules) agree(o object, v announce.VIP) {
	first, ok := r.when[v.Announce]
	switch {
	case !v.Announce.IsValid():
	case !ok:
		r.when[v.Announce] = whenAt{v.When, o.get("announce")}
	case first.when != v.When:
		o.get("announce").bad("%s has another when on line %d: VIPs that share a prefix need the same", v.Announce, first.at.line())
	}
}
