package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anyedge/anyedge/pkg/steering"
)

// What steers the answers of a service beyond its endpoints' addresses.

// steerKeys and placeKeys are the keys of a service and of an endpoint that this file reads.
var (
	steerKeys = []string{"panic", "slow_start", "semantic"}
	placeKeys = []string{"instance", "drain", "node", "zone", "distance"}
)

const maxSlowStart = time.Hour

// policies are the policies by their names; the first is the default.
var policies = []steering.Policy{steering.RoundRobin, steering.Capacity, steering.Closest, steering.ClosestCapacity, steering.Hash}

func policy(it item) steering.Policy {
	var names []string
	for _, p := range policies {
		names = append(names, p.String())
	}
	return policies[slices.Index(names, it.choice(names[0], names, nil))]
}

// steer reads the keys of steerKeys into s.
func steer(o object, s *steering.Service) {
	s.Panic = panicRule(o.get("panic"))
	s.SlowStart = o.get("slow_start").duration(steering.DefaultSlowStart, 0, maxSlowStart)
	s.Semantic = semantic(o.get("semantic"))
}

func panicRule(it item) steering.Panic {
	o := it.object([]string{"below", "mode", "fallback"}, nil)
	p := steering.Panic{Below: o.get("below").number(steering.DefaultPanicBelow, 0, 1)}
	switch o.get("mode").choice("all", []string{"all", "none", "other"}, nil) {
	case "none":
		p.Mode = steering.PanicNone
	case "other":
		p.Mode = steering.PanicOther
		o.need("fallback", `the addresses of another site: ["2001:db8:2::10"]`)
	}
	if o.has("fallback") && p.Mode != steering.PanicOther {
		o.get("fallback").bad("is not used: add mode: other, or remove it")
	}
	seen := make(places[netip.Addr])
	for _, at := range o.get("fallback").list("address") {
		a := at.routed("an IP address, such as 2001:db8:2::10")
		seen.once(at, a)
		p.Fallback = append(p.Fallback, a)
	}
	return p
}

func semantic(it item) steering.Semantic {
	if !it.present() {
		return steering.Semantic{}
	}
	o := it.object([]string{"app", "app_ns", "service", "service_ns"}, nil)
	part := func(key, what string) string { return o.need(key, what).nameLabel() }
	return steering.Semantic{
		App: part("app", "the name of the application"), AppNS: part("app_ns", "the namespace of the application"),
		Service: part("service", "the name of the service"), ServiceNS: part("service_ns", "the namespace of the service"),
	}
}

// nameLabel reads one label of a name, without a dot.
func (it item) nameLabel() string {
	text := it.str("a label of a name, such as shop")
	if text == "" {
		return ""
	}
	if why := badLabel(text); why != "" || strings.Contains(text, ".") {
		it.bad("must be a label of a name: at most 63 letters, digits, inner hyphens and underscores, not %q", text)
		return ""
	}
	return strings.ToLower(text)
}

// nodeName reads what a machine is called in its cluster: perhaps with dots.
func (it item) nodeName() string {
	text := it.str("the name of a node, such as edge-1")
	if text == "" {
		return ""
	}
	for label := range strings.SplitSeq(text, ".") {
		if why := badLabel(label); why != "" || len(text) > 253 {
			it.bad("must be the name of a node: labels of at most 63 letters, digits, inner hyphens and underscores, with dots between them, not %q", text)
			return ""
		}
	}
	return strings.ToLower(text)
}

// place reads the keys of placeKeys into e; node is that of the server, as a label.
func place(o object, node string, e *steering.Endpoint) {
	if o.has("instance") {
		e.Instance = strconv.FormatInt(o.get("instance").integer(0, 0, 1e9), 10)
	}
	e.Draining = o.get("drain").boolean(false)
	e.Node, e.Zone = o.get("node").nameLabel(), o.get("zone").nameLabel()
	e.Near = node != "" && e.Node == node
	e.Distance = distance(o)
	switch {
	case e.Near && byCheck(o):
		e.Distance = 0 // it is known: one file may be that of many nodes
	case e.Near && o.has("distance"):
		o.get("distance").bad("is of an endpoint on node %s, where this server is: remove it", node)
	}
}

// byCheck tells that the check of an endpoint is to measure its distance.
func byCheck(endpoint object) bool {
	text, _ := endpoint.get("distance").scalar()
	return text == "check"
}

// distance reads how far an endpoint is.
func distance(endpoint object) time.Duration {
	it := endpoint.get("distance")
	if !byCheck(endpoint) {
		return it.duration(0, 100*time.Microsecond, steering.Farthest)
	}
	if !endpoint.has("check") {
		it.bad("is not measured by anything: add a check of type tcp or icmp, or give the round trip, such as 5ms")
	}
	return steering.Farthest
}

// measures tells that a check measures the distance of its endpoint.
func measures(endpoint object, e steering.Endpoint, kind string) bool {
	if !byCheck(endpoint) {
		return false
	}
	if kind != "tcp" && kind != "icmp" && kind != "" {
		endpoint.get("distance").bad("a check of type %s takes longer than the way does: use type tcp or icmp, or give the round trip, such as 5ms", kind)
	}
	return !e.Near
}

// numbered is what stands for one endpoint alone in names of instances: a pod has an address of each family.
type numbered struct {
	instance string
	v4       bool
}

// String returns for example "3 of IPv6".
func (n numbered) String() string {
	if n.v4 {
		return n.instance + " of IPv4"
	}
	return n.instance + " of IPv6"
}

// meaning is what tells the semantic names of services apart, empty where there are none.
func meaning(s steering.Semantic, zone string) string {
	if !s.Complete() || zone == "" {
		return ""
	}
	return strings.Join([]string{s.App, s.AppNS, s.Service, s.ServiceNS, zone}, ".")
}
