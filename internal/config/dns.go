package config

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

// maxAnswers is how many addresses one answer may hold: 16 AAAA records fit into the 1232 octets of an unfragmented
// UDP answer.
const maxAnswers = 16

// The bounds of a capacity leave room for millicores and for bits a second.
const (
	minCapacity = 0.001
	maxCapacity = 1e12
)

// ParseDNS reads edgedns' file; name stands in errors.
func ParseDNS(name string, r io.Reader) (DNS, error) {
	return parse(name, r, dnsConfig)
}

func dnsConfig(root item) DNS {
	o := root.object([]string{"site", "node", "listen", "zones", "services", "kubernetes", "acl", "views", "explain", "query_log", "admin", "metrics", "cookies", "rate_limit", "tcp"}, []string{"source"})
	zones := newZones(o.need("zones", "what is answered for: [{name: ..., ns: [...]}]"))
	services := o.get("services")
	if !o.has("kubernetes") {
		services = o.need("services", "the names: [{name: ..., endpoints: [...]}]")
	}
	node := o.get("node").nodeName()
	all, names := steered(services, zones, strings.ReplaceAll(node, ".", "-")) // as names with pin and prefer have it
	d := DNS{
		Site:       o.need("site", "the name of this site, such as mec-1").label("a name"),
		Node:       node,
		Listen:     listen(o.need("listen", `where to listen, such as ["[::1]:53"]`)),
		Zones:      zones.all,
		Services:   all,
		Kubernetes: kubernetes(o.get("kubernetes"), zones),
		Queries:    queryLog(o.get("query_log")),
		Admin:      admin(o.get("admin")),
		Metrics:    metricsListen(o.get("metrics")),

		Protection: protection(o),
		TCP:        tcpLimits(o.get("tcp")),
	}
	d.Access = access(o, zones, d.Services)
	if len(root.f.problems) == 0 {
		d.servable(o.get("zones"), names)
	}
	return d
}

// servable reports what the server would refuse: names that are in the way of each other, or too long for what is made of them.
func (d DNS) servable(zones item, names places[string]) {
	c := dnsserver.Content{Zones: d.Zones, Access: d.Access}
	for _, s := range d.Services {
		c.Services = append(c.Services, s.Service)
	}
	err := dnsserver.Check(c)
	if of := new(dnsserver.ServiceError); errors.As(err, &of) {
		names[of.Service].bad("%v", of.Err)
	} else if err != nil {
		zones.bad("%v", err)
	}
}

func listen(list item) []netip.AddrPort {
	var all []netip.AddrPort
	seen := make(places[netip.AddrPort])
	for _, it := range list.list("address") {
		ap := it.socket(serveForm)
		if ap.Port() != 0 {
			seen.once(it, ap)
		}
		all = append(all, ap)
	}
	return all
}

// steered reads the services, and returns where their names stand, too; node is where the server is.
func steered(list item, zones zones, node string) (all []DNSService, names places[string]) {
	names, meanings := make(places[string]), make(places[string])
	for _, it := range list.list("service") {
		o := it.object(append([]string{"name", "policy", "answers", "endpoints", "port_name", "protocol", "alpn", "load"}, steerKeys...), []string{"kubernetes", "ttl"})
		s := DNSService{Service: steering.Service{
			Name:    o.need("name", "the name, such as api.edge.example.").domain("a name, such as api.edge.example."),
			Policy:  policy(o.get("policy")),
			Answers: int(o.get("answers").integer(0, 1, maxAnswers)),
		}}
		names.once(o.get("name"), s.Name)
		zones.place(o.get("name"), s.Name)
		s.PortName, s.Protocol = portName(o)
		s.ALPN = alpn(o.get("alpn"))
		steer(o, &s.Service)
		meanings.once(o.get("semantic"), meaning(s.Semantic, zones.closest(s.Name)))
		var pods []object
		s.Endpoints, s.Checks, pods = endpoints(o.need("endpoints", "the pods: [{address: ..., port: ...}]"), teller(o), node)
		s.Load = load(o, s, pods)
		all = append(all, s)
	}
	return all, names
}

// portName reads what SRV records are asked by: _NAME._PROTOCOL.
func portName(service object) (name, protocol string) {
	if !service.has("port_name") {
		if service.has("protocol") {
			service.get("protocol").bad("is of a port that has no name: add port_name, or remove it")
		}
		return "", ""
	}
	it := service.get("port_name")
	name = it.str("a port's name, such as http")
	if name != "" && !isPortName(name) {
		it.bad("must be a port's name of at most 15 small letters, digits and inner hyphens with a letter among them, such as http, not %q", name)
		name = ""
	}
	return name, service.get("protocol").choice("tcp", []string{"tcp", "udp"}, nil)
}

// isPortName is RFC 6335 section 5.1 in small letters.
func isPortName(s string) bool {
	return len(s) <= 15 && only(s, "-") && strings.ToLower(s) == s && strings.Trim(s, "-") == s &&
		!strings.Contains(s, "--") && strings.ContainsFunc(s, unicode.IsLetter)
}

// endpoints reads the pods of a service, and returns where they are, too; teller names the key because of which clients are told
// their ports, empty: none; node is where the server is.
func endpoints(list item, teller string, node string) (all []steering.Endpoint, checks []EndpointCheck, pods []object) {
	seen, numbers := make(places[netip.Addr]), make(places[numbered])
	for i, it := range list.list("endpoint") {
		o := it.object(append([]string{"address", "port", "capacity", "check", "load"}, placeKeys...), []string{"weight"})
		e := steering.Endpoint{
			Address:  o.need("address", "the pod's own address").routed("an IP address, such as 2001:db8:1::10"),
			Port:     uint16(o.get("port").integer(0, 1, 65535)),
			State:    steering.Up, // nothing says otherwise
			Capacity: o.get("capacity").number(1, minCapacity, maxCapacity),
		}
		e.Capacity = staticLoad(o, e.Capacity)
		if teller != "" {
			o.need("port", "the port that clients are told, since the service has "+teller)
		}
		seen.once(o.get("address"), e.Address)
		place(o, node, &e)
		numbers.once(o.get("instance"), numbered{e.Instance, e.Address.Unmap().Is4()})
		if o.has("check") {
			e.State = steering.Unknown
			c := endpointCheck(o, e)
			e.Holds = max(c.Holds(), steering.Soon)
			checks = append(checks, EndpointCheck{Index: i, Check: c, Measures: measures(o, e, c.Name)})
		}
		all, pods = append(all, e), append(pods, o)
	}
	return all, checks, pods
}

// endpointCheck reads the check of an endpoint; its target is the endpoint itself.
func endpointCheck(endpoint object, e steering.Endpoint) health.Check {
	it := endpoint.get("check")
	o := it.object(endpointKeys(), nil)
	kind := o.need("type", "one of "+strings.Join(endpointTypes(), ", ")).choice("", endpointTypes(), append(laterChecks(), "dns"))
	refuseOthers(o, kind)
	if !endpoint.has("port") && kind != "icmp" && kind != "exec" {
		it.bad("needs the port of the endpoint: add port")
	}
	c := schedule(o)
	c.Name = kind
	c.Checker = checker(destination{o, true, netip.AddrPortFrom(e.Address, e.Port)}, kind)
	return c
}

func endpointTypes() []string { return []string{"tcp", "udp", "http", "https", "icmp", "exec"} }

// endpointKeys are those of a check whose target is known.
func endpointKeys() []string {
	var keys []string
	for _, kind := range endpointTypes() {
		for _, key := range checkKeys(kind) {
			if key != "target" && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}
