package config

import (
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bridge"
)

// ParseAgent reads edgeagent's file; name stands in errors. All that it reads beside r are the password_file of the
// neighbors and the ca_file of checks, relative to the directory of name; the content of a password is in no error.
func ParseAgent(name string, r io.Reader) (Agent, error) {
	return parse(name, r, agent)
}

func agent(root item) Agent {
	o := root.object([]string{"site", "name", "bgp", "vip", "bridge", "peers", "peering", "services", "kubernetes", "guards", "api", "journal", "metrics"}, nil)
	speaker := o.need("bgp", "the BGP speaker: {asn: ..., neighbors: [...]}")
	a := Agent{
		Site:    o.need("site", "the name of this site, such as mec-1").label("a name"),
		VIP:     vipConfig(o.get("vip")),
		Journal: o.get("journal").object([]string{"file"}, nil).need("file", "the path of the journal").str("a path"),
		Metrics: metricsListen(o.get("metrics")),
	}
	a.Name = a.Site
	if o.has("name") {
		a.Name = o.get("name").label("a name")
	}
	a.BGP, a.BFD = speakerConfig(speaker)
	a.Bridge, a.Times = bridgeConfig(o.get("bridge"))
	peerList(o.get("peers"), a.Name, &a.Bridge)
	needPeers(o.get("bridge"), o.get("peers"), a.Bridge)
	a.Peering = peering(o.get("peering"))
	a.Guards = guards(o.get("guards"))
	a.API = api(o.get("api"), a.Journal)
	a.Kubernetes = agentKubernetes(o.get("kubernetes"), a.BGP.Neighbors)
	a.Services = services(needServices(o, a.Kubernetes, a.Bridge), a.BGP.Neighbors)
	a.BGP.Allowed, a.BGP.Pools = allowed(a.Services), a.Kubernetes.poolPrefixes()
	if a.Bridge.Mode != bridge.Off {
		a.Bridge.VIPs = bridged(a.Services)
	}
	return a
}

func vipConfig(it item) VIP {
	o := it.object([]string{"manage", "interface"}, nil)
	v := VIP{Manage: o.get("manage").boolean(true), Interface: "lo"}
	if o.has("interface") {
		v.Interface = o.get("interface").ifname()
	}
	return v
}

// api keeps the drains beside the journal unless told where.
func api(it item, journal string) API {
	o := it.object([]string{"socket", "drains"}, nil)
	a := API{Socket: o.need("socket", "the path of the socket, such as /run/anyedge/agent.sock").absolute()}
	switch {
	case o.has("drains") || o.present() && journal == "":
		a.Drains = o.need("drains", "the path of a file that keeps the drains by request, or have a journal: they are kept beside it").absolute()
	case a.Socket != "":
		a.Drains = journal + ".drains"
	}
	return a
}

// absolute reads a path that means the same from everywhere.
func (it item) absolute() string {
	path := it.str("a path")
	if path != "" && !filepath.IsAbs(path) {
		it.bad("must be an absolute path, not %q", path)
	}
	return path
}

func metricsListen(it item) netip.AddrPort {
	return it.object([]string{"listen"}, nil).need("listen", "ADDRESS:PORT").socket(listenForm)
}

func speakerConfig(it item) (bgp.Config, []BFD) {
	o := it.object([]string{"asn", "router_id", "listen_port", "hold_time", "neighbors"}, nil)
	c := bgp.Config{
		ASN:        o.need("asn", "the AS number of this host").asn(),
		RouterID:   o.get("router_id").routerID(),
		ListenPort: listenPort(o.get("listen_port")),
		HoldTime:   o.get("hold_time").holdTime(),
	}
	var watched []BFD
	c.Neighbors, watched = neighbors(o.need("neighbors", "the rack's routers: [{address: ..., asn: ...}]"))
	return c, watched
}

func listenPort(it item) int {
	port := it.integer(-1, -1, 65535)
	if port == 0 {
		it.bad("must be -1 to dial only, or a port from 1 to 65535, not 0")
	}
	return int(port)
}

func neighbors(list item) (all []bgp.Neighbor, watched []BFD) {
	seen := make(places[netip.Addr])
	for _, it := range list.list("neighbor") {
		o := it.object([]string{"address", "asn", "password_file", "ttl_security", "multihop", "bfd"}, nil)
		n := bgp.Neighbor{
			Address:     o.need("address", "the router's address").addr("an IP address, such as fd00:1::1"),
			ASN:         o.need("asn", "the router's AS number").asn(),
			Password:    password(o.get("password_file")),
			TTLSecurity: o.get("ttl_security").boolean(false),
			Multihop:    uint8(o.get("multihop").integer(0, 2, 255)),
		}
		if n.TTLSecurity && n.Multihop > 0 {
			o.get("multihop").bad("does not go with ttl_security, which lets only direct neighbors in: remove one of them")
		}
		if b := bfdConfig(o.get("bfd"), n.Address, n.Multihop, n.TTLSecurity); b != nil {
			watched = append(watched, *b)
		}
		seen.once(o.get("address"), n.Address)
		all = append(all, n)
	}
	return all, watched
}

// allowed returns what the services announce, each prefix once.
func allowed(services []Service) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, s := range services {
		for _, v := range s.Announce.VIPs {
			if !slices.Contains(prefixes, v.Announce) {
				prefixes = append(prefixes, v.Announce)
			}
		}
	}
	return prefixes
}

func services(list item, neighbors []bgp.Neighbor) []Service {
	var all []Service
	names := make(places[string])
	rules := newVIPRules(neighbors)
	for _, it := range list.list("service") {
		o := it.object([]string{"name", "vips", "require", "checks", "settle", "drain", "guard"}, nil)
		s := Service{Announce: announce.Service{
			Name:   o.need("name", "the service's name").label("a name"),
			VIPs:   vips(o.need("vips", `its addresses, such as ["2001:db8:53::53/128"]`), rules),
			Settle: o.get("settle").duration(2*time.Second, 0, time.Hour),
		}}
		s.Announce.Drain, s.Announce.File = drain(o.get("drain"))
		s.Announce.Guard = guard(o.get("guard"))
		names.once(o.get("name"), s.Announce.Name)
		s.Health.Name = s.Announce.Name
		s.Health.Checks = checks(o.need("checks", "at least one check: [{name: ..., type: tcp, target: ...}]"))
		s.Health.Require = require(o.get("require"), s.Health.Checks)
		all = append(all, s)
	}
	return all
}

func drain(it item) (wait time.Duration, file string) {
	o := it.object([]string{"wait", "file"}, nil)
	wait = o.get("wait").duration(time.Second, 0, time.Hour)
	if o.has("file") {
		file = o.get("file").absolute()
	}
	return wait, file
}
