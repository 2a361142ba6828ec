package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/anyedge/anyedge/pkg/dnsserver"
)

const (
	zoneTTL    = 5 * time.Second
	minZoneTTL = time.Second
	maxZoneTTL = time.Hour
)

// zones are the zones of the file and what the names below them have to respect.
type zones struct {
	all   []dnsserver.Zone
	at    []item // where each one's name stands
	taken places[string]
	acls  []zoneACL
}

// zoneACL is the acl item of a zone.
type zoneACL struct {
	name string
	item item
}

func newZones(list item) zones {
	z := zones{taken: make(places[string])}
	seen := make(places[string])
	var servers []item
	for _, it := range list.list("zone") {
		o := it.object([]string{"name", "ttl", "min_ttl", "ns", "acl"}, nil)
		zone := dnsserver.Zone{
			Name: o.need("name", "the zone, such as edge.example.").domain("a name, such as edge.example."),
			TTL:  o.get("ttl").seconds(zoneTTL, minZoneTTL, maxZoneTTL),
		}
		zone.MinTTL = o.get("min_ttl").seconds(minZoneTTL, minZoneTTL, zone.TTL)
		seen.once(o.get("name"), zone.Name)
		if o.has("acl") {
			z.acls = append(z.acls, zoneACL{zone.Name, o.get("acl")})
		}
		z.all, z.at = append(z.all, zone), append(z.at, o.get("name"))
		servers = append(servers, o.need("ns", "its name servers: [{name: ..., addresses: [...]}]"))
	}
	for i := range z.all {
		z.all[i].NS = z.servers(servers[i], z.all[i].Name)
		z.checkHealth(i)
	}
	return z
}

// closest returns the zone of the file that name lies in; empty when there is none.
func (z zones) closest(name string) string {
	var best string
	for _, zone := range z.all {
		if zone.Name != "" && within(name, zone.Name) && len(zone.Name) > len(best) {
			best = zone.Name
		}
	}
	return best
}

// servers reads a zone's name servers. It needs all zones' names first.
func (z zones) servers(list item, zone string) []dnsserver.NS {
	var all []dnsserver.NS
	seen := make(places[string])
	for _, it := range list.list("name server") {
		o := it.object([]string{"name", "addresses"}, nil)
		ns := dnsserver.NS{Name: o.need("name", "its name, such as ns.edge.example.").domain("a name, such as ns.edge.example.")}
		seen.once(o.get("name"), ns.Name)
		ns.Addresses = glue(o.get("addresses"))
		if ns.Name != "" && zone != "" {
			z.checkServer(o, ns.Name, zone)
		}
		all = append(all, ns)
	}
	return all
}

func glue(list item) []netip.Addr {
	var all []netip.Addr
	seen := make(places[netip.Addr])
	for _, it := range list.list("address") {
		a := it.routed("an IP address, such as 2001:db8:53::53")
		seen.once(it, a)
		all = append(all, a)
	}
	return all
}

// checkServer reports a name server that the zone could not be reached by.
func (z zones) checkServer(o object, name, zone string) {
	at, closest := o.get("name"), z.closest(name)
	switch {
	case !within(name, zone):
		o.get("addresses").bad("%s lies outside %s, which cannot give its addresses: remove them", name, zone)
		return
	case name == zone:
		at.bad("%s is the zone itself: give the name server a name of its own, such as ns.%s", name, zone)
	case name == "health."+zone:
		at.bad("%s is what checks ask for: give the name server another name", name)
	case strings.HasPrefix(name, "_explain."):
		at.bad("_explain is kept for what tells of a service: give the name server another name")
	case closest != zone:
		at.bad("%s lies in zone %s of this file: name it there, or use a name of %s alone", name, closest, zone)
	case !o.has("addresses"):
		at.bad("%s lies inside %s: add its addresses", name, zone)
	}
	z.taken[name] = at
}

// checkHealth reports a zone that would hide the health name of another.
func (z zones) checkHealth(i int) {
	for _, other := range z.all {
		if z.all[i].Name == "health."+other.Name {
			z.at[i].bad("%s is the name that checks of zone %s ask for: name the zone otherwise", z.all[i].Name, other.Name)
		}
	}
}

// known tells whether every zone's name could be read.
func (z zones) known() bool {
	return len(z.all) > 0 && !slices.ContainsFunc(z.all, func(zone dnsserver.Zone) bool { return zone.Name == "" })
}

// place reports a service whose name is in no zone or has another meaning there.
func (z zones) place(it item, name string) {
	if name == "" || !z.known() {
		return
	}
	zone := z.closest(name)
	switch ns, taken := z.taken[name]; {
	case zone == "":
		it.bad("%s lies in none of the zones: add its zone, or rename it", name)
	case name == zone:
		it.bad("%s is the zone itself: a service needs a name below it", name)
	case name == "health."+zone:
		it.bad("%s is the name that checks ask for: rename the service", name)
	case strings.HasPrefix(name, "_explain."):
		it.bad("_explain is kept for what tells of a service: rename it")
	case taken:
		it.bad("%s is a name server, %s on line %d: rename the service", name, ns.path, ns.line())
	}
}
