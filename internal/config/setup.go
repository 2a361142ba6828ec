package config

import (
	"io"
	"net/netip"
	"strings"

	"github.com/anyedge/anyedge/pkg/bgp/router"
	"github.com/anyedge/anyedge/pkg/lab"
	"github.com/anyedge/anyedge/pkg/session"
)

// ParseSetup reads the file of `edgelab node` and `edgelab router`; name stands in errors.
func ParseSetup(name string, r io.Reader) (lab.Setup, error) {
	return parse(name, r, setup)
}

func setup(root item) lab.Setup {
	o := root.object([]string{"interfaces", "routes", "sysctls", "router"}, nil)
	s := lab.Setup{Interfaces: interfaces(o.get("interfaces"))}
	s.Routes = routes(o.get("routes"), s.Interfaces)
	s.Sysctls = sysctls(o.get("sysctls"))
	if o.has("router") {
		s.Router, s.BFD = routerConfig(o.get("router"), s.Interfaces)
	}
	return s
}

func interfaces(list item) []lab.Interface {
	var all []lab.Interface
	names, addresses := make(places[string]), make(places[netip.Addr])
	for _, it := range list.list("") {
		o := it.object([]string{"name", "addresses"}, nil)
		i := lab.Interface{Name: o.need("name", "the interface's name, such as eth1").ifname()}
		names.once(o.get("name"), i.Name)
		for _, a := range o.get("addresses").list("") {
			p := a.hostPrefix("an address with its length, such as 2001:db8::1/64")
			addresses.once(a, p.Addr())
			i.Addresses = append(i.Addresses, p)
		}
		all = append(all, i)
	}
	return all
}

// ifname reads a Linux interface name.
func (it item) ifname() string {
	name := it.str("an interface name")
	if name != "" && !isIfname(name) {
		it.bad("must be an interface name of at most 15 letters, digits, dots, hyphens and underscores, not %q", name)
		return ""
	}
	return name
}

// isIfname is stricter than the kernel, which also takes what no tool can print.
func isIfname(s string) bool {
	return len(s) <= 15 && alphanumeric(s[0]) && only(s, "-._")
}

func routes(list item, links []lab.Interface) []lab.Route {
	var all []lab.Route
	seen := make(places[netip.Prefix])
	for _, it := range list.list("") {
		o := it.object([]string{"to", "via"}, nil)
		r := lab.Route{
			To:  o.need("to", `where to, such as "::/0"`).network(`a prefix, such as "::/0"`),
			Via: o.need("via", "the next hop's address").routed("an IP address, such as 2001:db8::1"),
		}
		seen.once(o.get("to"), r.To)
		if r.To.IsValid() && r.To.Addr().Is6() && r.Via.Is4() {
			o.get("via").bad("an IPv6 route cannot go via IPv4 address %s: write an IPv6 next hop", r.Via)
		}
		onLink(o.get("via"), r.Via, links)
		all = append(all, r)
	}
	return all
}

// onLink reports an address that is behind none of the interfaces. A file without interfaces joins a network that another one sets up.
func onLink(it item, a netip.Addr, links []lab.Interface) {
	if !a.IsValid() || a.Zone() != "" || len(links) == 0 {
		return
	}
	for _, i := range links {
		for _, p := range i.Addresses {
			if !p.IsValid() {
				return // reported; who knows what it should have been
			}
			if p.Addr() == a {
				it.bad("%s is this node's own address: write the neighbor's", a)
				return
			}
			if p.Contains(a) {
				return
			}
		}
	}
	it.bad("%s is on no link: no interface has an address in its network", a)
}

func sysctls(it item) []lab.Sysctl {
	var all []lab.Sysctl
	for _, p := range it.pairs() {
		if !isNetSysctl(p.name) {
			p.key.bad("must be a key below net., such as net.ipv6.conf.all.forwarding")
		}
		text, ok := p.value.text("a number or a word")
		if ok && (text == "" || !only(text, " \t.,:+-_")) {
			p.value.bad("must be a number or a word, not %q", text)
		}
		all = append(all, lab.Sysctl{Key: p.name, Value: text})
	}
	return all
}

// isNetSysctl keeps a file away from what is not its namespace's own, and from paths: the key becomes one.
func isNetSysctl(key string) bool {
	rest, net := strings.CutPrefix(key, "net.")
	for _, step := range strings.Split(rest, ".") {
		if step == "" || !only(step, "-_") {
			return false
		}
	}
	return net
}

func routerConfig(it item, links []lab.Interface) (*router.Config, []session.Neighbor) {
	o := it.object([]string{"asn", "id", "hold_time", "neighbors", "prefixes"}, nil)
	c := &router.Config{
		ASN:      o.need("asn", "the AS number").asn(),
		RouterID: o.need("id", "the router's id, such as 10.0.0.1").routerID(),
		HoldTime: o.get("hold_time").holdTime(),
	}
	seen := make(places[netip.Addr])
	var watched []session.Neighbor
	for _, n := range o.need("neighbors", "its neighbors: [{address: ..., asn: ...}]").list("neighbor") {
		neighbor, bfd := routerNeighbor(n, c.ASN, links)
		if bfd != nil {
			// A lab's router stands for one of another maker, which lets a neighbor back however often it flapped.
			watched = append(watched, session.Neighbor{Config: bfd.Config, Strict: bfd.Strict, Undamped: true})
		}
		seen.once(n, neighbor.Address)
		c.Neighbors = append(c.Neighbors, neighbor)
	}
	originated := make(places[netip.Prefix])
	for _, p := range o.get("prefixes").list("") {
		prefix := p.network("a prefix, such as 2001:db8:53::/48")
		originated.once(p, prefix)
		c.Prefixes = append(c.Prefixes, prefix)
	}
	return c, watched
}

func routerNeighbor(it item, own uint32, links []lab.Interface) (router.Neighbor, *BFD) {
	o := it.object([]string{"address", "asn", "password_file", "ttl_security", "bfd"}, nil)
	n := router.Neighbor{
		Address:     o.need("address", "the neighbor's address").addr("an IP address, such as 2001:db8::1"),
		ASN:         o.need("asn", "the neighbor's AS number").asn(),
		Password:    password(o.get("password_file")),
		TTLSecurity: o.get("ttl_security").boolean(false),
	}
	if n.ASN != 0 && n.ASN == own {
		o.get("asn").bad("%d is the router's own: lab routers speak eBGP only", n.ASN)
	}
	onLink(o.get("address"), n.Address, links)
	return n, bfdConfig(o.get("bfd"), n.Address, 0, n.TTLSecurity)
}
