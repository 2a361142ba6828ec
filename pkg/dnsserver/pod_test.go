package dnsserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// podContent has services with ports and capacities, and reverse zones.
func podContent() Content {
	c := testContent(true)
	for _, name := range []string{"1.10.in-addr.arpa.", "1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."} {
		c.Zones = append(c.Zones, Zone{Name: name, TTL: 30 * time.Second, NS: []NS{{Name: "ns.edge.example."}}})
	}
	web := testService("web.edge.example.", 1, "2001:db8:1::10 up", "10.1.0.10 up", "2001:db8:1::11 down", "2001:db8:2:: up")
	web.Policy, web.PortName = steering.Capacity, "http"
	for i := range web.Endpoints {
		web.Endpoints[i].Port, web.Endpoints[i].Capacity = uint16(8080+i), float64(100*(i+1))
	}
	hash := testService("hash.edge.example.", 2, "2001:db8:1::40 up", "2001:db8:1::41 up", "2001:db8:1::42 up", "10.1.0.40 up", "10.1.0.41 up")
	hash.Policy, hash.PortName, hash.Protocol = steering.Hash, "dns", "udp"
	for i := range hash.Endpoints {
		hash.Endpoints[i].Port = 53
	}
	down := testService("down.edge.example.", 1, "10.1.0.50 down")
	down.PortName, down.Endpoints[0].Port = "http", 80
	c.Services = append(c.Services, web, hash, down)
	return c
}

func TestPods(t *testing.T) {
	const noData, nxDomain = "NOERROR aa\nauthority " + soa, "NXDOMAIN aa\nauthority " + soa
	const reverseSOA = "1.10.in-addr.arpa. 5 IN SOA ns.edge.example. hostmaster.1.10.in-addr.arpa. 1767225600 3600 600 86400 5\n"
	reverse6 := strings.Repeat("0.", 18) + "1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
	const reverse6SOA = "1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 5 IN SOA ns.edge.example. hostmaster.1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. 1767225600 3600 600 86400 5\n"
	testMessages(t, podContent(), []messageCase{
		{query: ask("_HTTP._tcp.web.edge.example. SRV"), want: `
NOERROR aa
_HTTP._tcp.web.edge.example. 30 IN SRV 0 100 8080 ip-2001-db8-1--10.web.edge.example.
_HTTP._tcp.web.edge.example. 30 IN SRV 0 200 8081 ip-10-1-0-10.web.edge.example.
_HTTP._tcp.web.edge.example. 30 IN SRV 0 400 8083 ip-2001-db8-2--0.web.edge.example.
additional ip-2001-db8-1--10.web.edge.example. 30 IN AAAA 2001:db8:1::10
additional ip-10-1-0-10.web.edge.example. 30 IN A 10.1.0.10
additional ip-2001-db8-2--0.web.edge.example. 30 IN AAAA 2001:db8:2::
`},
		{name: "targets by panic", query: ask("_http._tcp.down.edge.example. SRV", edns(1232)), want: `
NOERROR aa
_http._tcp.down.edge.example. 1 IN SRV 0 1 80 ip-10-1-0-50.down.edge.example.
additional ip-10-1-0-50.down.edge.example. 1 IN A 10.1.0.50
edns 0 udp 1232, ede 0 no endpoint is up: answering with all of them
`},
		{query: ask("_http._tcp.web.edge.example. A"), want: noData},
		{name: "empty non-terminal of SRV", query: ask("_tcp.web.edge.example. SRV"), want: noData},
		{name: "no such protocol", query: ask("_udp.web.edge.example. SRV"), want: nxDomain},
		{name: "no such port", query: ask("_ftp._tcp.web.edge.example. SRV"), want: nxDomain},
		{name: "service has no SRV itself", query: ask("web.edge.example. SRV"), want: noData},
		{query: ask("WEB.edge.example. TXT"), want: "NOERROR aa\nWEB.edge.example. 30 IN TXT \"site=mec-1\" \"policy=capacity\"\n"},
		{query: ask("ip-2001-DB8-1--10.web.edge.example. AAAA"), want: "NOERROR aa\nip-2001-DB8-1--10.web.edge.example. 30 IN AAAA 2001:db8:1::10\n"},
		{name: "a pod that is down keeps its name", query: ask("ip-2001-db8-1--11.web.edge.example. AAAA"), want: "NOERROR aa\nip-2001-db8-1--11.web.edge.example. 1 IN AAAA 2001:db8:1::11\n"},
		{name: "pod of the other family", query: ask("ip-10-1-0-10.web.edge.example. AAAA"), want: noData},
		{name: "pod has no TXT", query: ask("ip-10-1-0-10.web.edge.example. TXT"), want: noData},
		{name: "pod of another service", query: ask("ip-10-1-0-10.hash.edge.example. A"), want: nxDomain},
		{name: "another spelling", query: ask("ip-2001-db8-1-0-0-0-0-10.web.edge.example. AAAA"), want: nxDomain},
		{name: "below a pod", query: ask("x.ip-10-1-0-10.web.edge.example. A"), want: nxDomain},
		{query: ask("10.0.1.10.in-addr.arpa. PTR"), want: "NOERROR aa\n10.0.1.10.in-addr.arpa. 30 IN PTR ip-10-1-0-10.api.edge.example.\n"},
		{name: "IPv6 PTR", query: ask("0.4." + reverse6 + " PTR"), want: "NOERROR aa\n0.4." + reverse6 + " 30 IN PTR ip-2001-db8-1--40.hash.edge.example.\n"},
		{name: "empty non-terminal of IPv6 pointers", query: ask(reverse6 + " PTR"), want: "NOERROR aa\nauthority " + reverse6SOA},
		{name: "an IPv6 address of nobody", query: ask("0.5." + reverse6 + " PTR"), want: "NXDOMAIN aa\nauthority " + reverse6SOA},
		{name: "pointer has no address", query: ask("10.0.1.10.in-addr.arpa. A"), want: "NOERROR aa\nauthority " + reverseSOA},
		{name: "empty non-terminal of pointers", query: ask("0.1.10.in-addr.arpa. PTR"), want: "NOERROR aa\nauthority " + reverseSOA},
		{name: "an address of nobody", query: ask("99.0.1.10.in-addr.arpa. PTR"), want: "NXDOMAIN aa\nauthority " + reverseSOA},
		{name: "outside the reverse zones", query: ask("1.2.10.in-addr.arpa. PTR"), want: "REFUSED\n"},
	})
}

// Every endpoint in a reverse zone has a pointer, whose target has the address.
func TestPointersLeadBack(t *testing.T) {
	s := testSnapshot(t, podContent())
	for a := range s.pointers.owners {
		name, err := dns.ReverseAddr(a.String())
		if err != nil {
			t.Fatal(err)
		}
		p := s.find(name, noView)
		if p == nil || p.kind != pointer {
			t.Fatalf("%s is %+v", name, p)
		}
		back := s.find(p.target, noView)
		if back == nil || back.kind != pod {
			t.Fatalf("%s points to %s, which is %+v", name, p.target, back)
		}
		if is := back.cell.load().Endpoints; len(is) != 1 || is[0].Address != a {
			t.Fatalf("%s points to %s, which is %+v", name, p.target, is)
		}
		for up := parent(name); up != p.zone.name; up = parent(up) {
			if above := s.find(up, noView); above == nil || above.kind != empty {
				t.Errorf("%s exists, %s above it is %+v", name, up, above)
			}
		}
	}
	if n := len(s.pointers.owners); n != 13 {
		t.Errorf("%d pointers, want 13", n)
	}
}

func TestPodLabels(t *testing.T) {
	for _, a := range addrs("::", "::1", "2001:db8::", "2001:db8:1::10", "1:2:3:4:5:6:7:8", "10.0.0.1", "255.255.255.255") {
		label := podLabel(a)
		if got, ok := podAddress(label); got != a || !ok || strings.HasSuffix(label, "-") || checkName(label+".x.") != nil {
			t.Errorf("%s is named %s, which is %s, %v", a, label, got, ok)
		}
	}
	for _, label := range []string{"", "ip-", "ip", "ip-1", "ip-10.0.0.1", "ip-::1", "ip-10-0-0-01", "ip-2001-DB8--0", "ip-2001-db8--", "10-0-0-1", "ip-0-0-0-0-0-0-0-1"} {
		if a, ok := podAddress(label); ok {
			t.Errorf("%s is %s, want none", label, a)
		}
	}
}

// What pods are named by may be another pod soon: they keep the rule of TTLs, as the service does.
func TestNamedPodsMayGo(t *testing.T) {
	c := namedContent()
	sv := &c.Services[len(c.Services)-2]
	for i := range sv.Endpoints {
		sv.Endpoints[i].Holds = 0
	}
	sv.Endpoints[0].Holds, sv.Endpoints[1].Draining = 7*time.Second, true // and the third is down
	s := testSnapshot(t, c)
	for i, want := range []struct{ ttl6, ttl4 uint32 }{{7, 30}, {1, 0}, {1, 0}} {
		a := sv.Endpoints[i].Address
		for _, name := range []string{fmt.Sprintf("a1.a.s1.s.%d.none.edge.example.", i), podLabel(a) + ".web.edge.example."} {
			out, x := reply(s, nil, pack(t, ask(name+" AAAA")), udp, testClient)
			if m := unpack(t, out); len(m.Answer) != 1 || m.Answer[0].Header().Ttl != want.ttl6 || x.picked != 0 {
				t.Errorf("%s: %v, %+v, want TTL %d", name, m.Answer, x, want.ttl6)
			}
		}
		out, _ := reply(s, nil, pack(t, ask(fmt.Sprintf("a1.a.s1.s.%d.none.edge.example. A", i))), udp, testClient)
		if m := unpack(t, out); (len(m.Answer) == 1) != (want.ttl4 != 0) || len(m.Answer) == 1 && m.Answer[0].Header().Ttl != want.ttl4 {
			t.Errorf("instance %d: %v, want TTL %d", i, m.Answer, want.ttl4)
		}
	}
}

// While a pod gives way to another one of its number, the name is the one that is up and stays.
func TestInstanceGivesWay(t *testing.T) {
	c := namedContent()
	sv := &c.Services[len(c.Services)-2]
	sv.Endpoints = endpoints("2001:db8:1::10 up", "2001:db8:1::11 down", "2001:db8:1::12 up")
	for i := range sv.Endpoints {
		sv.Endpoints[i].Instance, sv.Endpoints[i].Draining = "0", i == 0
	}
	if got := all(t, testSnapshot(t, c), "a1.a.s1.s.0.none.edge.example. AAAA"); !slices.Equal(got, []string{"2001:db8:1::12"}) {
		t.Errorf("answered %v", got)
	}
}
