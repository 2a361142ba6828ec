package config

import (
	"strings"
	"testing"
	"time"
)

// A cluster alone is enough.
func TestParseAgentKubernetes(t *testing.T) {
	t.Parallel()
	begin, end := strings.Index(agentFile, "services:"), strings.Index(agentFile, "journal:")
	got := mustParse(t, ParseAgent, agentFile, agentFile[begin:end], "kubernetes: {pools: [{name: a, prefixes: [192.0.2.0/28]}]}\n")
	want := &AgentKubernetes{
		Class: "anyedge/anycast", Pools: []AddressPool{{Name: "a", Prefixes: prefixes("192.0.2.0/28"), Auto: true}}, Check: every("", nil),
		Settle: 2 * time.Second, Drain: time.Second, Lease: Lease{"kube-system", "edgeagent-addresses"}, Status: true, Resync: 10 * time.Minute,
	}
	if d := diff(want, got.Kubernetes); d != "" || got.Services != nil || got.BGP.Allowed != nil {
		t.Errorf("services %v, allowed %v (-want +got)\n%s", got.Services, got.BGP.Allowed, d)
	}
	if d := diff(prefixes("192.0.2.0/28"), got.BGP.Pools); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestParseAgentKubernetesBad(t *testing.T) {
	t.Parallel()
	with := func(keys string) string { return "kubernetes: {" + keys + "}\njournal:" } // on line 15
	pools := func(more string) string {
		return with(`pools: [{name: a, prefixes: ["2001:db8:1::/112"]}` + more + `]`)
	}
	testBad(t, ParseAgent, agentFile, []badCase{
		{"nothing", "journal:", "kubernetes:\njournal:",
			"15:12: kubernetes: must be keys and values"},
		{"no pools", "journal:", with(""),
			`15:13: kubernetes.pools: missing: write what addresses are given from: [{name: ..., prefixes: ["2001:db8:53::/112"]}]`},
		{"pools empty", "journal:", with("pools: []"),
			"15:21: kubernetes.pools: needs at least one pool"},
		{"slip", "journal:", with("pool: []"),
			`15:13: kubernetes.pools: missing: write what addresses are given from: [{name: ..., prefixes: ["2001:db8:53::/112"]}]` + "\n15:14: kubernetes.pool: unknown key: did you mean pools?"},
		{"pool without name", "journal:", with(`pools: [{prefixes: ["2001:db8:1::/112"]}]`),
			"15:22: kubernetes.pools[0].name: missing: write the pool's name"},
		{"pool without prefixes", "journal:", with("pools: [{name: a}]"),
			`15:22: kubernetes.pools[0].prefixes: missing: write its prefixes, such as ["2001:db8:53::/112", "192.0.2.64/27"]`},
		{"pool with no prefixes", "journal:", with("pools: [{name: a, prefixes: []}]"),
			"15:42: kubernetes.pools[0].prefixes: needs at least one prefix"},
		{"pool twice", "journal:", pools(`, {name: a, prefixes: ["2001:db8:2::/112"]}`),
			"15:72: kubernetes.pools[1].name: duplicate a: already in kubernetes.pools[0].name on line 15"},
		{"pools overlap", "journal:", pools(`, {name: b, prefixes: ["2001:db8:1::8/125"]}`),
			"15:86: kubernetes.pools[1].prefixes[0]: 2001:db8:1::8/125 overlaps 2001:db8:1::/112, kubernetes.pools[0].prefixes[0] on line 15"},
		{"pool with host bits", "journal:", pools(`, {name: b, prefixes: ["2001:db8:2::1/112"]}`),
			"15:86: kubernetes.pools[1].prefixes[0]: 2001:db8:2::1/112 has bits set beyond its length: write 2001:db8:2::/112"},
		{"pool without length", "journal:", pools(`, {name: b, prefixes: ["2001:db8:2::1"]}`),
			"15:86: kubernetes.pools[1].prefixes[0]: 2001:db8:2::1 has no length: write a prefix, such as 2001:db8:53::/112"},
		{"pool of everything", "journal:", pools(`, {name: b, prefixes: ["::/0"]}`),
			"15:86: kubernetes.pools[1].prefixes[0]: ::/0 is larger than any pool: write what was set apart for services"},
		{"pool of link-local addresses", "journal:", pools(`, {name: b, prefixes: ["fe80::/64"]}`),
			"15:86: kubernetes.pools[1].prefixes[0]: fe80::/64 holds no addresses that are routed to a service"},
		{"pool with a neighbor", "journal:", pools(`, {name: b, prefixes: ["fd00:1::/64"]}`),
			"15:86: kubernetes.pools[1].prefixes[0]: fd00:1::/64 holds fd00:1::1, the address of a neighbor: a VIP is the service's own"},
		{"pool auto", "journal:", with(`pools: [{name: a, prefixes: ["2001:db8:1::/112"], auto: maybe}]`),
			`15:70: kubernetes.pools[0].auto: must be true or false, not "maybe"`},
		{"class without prefix", "journal:", pools("], class: [anycast"),
			"15:73: kubernetes.class: must be a class such as anyedge/anycast"},
		{"check longer than its interval", "journal:", pools("], check: {interval: 100ms, timeout: 1s}, namespaces: [a"),
			"15:100: kubernetes.check.timeout: 1s is longer than the interval of 100ms"},
		{"check of a type", "journal:", pools("], check: {type: tcp}, namespaces: [a"),
			"15:74: kubernetes.check.type: unknown key: here may stand interval, timeout, fast_interval, rise, fall"},
		{"drain by a file", "journal:", pools("], drain: {file: /x}, namespaces: [a"),
			"15:74: kubernetes.drain.file: unknown key: here may stand wait"},
		{"lease", "journal:", pools("], lease: {name: a/b}, namespaces: [a"),
			`15:80: kubernetes.lease.name: must be the name of a Lease of at most 63 letters, digits, dots, hyphens and underscores, not "a/b"`},
		{"resync", "journal:", pools("], resync: 1s, namespaces: [a"),
			`15:74: kubernetes.resync: must be a duration from 10s to 24h, not "1s"`},
		{"no session for IPv6", `{address: "fd00:1::1", asn: 65533}`, `{address: 10.0.0.1, asn: 65533}`,
			"9:12: services[0].vips[0]: no session can carry 2001:db8:53::53/128: all neighbors are IPv4; add a neighbor with an IPv6 address, or remove this VIP"},
	})
	services := agentFile[strings.Index(agentFile, "services:"):strings.Index(agentFile, "journal:")]
	testBad(t, ParseAgent, agentFile, []badCase{
		{"a bridge without services", services, "kubernetes: {pools: [{name: a, prefixes: [\"2001:db8:1::/112\"]}]}\nbridge: {uplinks: [eth1]}\npeers: [{name: b, site: b, source: \"2001:db8:2::1\"}]\n",
			"8:9: bridge: carries nothing: it is for the services of this file, and there are none; remove it"},
	})
}
