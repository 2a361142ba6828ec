package config

import (
	"net/netip"

	"github.com/anyedge/anyedge/pkg/dnsserver"
)

// Admin tells where edgedns takes orders, and where it keeps them.
type Admin struct {
	Socket string // path; empty: none
	Drains string // path; empty: drains end with the program
}

// The query log's defaults keep a busy server's disk quiet.
const (
	querySample = 1000
	queryErrors = 10
)

func admin(it item) Admin {
	o := it.object([]string{"socket", "drains"}, nil)
	return Admin{
		Socket: o.need("socket", "the path of the socket, such as /run/anyedge/dns.sock").absolute(),
		Drains: o.get("drains").absolute(),
	}
}

func queryLog(it item) dnsserver.QueryPolicy {
	o := it.object([]string{"file", "sample", "errors", "ipv6_bits", "ipv4_bits"}, nil)
	if !it.present() {
		return dnsserver.QueryPolicy{}
	}
	return dnsserver.QueryPolicy{
		File:   o.get("file").absolute(),
		Sample: int(o.get("sample").integer(querySample, 0, 1e9)),
		Errors: int(o.get("errors").integer(queryErrors, 0, 1e6)),
		Bits6:  int(o.get("ipv6_bits").integer(128, 0, 128)),
		Bits4:  int(o.get("ipv4_bits").integer(32, 0, 32)),
	}
}

// access reads who may ask and what they see; zoneACLs are the acl items of the zones, by name. nil: everybody sees all.
func access(root object, zones zones, services []DNSService) *dnsserver.Access {
	if !root.has("acl") && !root.has("views") && !root.has("explain") && len(zones.acls) == 0 {
		return nil
	}
	a := &dnsserver.Access{ACL: acl(root.get("acl"))}
	for _, z := range zones.acls {
		if a.Zones == nil {
			a.Zones = make(map[string]dnsserver.ACL)
		}
		a.Zones[z.name] = acl(z.item)
	}
	if root.has("views") {
		a.Views = views(root.get("views"), zones, services, root.has("kubernetes"))
	}
	if root.has("explain") {
		o := root.get("explain").object([]string{"allow"}, nil)
		a.Explain = clients(o.need("allow", `who is told why, such as ["2001:db8:1::/48"]`), "prefix", make(places[netip.Prefix]))
	}
	return a
}

func acl(it item) dnsserver.ACL {
	o := it.object([]string{"allow", "deny"}, nil)
	if o.present() && !o.has("allow") && !o.has("deny") {
		o.bad("needs allow or deny: lists of prefixes")
	}
	seen := make(places[netip.Prefix])
	return dnsserver.ACL{Allow: clients(o.get("allow"), "prefix", seen), Deny: clients(o.get("deny"), "prefix", seen)}
}

// clients reads prefixes, each once among those seen.
func clients(list item, what string, seen places[netip.Prefix]) []netip.Prefix {
	var all []netip.Prefix
	for _, it := range list.list(what) {
		p := it.network("a prefix, such as 2001:db8:1::/48")
		seen.once(it, p)
		all = append(all, p)
	}
	return all
}

// views reads who sees what. With a cluster, whose names are not known here, a view may name any that lies in a zone.
func views(list item, zones zones, services []DNSService, cluster bool) []dnsserver.View {
	var all []dnsserver.View
	names, taken := make(places[string]), make(places[netip.Prefix])
	for _, it := range list.list("view") {
		o := it.object([]string{"name", "clients", "namespace", "services", "endpoints", "instead"}, nil)
		v := dnsserver.View{
			Name:      o.need("name", "a name for metrics and logs, such as inside").label("a name"),
			Clients:   clients(o.need("clients", `whose view it is, such as ["2001:db8:1::/48"]`), "prefix", taken),
			Namespace: o.get("namespace").label("a namespace"),
		}
		if o.has("namespace") && !cluster {
			o.get("namespace").bad("does nothing without kubernetes: remove it")
		}
		names.once(o.get("name"), v.Name)
		if o.has("services") {
			v.Services = seen(o.get("services"), zones)
		}
		if o.has("endpoints") {
			v.Endpoints = append([]netip.Prefix{}, clients(o.get("endpoints"), "", make(places[netip.Prefix]))...)
		}
		v.Instead = instead(o.get("instead"), zones, services, cluster)
		all = append(all, v)
	}
	return all
}

// seen reads the names that a view has, each with all below it. An empty list is none of them.
func seen(list item, zones zones) []string {
	all, once := []string{}, make(places[string])
	for _, it := range list.list("") {
		name := it.domain("a name, such as api.edge.example.")
		once.once(it, name)
		if name != "" && zones.known() && zones.closest(name) == "" {
			it.bad("%s lies in none of the zones: add its zone, or remove it", name)
		}
		all = append(all, name)
	}
	return all
}

// instead reads what a view shows in place of endpoints. A name that is misspelt would show them.
func instead(list item, zones zones, services []DNSService, cluster bool) map[string][]netip.Addr {
	if !list.present() {
		return nil
	}
	all, once := make(map[string][]netip.Addr), make(places[string])
	for _, it := range list.list("service") {
		o := it.object([]string{"service", "addresses"}, nil)
		at := o.need("service", "whose endpoints are not shown, such as api.edge.example.")
		name := at.domain("a name, such as api.edge.example.")
		once.once(at, name)
		switch {
		case name == "" || isService(services, name):
		case !cluster:
			at.bad("%s is none of the services: a view names what is there", name)
		case zones.known() && zones.closest(name) == "":
			at.bad("%s lies in none of the zones: add its zone, or remove it", name)
		}
		all[name] = glue(o.need("addresses", `what is shown, such as ["2001:db8:53::80"]`))
	}
	return all
}

func isService(services []DNSService, name string) bool {
	for _, s := range services {
		if s.Name == name {
			return true
		}
	}
	return len(services) == 0 // which was reported
}
