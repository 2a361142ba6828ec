package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/steering"
)

func TestParseSteeringBad(t *testing.T) {
	t.Parallel()
	testBad(t, ParseDNS, dnsFile, []badCase{
		{"node with an empty label", "site: mec-1", "site: mec-1\nnode: a..b",
			`2:7: node: must be the name of a node: labels of at most 63 letters, digits, inner hyphens and underscores, with dots between them, not "a..b"`},
		{"min_ttl above ttl", "    ns:", "    ttl: 3s\n    min_ttl: 4s\n    ns:",
			`6:14: zones[0].min_ttl: must be a duration from 1s to 3s, not "4s"`},
		{"panic below too much", "answers: 2", "panic: {below: 1.5}",
			`9:20: services[0].panic.below: must be a number from 0 to 1, not "1.5"`},
		{"panic mode", "answers: 2", "panic: {mode: last-good}",
			`9:19: services[0].panic.mode: must be one of all, none, other, not "last-good"`},
		{"panic without fallback", "answers: 2", "panic: {mode: other}",
			`9:12: services[0].panic.fallback: missing: write the addresses of another site: ["2001:db8:2::10"]`},
		{"panic with empty fallback", "answers: 2", "panic: {mode: other, fallback: []}",
			"9:36: services[0].panic.fallback: needs at least one address"},
		{"fallback of another mode", "answers: 2", "panic: {fallback: [10.0.0.1]}",
			"9:23: services[0].panic.fallback: is not used: add mode: other, or remove it"},
		{"fallback twice", "answers: 2", "panic: {mode: other, fallback: [10.0.0.1, 10.0.0.1]}",
			"9:47: services[0].panic.fallback[1]: duplicate 10.0.0.1: already in services[0].panic.fallback[0] on line 9"},
		{"fallback multicast", "answers: 2", "panic: {mode: other, fallback: [224.0.0.1]}",
			"9:37: services[0].panic.fallback[0]: 224.0.0.1 is a multicast address: write a host's own"},
		{"slow start too long", "answers: 2", "slow_start: 2h",
			`9:17: services[0].slow_start: must be a duration from 0s to 1h, not "2h"`},
		{"semantic without a part", "answers: 2", "semantic: {app: a, app_ns: b, service: c}",
			"9:15: services[0].semantic.service_ns: missing: write the namespace of the service"},
		{"semantic with a dot", "answers: 2", "semantic: {app: a.b, app_ns: b, service: c, service_ns: d}",
			`9:21: services[0].semantic.app: must be a label of a name: at most 63 letters, digits, inner hyphens and underscores, not "a.b"`},
		{"semantic twice", "answers: 2", "semantic: {app: a, app_ns: b, service: c, service_ns: d}\n    endpoints: [{address: 10.0.0.1}]\n  - name: web.edge.example.\n    semantic: {app: A, app_ns: b, service: c, service_ns: d}",
			"12:15: services[1].semantic: duplicate a.b.c.d.edge.example.: already in services[0].semantic on line 9"},
		{"name of instances", "answers: 2", "semantic: {app: a, app_ns: b, service: c, service_ns: d}\n    endpoints: [{address: 10.0.0.1}]\n  - name: none.edge.example.",
			"11:11: services[1].name: none.edge.example. has another meaning already: rename one of the two"},
		{"name that states a policy", "answers: 2", "semantic: {app: a, app_ns: b, service: c, service_ns: d}\n    endpoints: [{address: 10.0.0.1}]\n  - name: a.b.c.d.any.hc.edge.example.",
			"11:11: services[1].name: a.b.c.d.any.hc.edge.example. has another meaning already: rename one of the two"},
		{"name of an endpoint", "answers: 2", "endpoints: [{address: 10.0.0.1}]\n  - name: ip-10-0-0-1.api.edge.example.",
			"7:11: services[0].name: ip-10-0-0-1.api.edge.example. is the name of its endpoint 10.0.0.1: rename one of the two"},
		{"instance negative", "port: 8080", "port: 8080, instance: -1",
			`11:59: services[0].endpoints[0].instance: must be a whole number from 0 to 1000000000, not "-1"`},
		{"instance twice in a family", "port: 8080", "port: 8080, instance: 3}\n      - {address: 10.0.0.1, instance: 3}\n      - {address: '2001:db8::2', instance: 3, port: 80",
			`13:44: services[0].endpoints[2].instance: duplicate 3 of IPv6: already in services[0].endpoints[0].instance on line 11`},
		{"drain no boolean", "port: 8080", "port: 8080, drain: soon",
			`11:56: services[0].endpoints[0].drain: must be true or false, not "soon"`},
		{"distance without unit", "port: 8080", "port: 8080, distance: 5",
			"11:59: services[0].endpoints[0].distance: must be a duration from 100µs to 10s: 5 has no unit, write 5s for seconds"},
		{"distance by no check", "port: 8080, check: {type: tcp}", "port: 8080, distance: check",
			"11:59: services[0].endpoints[0].distance: is not measured by anything: add a check of type tcp or icmp, or give the round trip, such as 5ms"},
		{"distance by the check of an application", "port: 8080, check: {type: tcp}", "port: 8080, distance: check, check: {type: http, path: /}",
			"11:59: services[0].endpoints[0].distance: a check of type http takes longer than the way does: use type tcp or icmp, or give the round trip, such as 5ms"},
	})
	testBad(t, ParseDNS, strings.Replace(dnsFile, "site: mec-1", "site: mec-1\nnode: host-a", 1), []badCase{
		{"distance of what is here", "port: 8080", "port: 8080, node: Host-A, distance: 2ms",
			"12:73: services[0].endpoints[0].distance: is of an endpoint on node host-a, where this server is: remove it"},
	})
}

// A distance that is measured is the farthest until it is.
func TestMeasuredDistance(t *testing.T) {
	t.Parallel()
	s := mustParse(t, ParseDNS, dnsFile, "port: 8080", "port: 8080, distance: check").Services[0]
	if got := s.Endpoints[0].Distance; got != steering.Farthest || !s.Checks[0].Measures {
		t.Errorf("distance %s, measured by the check: %v", got, s.Checks[0].Measures)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	for _, want := range policies {
		if got := mustParse(t, ParseDNS, dnsFile, "policy: rr", "policy: "+want.String()).Services[0].Policy; got != want {
			t.Errorf("%s is read as %s", want, got)
		}
	}
}

// Case does not count in labels.
func TestPlaces(t *testing.T) {
	t.Parallel()
	d := mustParse(t, ParseDNS, dnsFile, "port: 8080", "port: 8080, node: HOST-a, zone: Rack-1, distance: 2ms, instance: 10")
	want := steering.Endpoint{
		Address: netip.MustParseAddr("2001:db8:1::10"), Port: 8080, Capacity: 1, Holds: 387500 * time.Microsecond,
		Node: "host-a", Zone: "rack-1", Distance: 2 * time.Millisecond, Instance: "10",
	}
	if d := diff(want, d.Services[0].Endpoints[0]); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}
