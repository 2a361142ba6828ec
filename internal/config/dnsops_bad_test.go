package config

import "testing"

func TestParseDNSOperationBad(t *testing.T) {
	t.Parallel()
	with := func(keys string) string { return keys + "\nmetrics:" } // keys begin on line 12
	view := func(keys string) string {
		return with("views: [\n  {name: inside, clients: [\"2001:db8::/32\"]" + keys + "}]")
	}
	testBad(t, ParseDNS, dnsFile, []badCase{
		{"admin without socket", "metrics:", with("admin: {}"),
			"12:8: admin.socket: missing: write the path of the socket, such as /run/anyedge/dns.sock"},
		{"admin socket relative", "metrics:", with("admin: {socket: s}"),
			`12:17: admin.socket: must be an absolute path, not "s"`},
		{"admin drains relative", "metrics:", with("admin: {socket: /s, drains: d}"),
			`12:29: admin.drains: must be an absolute path, not "d"`},
		{"query log relative", "metrics:", with("query_log: {file: q.jsonl}"),
			`12:19: query_log.file: must be an absolute path, not "q.jsonl"`},
		{"query log sample", "metrics:", with("query_log: {sample: -1}"),
			`12:21: query_log.sample: must be a whole number from 0 to 1000000000, not "-1"`},
		{"query log errors", "metrics:", with("query_log: {errors: all}"),
			`12:21: query_log.errors: must be a whole number from 0 to 1000000, not "all"`},
		{"query log bits", "metrics:", with("query_log: {ipv4_bits: 56}"),
			`12:24: query_log.ipv4_bits: must be a whole number from 0 to 32, not "56"`},
		{"acl of nothing", "metrics:", with("acl: {}"),
			"12:6: acl: needs allow or deny: lists of prefixes"},
		{"acl allows nobody", "metrics:", with("acl: {allow: []}"),
			"12:14: acl.allow: needs at least one prefix"},
		{"acl without length", "metrics:", with(`acl: {allow: ["::1"]}`),
			"12:15: acl.allow[0]: ::1 has no length: write a prefix, such as 2001:db8:1::/48"},
		{"acl with host bits", "metrics:", with(`acl: {deny: [10.0.0.1/8]}`),
			"12:14: acl.deny[0]: 10.0.0.1/8 has bits set beyond its length: write 10.0.0.0/8"},
		{"acl both", "metrics:", with(`acl: {allow: [10.0.0.0/8], deny: [10.0.0.0/8]}`),
			"12:35: acl.deny[0]: duplicate 10.0.0.0/8: already in acl.allow[0] on line 12"},
		{"acl of a zone", "    ns:", "    acl: {permit: []}\n    ns:",
			"5:10: zones[0].acl: needs allow or deny: lists of prefixes\n5:11: zones[0].acl.permit: unknown key: here may stand allow, deny"},
		{"explain to nobody", "metrics:", with("explain: {}"),
			`12:10: explain.allow: missing: write who is told why, such as ["2001:db8:1::/48"]`},
		{"no view", "metrics:", with("views: []"),
			"12:8: views: needs at least one view"},
		{"view without name", "metrics:", with("views: [{clients: [\"::/0\"]}]"),
			"12:9: views[0].name: missing: write a name for metrics and logs, such as inside"},
		{"view without clients", "metrics:", with("views: [{name: inside}]"),
			`12:9: views[0].clients: missing: write whose view it is, such as ["2001:db8:1::/48"]`},
		{"view twice", "metrics:", view(`}, {name: inside, clients: ["2001:db8::/33"]`),
			"13:54: views[1].name: duplicate inside: already in views[0].name on line 13"},
		{"clients of two views", "metrics:", view(`}, {name: outside, clients: ["2001:db8::/32"]`),
			"13:73: views[1].clients[0]: duplicate 2001:db8::/32: already in views[0].clients[0] on line 13"},
		{"view of another zone", "metrics:", view(", services: [api.other.example.]"),
			"13:57: views[0].services[0]: api.other.example. lies in none of the zones: add its zone, or remove it"},
		{"view of endpoints", "metrics:", view(`, endpoints: ["2001:db8::1"]`),
			"13:58: views[0].endpoints[0]: 2001:db8::1 has no length: write a prefix, such as 2001:db8:1::/48"},
		{"instead of what", "metrics:", view(`, instead: [{service: apl.edge.example., addresses: ["2001:db8::1"]}]`),
			"13:66: views[0].instead[0].service: apl.edge.example. is none of the services: a view names what is there"},
		{"instead nothing", "metrics:", view(`, instead: [{service: api.edge.example., addresses: []}]`),
			"13:96: views[0].instead[0].addresses: needs at least one address"},
		{"instead twice", "metrics:", view(`, instead: [{service: api.edge.example., addresses: [10.0.0.1]}, {service: api.edge.example., addresses: [10.0.0.1]}]`),
			"13:119: views[0].instead[1].service: duplicate api.edge.example.: already in views[0].instead[0].service on line 13"},
	})
}

// Names of a cluster are not known here; a view may name any that could be one.
func TestViewsOfClusterBad(t *testing.T) {
	t.Parallel()
	testBad(t, ParseDNS, dnsFile+"kubernetes: {}\nviews: [{name: a, clients: ['::/0'], namespace: shop, instead: [{service: web.edge.example., addresses: ['::1']}]}]\n", []badCase{
		{"instead of what lies elsewhere", "web.edge.example.", "web.other.example.",
			"14:75: views[0].instead[0].service: web.other.example. lies in none of the zones: add its zone, or remove it"},
		{"namespace without a cluster", "kubernetes: {}\nviews: [{name: a, clients: ['::/0'], namespace: shop, instead: [{service: web.edge.example., addresses: ['::1']}]}]",
			"views: [{name: a, clients: ['::/0'], namespace: shop}]",
			"13:49: views[0].namespace: does nothing without kubernetes: remove it"},
		{"namespace that is none", "namespace: shop", "namespace: a/b",
			`14:49: views[0].namespace: must be a namespace of at most 63 letters, digits, dots, hyphens and underscores, not "a/b"`},
	})
}
