package dnsserver

import (
	"testing"

	"github.com/anyedge/anyedge/pkg/steering"
)

// panicContent has services of which nothing is up: quiet answers with nothing then, away and mixedaway with another site, of which it is
// known for the first alone what port it has.
func panicContent() Content {
	c := bindContent()
	add := func(name string, p steering.Panic, list ...string) {
		sv := testService(name, 1, list...)
		sv.PortName, sv.ALPN, sv.Panic = "http", []string{"h2"}, p
		for i := range sv.Endpoints {
			sv.Endpoints[i].Port, sv.Endpoints[i].Zone = 8443, "rack-1"
		}
		c.Services = append(c.Services, sv)
	}
	add("quiet.edge.example.", steering.Panic{Mode: steering.PanicNone}, "2001:db8:1::60 down", "2001:db8:1::61 down")
	other := steering.Panic{Mode: steering.PanicOther, Fallback: addrs("2001:db8:9::1", "10.9.0.1")}
	add("away.edge.example.", other, "2001:db8:1::60 down", "2001:db8:1::61 down", "10.1.0.60 up")
	add("mixedaway.edge.example.", other, "2001:db8:1::60 down", "2001:db8:1::61 down")
	c.Services[len(c.Services)-1].Endpoints[1].Port = 9443
	add("halfaway.edge.example.", steering.Panic{Mode: steering.PanicOther, Fallback: addrs("10.9.0.1")}, "2001:db8:1::60 down", "10.1.0.60 down")
	add("hashaway.edge.example.", other, "2001:db8:1::60 down", "10.1.0.60 down")
	c.Services[len(c.Services)-1].Policy = steering.Hash
	return c
}

// What a service does not have in panic is kept no longer than what another one has.
func TestPanicNone(t *testing.T) {
	const why = "edns 0 udp 1232, ede 0 no endpoint is up: answering with none\n"
	c := panicContent()
	var cases []messageCase
	for _, question := range []string{
		"quiet.edge.example. AAAA", "quiet.edge.example. HTTPS", "_8443._https.quiet.edge.example. HTTPS", "_http._tcp.quiet.edge.example. SRV",
		"rack-1.pin.quiet.edge.example. AAAA", "rack-2.prefer.quiet.edge.example. AAAA",
	} {
		cases = append(cases, messageCase{query: ask(question, edns(1232)), want: briefly + why})
	}
	testMessages(t, c, append(cases, []messageCase{
		{query: ask("quiet.edge.example. AAAA"), want: briefly},
		{name: "no endpoint of the family", query: ask("quiet.edge.example. A"), want: "NOERROR aa\nauthority " + soa},
		{name: "no such type", query: ask("quiet.edge.example. MX"), want: "NOERROR aa\nauthority " + soa},
		{name: "no such name", query: ask("x.y.quiet.edge.example. A"), want: "NXDOMAIN aa\nauthority " + soa},
	}...))
	testHot(t, c, panicQueries())
}

func panicQueries() (all []hotQuery) {
	for _, q := range []string{"quiet.edge.example. AAAA", "quiet.edge.example. HTTPS"} {
		all = append(all, hotQuery{q, ask(q, edns(1232)), false})
	}
	return append(all, hotQuery{"a family without panic", ask("quiet.edge.example. A"), true})
}

// While another site answers, every type tells of it.
func TestPanicOther(t *testing.T) {
	const why = "edns 0 udp 1232, ede 0 no endpoint is up: answering with another site"
	testMessages(t, panicContent(), []messageCase{
		{query: ask("away.edge.example. AAAA", edns(1232)), want: "NOERROR aa\naway.edge.example. 1 IN AAAA 2001:db8:9::1\n" + why + "\n"},
		{query: ask("away.edge.example. A"), want: "NOERROR aa\naway.edge.example. 30 IN A 10.1.0.60\n"},
		{query: ask("away.edge.example. TXT"), want: "NOERROR aa\naway.edge.example. 30 IN TXT \"site=mec-1\" \"policy=rr\"\n"},
		{query: ask("away.edge.example. HTTPS", edns(1232)), want: `
NOERROR aa
away.edge.example. 1 IN HTTPS 1 . alpn="h2" no-default-alpn="" port="8443" ipv4hint="10.1.0.60" ipv6hint="2001:db8:9::1"
additional away.edge.example. 1 IN AAAA 2001:db8:9::1
additional away.edge.example. 1 IN A 10.1.0.60
` + why + "\n"},
		{query: ask("_HTTP._tcp.Away.edge.example. SRV", edns(1232)), want: `
NOERROR aa
_HTTP._tcp.Away.edge.example. 1 IN SRV 0 1 8443 ip-10-1-0-60.away.edge.example.
_HTTP._tcp.Away.edge.example. 1 IN SRV 0 1 8443 Away.edge.example.
additional ip-10-1-0-60.away.edge.example. 1 IN A 10.1.0.60
additional Away.edge.example. 1 IN AAAA 2001:db8:9::1
` + why + "\n"},
		{query: ask("_http._tcp.hashaway.edge.example. SRV", edns(1232)), want: `
NOERROR aa
_http._tcp.hashaway.edge.example. 1 IN SRV 0 1 8443 hashaway.edge.example.
additional hashaway.edge.example. 1 IN AAAA 2001:db8:9::1
additional hashaway.edge.example. 1 IN A 10.9.0.1
` + why + "\n"},
		{name: "a family without a fallback goes by all", query: ask("_http._tcp.halfaway.edge.example. SRV", edns(1232)), want: `
NOERROR aa
_http._tcp.halfaway.edge.example. 1 IN SRV 0 1 8443 ip-2001-db8-1--60.halfaway.edge.example.
_http._tcp.halfaway.edge.example. 1 IN SRV 0 1 8443 halfaway.edge.example.
additional ip-2001-db8-1--60.halfaway.edge.example. 1 IN AAAA 2001:db8:1::60
additional halfaway.edge.example. 1 IN A 10.9.0.1
edns 0 udp 1232, ede 0 no endpoint is up: answering with all of them
`},
		{query: ask("mixedaway.edge.example. AAAA", edns(1232)), want: "NOERROR aa\nmixedaway.edge.example. 1 IN AAAA 2001:db8:9::1\n" + why + "\n"},
		{query: ask("mixedaway.edge.example. HTTPS", edns(1232)), want: briefly + why + ", whose ports are not known\n"},
		{query: ask("_http._tcp.mixedaway.edge.example. SRV", edns(1232)), want: briefly + why + ", whose ports are not known\n"},
		{query: ask("rack-1.prefer.away.edge.example. AAAA", edns(1232)), want: "NOERROR aa\nrack-1.prefer.away.edge.example. 1 IN AAAA 2001:db8:9::1\n" + why + "\n"},
		{query: ask("rack-1.pin.away.edge.example. AAAA", edns(1232)), want: briefly + "edns 0 udp 1232, ede 0 no endpoint is up: answering with none\n"},
	})
}
