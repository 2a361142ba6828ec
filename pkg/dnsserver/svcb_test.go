package dnsserver

import (
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// bindContent has services of which service bindings tell.
func bindContent() Content {
	c := podContent()
	add := func(name string, answers int, policy steering.Policy, alpn string, ports []uint16, endpoints ...string) {
		sv := testService(name, answers, endpoints...)
		sv.Policy, sv.ALPN = policy, strings.Fields(alpn)
		for i := range sv.Endpoints {
			sv.Endpoints[i].Port = ports[i%len(ports)]
		}
		c.Services = append(c.Services, sv)
	}
	add("tls.edge.example.", 2, steering.RoundRobin, "h2 http/1.1", []uint16{8443}, "2001:db8:1::60 up", "2001:db8:1::61 up", "2001:db8:1::62 up", "10.1.0.60 up")
	add("h2.edge.example.", 1, steering.RoundRobin, "h2", []uint16{443}, "2001:db8:1::60 up")
	add("mixed.edge.example.", 2, steering.Hash, "h2", []uint16{8443, 9443}, "2001:db8:1::60 up", "2001:db8:1::61 up", "10.1.0.60 up")
	add("sicktls.edge.example.", 1, steering.RoundRobin, "h2", []uint16{443}, "2001:db8:1::60 down")
	add("dot.edge.example.", 1, steering.RoundRobin, "dot", []uint16{853}, "2001:db8:1::60 up")
	add("notls.edge.example.", 1, steering.RoundRobin, "h2", []uint16{443})
	dot := &c.Services[len(c.Services)-2]
	dot.PortName, dot.Protocol = "dns", "tcp"
	return c
}

func TestBindings(t *testing.T) {
	const noData, nxDomain = "NOERROR aa\nauthority " + soa, "NXDOMAIN aa\nauthority " + soa
	both := func(name string) string {
		return strings.ReplaceAll(`NOERROR aa
NAME 30 IN HTTPS 1 . alpn="h2,http/1.1" port="8443" ipv4hint="10.1.0.60" ipv6hint="2001:db8:1::60,2001:db8:1::61"
additional NAME 30 IN AAAA 2001:db8:1::60
additional NAME 30 IN AAAA 2001:db8:1::61
additional NAME 30 IN A 10.1.0.60
`, "NAME", name)
	}
	testMessages(t, bindContent(), []messageCase{
		{query: ask("tls.edge.example. HTTPS"), want: both("tls.edge.example.")},
		{query: ask("_8443._HTTPS.tls.edge.example. HTTPS"), want: both("_8443._HTTPS.tls.edge.example.")},
		{query: ask("_8443._https.tls.edge.example. SVCB"), want: noData},
		{query: ask("_8443._https.tls.edge.example. AAAA"), want: noData},
		{query: ask("_https.tls.edge.example. HTTPS"), want: noData},
		{query: ask("_8444._https.tls.edge.example. HTTPS"), want: nxDomain},
		{query: ask("_08443._https.tls.edge.example. HTTPS"), want: nxDomain},
		{query: ask("_http._tcp.tls.edge.example. SVCB"), want: nxDomain},
		{query: ask("tls.edge.example. SVCB"), want: noData},
		{name: "not all clients may use it", query: ask("h2.edge.example. HTTPS"), want: `
NOERROR aa
h2.edge.example. 30 IN HTTPS 1 . alpn="h2" no-default-alpn="" port="443" ipv6hint="2001:db8:1::60"
additional h2.edge.example. 30 IN AAAA 2001:db8:1::60
`},
		{name: "port 443 has no name", query: ask("_443._https.h2.edge.example. HTTPS"), want: nxDomain},
		{name: "ports differ", query: ask("mixed.edge.example. HTTPS", edns(1232, subnetOption("2001:db8:5::", 56))), want: `
NOERROR aa
mixed.edge.example. 30 IN HTTPS 1 ip-2001-db8-1--61.mixed.edge.example. alpn="h2" no-default-alpn="" port="9443" ipv6hint="2001:db8:1::61"
mixed.edge.example. 30 IN HTTPS 2 ip-2001-db8-1--60.mixed.edge.example. alpn="h2" no-default-alpn="" port="8443" ipv6hint="2001:db8:1::60"
mixed.edge.example. 30 IN HTTPS 1 ip-10-1-0-60.mixed.edge.example. alpn="h2" no-default-alpn="" port="8443" ipv4hint="10.1.0.60"
additional ip-2001-db8-1--61.mixed.edge.example. 30 IN AAAA 2001:db8:1::61
additional ip-2001-db8-1--60.mixed.edge.example. 30 IN AAAA 2001:db8:1::60
additional ip-10-1-0-60.mixed.edge.example. 30 IN A 10.1.0.60
edns 0 udp 1232, subnet 2001:db8:5::/56/56
`},
		{name: "by panic", query: ask("sicktls.edge.example. HTTPS", edns(1232)), want: `
NOERROR aa
sicktls.edge.example. 1 IN HTTPS 1 . alpn="h2" no-default-alpn="" port="443" ipv6hint="2001:db8:1::60"
additional sicktls.edge.example. 1 IN AAAA 2001:db8:1::60
edns 0 udp 1232, ede 0 no endpoint is up: answering with all of them
`},
		{name: "no endpoint", query: ask("notls.edge.example. HTTPS"), want: noData},
		{query: ask("_dns.dot.edge.example. SVCB"), want: `
NOERROR aa
_dns.dot.edge.example. 30 IN SVCB 1 . alpn="dot" port="853" ipv6hint="2001:db8:1::60"
additional _dns.dot.edge.example. 30 IN AAAA 2001:db8:1::60
`},
		{query: ask("_853._dns.dot.edge.example. SVCB"), want: `
NOERROR aa
_853._dns.dot.edge.example. 30 IN SVCB 1 . alpn="dot" port="853" ipv6hint="2001:db8:1::60"
additional _853._dns.dot.edge.example. 30 IN AAAA 2001:db8:1::60
`},
		{query: ask("dot.edge.example. HTTPS"), want: noData},
		{query: ask("_https.dot.edge.example. HTTPS"), want: nxDomain},
		{query: ask("_dns._tcp.dot.edge.example. SRV"), want: `
NOERROR aa
_dns._tcp.dot.edge.example. 30 IN SRV 0 1 853 ip-2001-db8-1--60.dot.edge.example.
additional ip-2001-db8-1--60.dot.edge.example. 30 IN AAAA 2001:db8:1::60
`},
		{name: "SVCB without alpn", query: ask("_53._dns.hash.edge.example. SVCB", edns(1232, subnetOption("10.2.3.0", 24))), want: `
NOERROR aa
_53._dns.hash.edge.example. 30 IN SVCB 1 . port="53" ipv4hint="10.1.0.40,10.1.0.41" ipv6hint="2001:db8:1::40,2001:db8:1::42"
additional _53._dns.hash.edge.example. 30 IN AAAA 2001:db8:1::40
additional _53._dns.hash.edge.example. 30 IN AAAA 2001:db8:1::42
additional _53._dns.hash.edge.example. 30 IN A 10.1.0.40
additional _53._dns.hash.edge.example. 30 IN A 10.1.0.41
edns 0 udp 1232, subnet 10.2.3.0/24/24
`},
	})
}

func hotBindQueries() []hotQuery {
	return []hotQuery{
		{"HTTPS", ask("tls.edge.example. HTTPS"), true},
		{"HTTPS with everything", ask("TLS.edge.example. HTTPS", edns(1232, subnetOption("10.2.3.0", 24), cookieOption(goodCookie), &dns.EDNS0_NSID{Code: dns.EDNS0NSID})), true},
		{"HTTPS of one family", ask("h2.edge.example. HTTPS", edns(1232)), true},
		{"HTTPS of no endpoint", ask("notls.edge.example. HTTPS", edns(1232)), false},
		{"SVCB", ask("_dns.dot.edge.example. SVCB", edns(512)), true},
		{"SVCB by hash", ask("_dns.hash.edge.example. SVCB", edns(1232, subnetOption("2001:db8::", 32))), true},
		{"HTTPS of different ports", ask("mixed.edge.example. HTTPS"), false},
		{"HTTPS in panic", ask("sicktls.edge.example. HTTPS", edns(1232)), false},
		{"a port", ask("_8443._https.tls.edge.example. HTTPS"), false},
		{"no such port", ask("_1._https.tls.edge.example. HTTPS"), false},
	}
}

func TestHotBindings(t *testing.T) { testHot(t, bindContent(), hotBindQueries()) }

// Ports come and go with endpoints; what a service's names are does not.
func TestBindingsFollowEndpoints(t *testing.T) {
	c := bindContent()
	s := contentServer(t, c, nil)
	sv := c.Services[len(c.Services)-6].Clone()
	for i := range sv.Endpoints {
		sv.Endpoints[i].Port = 9443
	}
	if err := s.Update(sv); err != nil {
		t.Fatal(err)
	}
	for question, want := range map[string]string{
		"_8443._https.tls.edge.example. HTTPS": "NXDOMAIN", "_9443._https.tls.edge.example. HTTPS": `port="9443"`, "tls.edge.example. HTTPS": `port="9443"`,
	} {
		out, _ := reply(s.current.Load(), nil, pack(t, ask(question)), udp, testClient)
		if got := show(unpack(t, out)); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", question, got, want)
		}
	}
	sv.ALPN = nil
	if err := s.Update(sv); err == nil {
		t.Error("a name that is gone is answered")
	}
}
