package dnsserver

import (
	"testing"

	"github.com/anyedge/anyedge/pkg/steering"
)

// panicContent has services of which nothing is up: quiet answers with nothing then.
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
