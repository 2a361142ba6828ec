package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// conformanceConfig is a site that every test of conformance asks. Each service has one endpoint of a family, so that
// answers are the same every time.
const conformanceConfig = `site: mec-1
listen: ["[::1]:53", "127.0.0.1:53"]
zones:
  - name: edge.example.
    ns:
      - {name: ns.edge.example., addresses: ["2001:db8:53::53", "192.0.2.53"]}
      - {name: ns.backup.example.}
  - {name: sub.lab.edge.example., ttl: 2s, ns: [{name: ns.edge.example.}]}
  - {name: 0.1.10.in-addr.arpa., ns: [{name: ns.edge.example.}]}
services:
  - name: api.edge.example.
    port_name: http
    endpoints: [{address: "2001:db8:1::10", port: 8080}, {address: 10.1.0.10, port: 8080}]
  - {name: six.edge.example., port_name: web, protocol: udp, endpoints: [{address: "2001:db8:1::6", port: 8443}]}
  - {name: four.edge.example., endpoints: [{address: 10.1.0.4}]}
  - {name: a.b.c.edge.example., endpoints: [{address: "2001:db8:1::20"}]}
  - {name: www.sub.lab.edge.example., endpoints: [{address: "2001:db8:2::10"}]}
  - {name: hash.edge.example., policy: hash, endpoints: [{address: "2001:db8:3::1"}]}
  - name: sick.edge.example.
    endpoints: [{address: "::1", port: 9, check: {type: tcp, interval: 20ms, fall: 1}}]
metrics: {listen: "[::1]:9411"}
`

// startConforming runs that site and waits until it knows what is sick.
func startConforming(t *testing.T, config string) {
	t.Helper()
	start(t, config)
	eventually(t, "sick.edge.example.", dns.TypeAAAA, "NOERROR ::1/1")
}

const (
	soaLine    = "edge.example. 5 IN SOA ns.edge.example. hostmaster.edge.example. SERIAL 3600 600 86400 5\n"
	subSOALine = "sub.lab.edge.example. 2 IN SOA ns.edge.example. hostmaster.sub.lab.edge.example. SERIAL 3600 600 86400 2\n"
	ptrSOALine = "0.1.10.in-addr.arpa. 5 IN SOA ns.edge.example. hostmaster.0.1.10.in-addr.arpa. SERIAL 3600 600 86400 5\n"
	ednsLine0  = "edns 0 udp 1232"
)

type conformance struct {
	name string
	args string // of dig and kdig; ends with the question
	want string
	tcp  string // what comes over TCP where that is not want
	dig  bool   // kdig cannot ask that
}

// TestRFC8906 asks what RFC 8906, section 8, has every server asked, and what the EDNS compliance tester of ISC
// (ednscomp) asks beyond.
func TestRFC8906(t *testing.T) {
	conform(t, []conformance{
		{name: "8.1.1 the zone is there", args: "+noedns edge.example. SOA", want: "NOERROR aa\n" + soaLine},
		{name: "8.1.2 an unknown type", args: "+noedns edge.example. TYPE1000", want: "NOERROR aa\nauthority " + soaLine},
		{name: "8.1.3.1 CD", args: "+noedns +cdflag edge.example. SOA", want: "NOERROR aa\n" + soaLine},
		{name: "8.1.3.2 AD", args: "+noedns +adflag edge.example. SOA", want: "NOERROR aa\n" + soaLine},
		{name: "8.1.3.3 the reserved bit", args: "+noedns +zflag edge.example. SOA", want: "NOERROR aa\n" + soaLine},
		{name: "8.1.3.4 RD comes back, RA does not", args: "+noedns +rdflag edge.example. SOA", want: "NOERROR aa rd\n" + soaLine},
		{name: "AA", args: "+noedns +aaflag edge.example. SOA", want: "NOERROR aa\n" + soaLine},
		{name: "RA", args: "+noedns +raflag edge.example. SOA", want: "NOERROR aa\n" + soaLine},
		{name: "TC", args: "+noedns +tcflag edge.example. SOA", want: "NOERROR aa\n" + soaLine},
		{name: "8.1.4 an unknown opcode", args: "+noedns +opcode=15 +header-only", want: "NOTIMP\nno question\n", dig: true},
		{name: "an unknown opcode with a question", args: "+noedns +opcode=15 edge.example. SOA", want: "NOTIMP\nno question\n", dig: true},
		{name: "IQUERY", args: "+noedns +opcode=1 edge.example. SOA", want: "NOTIMP\nno question\n", dig: true},
		{name: "STATUS", args: "+noedns +opcode=2 edge.example. SOA", want: "NOTIMP\nno question\n", dig: true},
		{name: "NOTIFY", args: "+noedns +opcode=4 edge.example. SOA", want: "NOTIMP\nno question\n", dig: true},
		{name: "UPDATE", args: "+noedns +opcode=5 edge.example. SOA", want: "NOTIMP\nno question\n", dig: true},
		{name: "an unknown opcode with EDNS (RFC 6891 6.1.1)", args: "+edns=0 +opcode=15 edge.example. SOA", want: "NOTIMP\nno question\n" + ednsLine0, dig: true},
		{name: "stateful operations", args: "+noedns +opcode=6 +header-only", want: "NOTIMP\nno question\n", dig: true},

		{name: "8.2.1 EDNS", args: "+edns=0 edge.example. SOA", want: "NOERROR aa\n" + soaLine + ednsLine0},
		{name: "8.2.2 EDNS version 1", args: "+edns=1 edge.example. SOA", want: "BADVERS\n" + ednsLine0},
		{name: "EDNS version 255", args: "+edns=255 edge.example. SOA", want: "BADVERS\n" + ednsLine0},
		{name: "8.2.3 an unknown option does not come back", args: "+edns=0 +ednsopt=100 edge.example. SOA", want: "NOERROR aa\n" + soaLine + ednsLine0},
		{name: "8.2.4 unknown EDNS flags", args: "+edns=0 +ednsflags=0x80 edge.example. SOA", want: "NOERROR aa\n" + soaLine + ednsLine0, dig: true},
		{name: "8.2.5 EDNS version 1, unknown flags", args: "+edns=1 +ednsflags=0x80 edge.example. SOA", want: "BADVERS\n" + ednsLine0, dig: true},
		{name: "8.2.6 EDNS version 1, unknown option", args: "+edns=1 +ednsopt=100 edge.example. SOA", want: "BADVERS\n" + ednsLine0},
		{name: "EDNS version 1, half a cookie", args: "+edns=1 +ednsopt=10:01020304 edge.example. SOA", want: "BADVERS\n" + ednsLine0},
		{name: "EDNS version 1, half a client subnet", args: "+edns=1 +ednsopt=8:0001 edge.example. SOA", want: "BADVERS\n" + ednsLine0},
		{name: "EDNS version 1, NSID: nobody knows what it means there", args: "+edns=1 +nsid edge.example. SOA", want: "BADVERS\n" + ednsLine0},
		{name: "8.2.8 DO comes back", args: "+edns=0 +dnssec edge.example. SOA", want: "NOERROR aa\n" + soaLine + ednsLine0 + " do"},
		{name: "8.2.9 EDNS version 1, DO", args: "+edns=1 +dnssec edge.example. SOA", want: "BADVERS\n" + ednsLine0 + " do"},
		{
			name: "8.2.10 a list of options", args: "+edns=0 +nsid +subnet=192.0.2.0/24 +ednsopt=9 +ednsopt=65001:0102 edge.example. SOA",
			want: "NOERROR aa\n" + soaLine + ednsLine0 + ", nsid mec-1, subnet 192.0.2.0/24/0",
		},
		{name: "NSID", args: "+edns=0 +nsid api.edge.example. AAAA", want: "NOERROR aa\napi.edge.example. 5 IN AAAA 2001:db8:1::10\n" + ednsLine0 + ", nsid mec-1"},
		{name: "EXPIRE is for secondaries", args: "+edns=0 +expire edge.example. SOA", want: "NOERROR aa\n" + soaLine + ednsLine0, dig: true},
		{name: "a cookie comes back with the server's (RFC 9018), DO with it", args: "+edns=0 +dnssec +cookie edge.example. SOA", want: "NOERROR aa\n" + soaLine + ednsLine0 + " do, cookie"},
		{name: "a cookie alone", args: "+header-only +cookie", want: "NOERROR\nno question\n" + ednsLine0 + ", cookie", dig: true},
		{
			name: "keepalive has a meaning over TCP alone (RFC 7828)", args: "+edns=0 +keepalive edge.example. SOA",
			want: "NOERROR aa\n" + soaLine + ednsLine0, tcp: "NOERROR aa\n" + soaLine + ednsLine0 + ", tcp keepalive 10.0 secs", dig: true,
		},
		{name: "a client subnet of an unknown family", args: "+edns=0 +ednsopt=8:00030800c0 edge.example. SOA", want: "REFUSED\n" + ednsLine0},
		{name: "padding", args: "+edns=0 +ednsopt=12:00000000 edge.example. SOA", want: "NOERROR aa\n" + soaLine + ednsLine0},
	})
}

func TestAnswersConform(t *testing.T) {
	const (
		api  = "api.edge.example. 5 IN AAAA 2001:db8:1::10\n"
		sick = "sick.edge.example. 1 IN AAAA ::1\n"
	)
	conform(t, []conformance{
		{name: "the case of the question comes back (0x20)", args: "+noedns aPi.EdgE.eXample. AAAA", want: "NOERROR aa\naPi.EdgE.eXample. 5 IN AAAA 2001:db8:1::10\n"},
		{name: "also in what is not there", args: "+noedns nO.edge.example. A", want: "NXDOMAIN aa\nauthority " + soaLine},
		{name: "the name server's address", args: "+noedns ns.edge.example. A", want: "NOERROR aa\nns.edge.example. 5 IN A 192.0.2.53\n"},
		{
			name: "the zone's name servers", args: "+noedns edge.example. NS",
			want: "NOERROR aa\nedge.example. 5 IN NS ns.edge.example.\nedge.example. 5 IN NS ns.backup.example.\n" +
				"additional ns.edge.example. 5 IN AAAA 2001:db8:53::53\nadditional ns.edge.example. 5 IN A 192.0.2.53\n",
		},
		{
			name: "SRV", args: "+noedns _web._udp.six.edge.example. SRV",
			want: "NOERROR aa\n_web._udp.six.edge.example. 5 IN SRV 0 1 8443 ip-2001-db8-1--6.six.edge.example.\n" +
				"additional ip-2001-db8-1--6.six.edge.example. 5 IN AAAA 2001:db8:1::6\n",
		},
		{name: "PTR", args: "+noedns 10.0.1.10.in-addr.arpa. PTR", want: "NOERROR aa\n10.0.1.10.in-addr.arpa. 5 IN PTR ip-10-1-0-10.api.edge.example.\n"},
		{name: "no PTR", args: "+noedns 99.0.1.10.in-addr.arpa. PTR", want: "NXDOMAIN aa\nauthority " + ptrSOALine},
		{name: "TXT", args: "+noedns api.edge.example. TXT", want: "NOERROR aa\napi.edge.example. 5 IN TXT \"site=mec-1\" \"policy=rr\"\n"},
		{name: "a small ANY (RFC 8482)", args: "+edns=0 api.edge.example. ANY", want: "NOERROR aa\napi.edge.example. 5 IN HINFO \"RFC8482\" \"\"\n" + ednsLine0},
		{name: "panic is told (RFC 8914)", args: "+edns=0 sick.edge.example. AAAA", want: "NOERROR aa\n" + sick + ednsLine0 + ", ede 0 no endpoint is up: answering with all of them"},
		{name: "but not without EDNS", args: "+noedns sick.edge.example. AAAA", want: "NOERROR aa\n" + sick},

		{name: "outside of the zones: no referral upwards", args: "+edns=0 www.example. A", want: "REFUSED\n" + ednsLine0 + ", ede 20"},
		{name: "above the zone", args: "+edns=0 example. NS", want: "REFUSED\n" + ednsLine0 + ", ede 20"},
		{name: "the root", args: "+edns=0 . NS", want: "REFUSED\n" + ednsLine0 + ", ede 20"},
		{name: "a name that ends like the zone's", args: "+edns=0 theedge.example. A", want: "REFUSED\n" + ednsLine0 + ", ede 20"},
		{name: "and RD does not make it ask", args: "+edns=0 +rdflag www.example. A", want: "REFUSED rd\n" + ednsLine0 + ", ede 20"},

		{name: "id.server", args: "+edns=0 -c CH -q id.server. -t TXT", want: "NOERROR aa\nid.server. 0 CH TXT \"mec-1\"\n" + ednsLine0},
		{name: "hostname.bind", args: "+noedns -c CH -q HostName.Bind. -t TXT", want: "NOERROR aa\nHostName.Bind. 0 CH TXT \"mec-1\"\n"},
		{name: "version.bind is hidden", args: "+edns=0 -c CH -q version.bind. -t TXT", want: "REFUSED\n" + ednsLine0 + ", ede 18"},
		{name: "version.server is hidden", args: "+noedns -c CH -q version.server. -t TXT", want: "REFUSED\n"},
		{name: "class CH of a service", args: "+noedns -c CH -q api.edge.example. -t AAAA", want: "REFUSED\n"},
		{name: "class HS", args: "+noedns -c HS -q api.edge.example. -t AAAA", want: "REFUSED\n", dig: true},
		{name: "class ANY", args: "+noedns -c ANY -q api.edge.example. -t AAAA", want: "REFUSED\n"},
		{name: "an unknown class", args: "+noedns -c CLASS1000 -q api.edge.example. -t AAAA", want: "REFUSED\n"},

		{name: "a client subnet that does not matter: SCOPE 0", args: "+edns=0 +subnet=2001:db8:5::/48 api.edge.example. AAAA", want: "NOERROR aa\n" + api + ednsLine0 + ", subnet 2001:db8:5::/48/0"},
		{name: "one that is used: SCOPE is what was used", args: "+edns=0 +subnet=2001:db8:5::/48 hash.edge.example. AAAA", want: "NOERROR aa\nhash.edge.example. 5 IN AAAA 2001:db8:3::1\n" + ednsLine0 + ", subnet 2001:db8:5::/48/48"},
		{name: "one that is longer than what is used", args: "+edns=0 +subnet=2001:db8:5:6:7::/80 hash.edge.example. AAAA", want: "NOERROR aa\nhash.edge.example. 5 IN AAAA 2001:db8:3::1\n" + ednsLine0 + ", subnet 2001:db8:5:6:7::/80/56"},
		{name: "a client that hides: /0", args: "+edns=0 +subnet=0.0.0.0/0 hash.edge.example. AAAA", want: "NOERROR aa\nhash.edge.example. 5 IN AAAA 2001:db8:3::1\n" + ednsLine0 + ", subnet 0.0.0.0/0/0"},
	})
}

// conform asks over UDP and TCP, dig over IPv6 and kdig over IPv4.
func conform(t *testing.T, tests []conformance) {
	clients := map[string]digger{"::1": newDigger(t, "dig"), "127.0.0.1": newDigger(t, "kdig")}
	startConforming(t, conformanceConfig)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for server, d := range clients {
				want := strings.TrimRight(tt.want, "\n") + "\n"
				if tt.dig && d.name != "dig" {
					continue
				}
				for _, over := range []string{"+notcp", "+tcp"} {
					if over == "+tcp" && tt.tcp != "" {
						want = tt.tcp + "\n"
					}
					got := d.ask(t, server, over+" "+tt.args)
					if diff := cmp.Diff(want, got.text); diff != "" {
						t.Errorf("%s @%s %s %s (-want +got):\n%s", d.name, server, over, tt.args, diff)
					}
					if asked := question(tt.args); got.question != "" && got.question != asked {
						t.Errorf("%s @%s %s %s: question %q came back as %q", d.name, server, over, tt.args, asked, got.question)
					}
				}
			}
		})
	}
}

// question returns what args ask, as the clients print it.
func question(args string) string {
	class, fields := "IN", strings.Fields(args)
	name, qtype := fields[max(len(fields)-2, 0)], fields[len(fields)-1]
	for i, f := range fields {
		switch f {
		case "-c":
			class = fields[i+1]
		case "-q":
			name = fields[i+1]
		}
	}
	return name + " " + class + " " + qtype
}

// TestWhatThereIs is the table that servers get wrong most: which names exist, and of which types they have records.
// NXDOMAIN would have a resolver believe that nothing below exists either (RFC 8020), NODATA is NOERROR without an answer. The
// zone above says it of the DS record of one inside.
func TestWhatThereIs(t *testing.T) {
	const table = `
name                              A        AAAA     TXT      SRV      NS       SOA      MX       CNAME    DS       TYPE999
edge.example.                     nodata   nodata   nodata   nodata   yes      yes      nodata   nodata   nodata   nodata
api.edge.example.                 yes      yes      yes      nodata   nodata   nodata   nodata   nodata   nodata   nodata
six.edge.example.                 nodata   yes      yes      nodata   nodata   nodata   nodata   nodata   nodata   nodata
four.edge.example.                yes      nodata   yes      nodata   nodata   nodata   nodata   nodata   nodata   nodata
a.b.c.edge.example.               nodata   yes      yes      nodata   nodata   nodata   nodata   nodata   nodata   nodata
b.c.edge.example.                 nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata
c.edge.example.                   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata
x.c.edge.example.                 nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain
x.a.b.c.edge.example.             nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain
_http._tcp.api.edge.example.      nodata   nodata   nodata   yes      nodata   nodata   nodata   nodata   nodata   nodata
_tcp.api.edge.example.            nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata
_udp.api.edge.example.            nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain
ip-10-1-0-10.api.edge.example.    yes      nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata
ip-10-1-0-11.api.edge.example.    nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain
x.ip-10-1-0-10.api.edge.example.  nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain
health.edge.example.              yes      yes      nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata
ns.edge.example.                  yes      yes      nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata
lab.edge.example.                 nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata
no.edge.example.                  nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain
*.edge.example.                   nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain
sub.lab.edge.example.             nodata   nodata   nodata   nodata   yes      yes      nodata   nodata   above    nodata
www.sub.lab.edge.example.         nodata   yes      yes      nodata   nodata   nodata   nodata   nodata   nodata   nodata
no.sub.lab.edge.example.          nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain nxdomain
10.0.1.10.in-addr.arpa.           nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata   nodata
`
	d := newDigger(t, "dig")
	startConforming(t, conformanceConfig)
	rows := strings.Split(strings.TrimSpace(table), "\n")
	types := strings.Fields(rows[0])[1:]
	for _, row := range rows[1:] {
		fields := strings.Fields(row)
		t.Run(fields[0], func(t *testing.T) {
			t.Parallel()
			answers := d.askAll(t, "::1", "+edns=0 "+fields[0]+" "+strings.Join(types, " "+fields[0]+" "))
			for i, want := range fields[1:] {
				got := answers[i]
				if kind := answerKind(got, fields[0]); kind != want {
					t.Errorf("%s: %s, want %s:\n%s", types[i], kind, want, got.text)
				}
			}
		})
	}
}

// answerKind tells what an answer says of a name's records, by the right zone's SOA record where there are none.
func answerKind(got transcript, name string) string {
	apex := soaLine
	switch {
	case strings.HasSuffix(name, ".arpa."):
		apex = ptrSOALine
	case strings.HasSuffix(name, "sub.lab.edge.example."):
		apex = subSOALine
	}
	switch got.text {
	case "NOERROR aa\nauthority " + apex + ednsLine0 + "\n":
		return "nodata"
	case "NXDOMAIN aa\nauthority " + apex + ednsLine0 + "\n":
		return "nxdomain"
	case "NOERROR aa\nauthority " + soaLine + ednsLine0 + "\n":
		return "above"
	}
	if strings.HasPrefix(got.text, "NOERROR aa\n"+name+" ") && !strings.Contains(got.text, "authority") {
		return "yes"
	}
	return "wrong"
}

// Zones are not for everybody to copy, whichever way one asks.
func TestNoTransfer(t *testing.T) {
	dig := newDigger(t, "dig")
	startConforming(t, conformanceConfig)
	for _, args := range []string{"+tcp edge.example. AXFR", "+tcp edge.example. IXFR=1", "+notcp edge.example. IXFR=1", "+tcp api.edge.example. AXFR"} {
		out, err := exec.CommandContext(t.Context(), dig.path, append([]string{"-r", "@::1", "+nocookie"}, strings.Fields(args)...)...).CombinedOutput()
		if err != nil || strings.Contains(string(out), "\tIN\t") {
			t.Errorf("dig %s: %v\n%s", args, err, out)
		}
	}
}
