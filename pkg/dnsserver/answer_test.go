package dnsserver

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const (
	soa    = "edge.example. 5 IN SOA ns.edge.example. hostmaster.edge.example. 1767225600 3600 600 86400 5\n"
	subSOA = "sub.lab.edge.example. 2 IN SOA ns.far.sub.lab.edge.example. hostmaster.sub.lab.edge.example. 1767225600 3600 600 86400 2\n"
	// briefly is NODATA of a service in panic.
	briefly = "NOERROR aa\nauthority edge.example. 1 IN SOA ns.edge.example. hostmaster.edge.example. 1767225600 3600 600 86400 1\n"
)

type messageCase struct {
	name  string // empty: the question
	query *dns.Msg
	want  string
}

func testMessages(t *testing.T, c Content, tests []messageCase) {
	for _, tt := range tests {
		if tt.name == "" {
			tt.name = strings.ReplaceAll(strings.TrimPrefix(tt.query.Question[0].String(), ";"), "\t", " ")
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, x := reply(testSnapshot(t, c), nil, pack(t, tt.query), udp, testClient)
			got := new(dns.Msg)
			if err := got.Unpack(out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimLeft(tt.want, "\n"), show(got)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if got.Id != tt.query.Id || x.rcode != got.Rcode {
				t.Errorf("id %d, counted as %d: want %d, %d", got.Id, x.rcode, tt.query.Id, got.Rcode)
			}
			if diff := cmp.Diff(tt.query.Question, got.Question); diff != "" && len(got.Question) > 0 {
				t.Errorf("question (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	testMessages(t, testContent(true), []messageCase{
		{query: ask("api.edge.example. AAAA"), want: `
NOERROR aa
api.edge.example. 30 IN AAAA 2001:db8:1::10
api.edge.example. 30 IN AAAA 2001:db8:1::11
`},
		{query: ask("api.edge.example. A"), want: `
NOERROR aa
api.edge.example. 30 IN A 10.1.0.10
`},
		{name: "the question's case comes back", query: ask("aPI.eDge.EXample. AAAA"), want: `
NOERROR aa
aPI.eDge.EXample. 30 IN AAAA 2001:db8:1::10
aPI.eDge.EXample. 30 IN AAAA 2001:db8:1::11
`},
		{name: "also that of a zone", query: ask("eDge.EXample. NS"), want: `
NOERROR aa
eDge.EXample. 30 IN NS ns.edge.example.
eDge.EXample. 30 IN NS ns.backup.example.
additional ns.edge.example. 30 IN AAAA 2001:db8:53::53
additional ns.edge.example. 30 IN A 192.0.2.53
`},
		{query: ask("edge.example. SOA"), want: "NOERROR aa\n" + soa},
		{query: ask("edge.example. NS"), want: `
NOERROR aa
edge.example. 30 IN NS ns.edge.example.
edge.example. 30 IN NS ns.backup.example.
additional ns.edge.example. 30 IN AAAA 2001:db8:53::53
additional ns.edge.example. 30 IN A 192.0.2.53
`},
		{query: ask("ns.edge.example. AAAA"), want: "NOERROR aa\nns.edge.example. 30 IN AAAA 2001:db8:53::53\n"},
		{query: ask("ns.edge.example. A"), want: "NOERROR aa\nns.edge.example. 30 IN A 192.0.2.53\n"},
		{query: ask("health.edge.example. AAAA"), want: "NOERROR aa\nhealth.edge.example. 30 IN AAAA 2001:db8:53::53\n"},
		{query: ask("health.edge.example. A"), want: "NOERROR aa\nhealth.edge.example. 30 IN A 192.0.2.53\n"},
		{name: "the closest zone answers", query: ask("api.sub.lab.edge.example. AAAA"), want: `
NOERROR aa
api.sub.lab.edge.example. 2 IN AAAA 2001:db8:2::10
`},
		{name: "apex of the zone inside", query: ask("sub.lab.edge.example. NS"), want: `
NOERROR aa
sub.lab.edge.example. 2 IN NS ns.far.sub.lab.edge.example.
additional ns.far.sub.lab.edge.example. 2 IN AAAA 2001:db8:53::53
`},
		{name: "RFC 8482", query: ask("api.edge.example. ANY"), want: "NOERROR aa\napi.edge.example. 30 IN HINFO \"RFC8482\" \"\"\n"},
	})
}

func TestNothingThere(t *testing.T) {
	noData, nxDomain := "NOERROR aa\nauthority "+soa, "NXDOMAIN aa\nauthority "+soa
	testMessages(t, testContent(true), []messageCase{
		{name: "no such type", query: ask("api.edge.example. MX"), want: noData},
		{name: "no address of this family", query: ask("a.b.edge.example. A"), want: noData},
		{name: "apex has no address", query: ask("edge.example. AAAA"), want: noData},
		{name: "no glue of this family", query: ask("health.sub.lab.edge.example. A"), want: "NOERROR aa\nauthority " + subSOA},
		{name: "service has no SOA", query: ask("api.edge.example. SOA"), want: noData},
		{name: "service without endpoints", query: ask("none.edge.example. AAAA"), want: noData},
		{name: "empty non-terminal", query: ask("b.edge.example. AAAA"), want: noData},
		{name: "empty non-terminal, ANY", query: ask("b.edge.example. ANY"), want: noData},
		{name: "above a zone inside", query: ask("LAB.edge.example. AAAA"), want: noData},
		{name: "above a name server", query: ask("far.sub.lab.edge.example. NS"), want: "NOERROR aa\nauthority " + subSOA},
		{name: "the zone above answers for DS", query: ask("sub.LAB.edge.example. DS"), want: noData},
		{name: "which is not ours", query: ask("edge.example. DS"), want: noData},
		{name: "nor is the cut", query: ask("api.sub.lab.edge.example. DS"), want: "NOERROR aa\nauthority " + subSOA},
		{name: "unknown type", query: ask("api.edge.example. NONE", func(q *dns.Msg) { q.Question[0].Qtype = 1000 }), want: noData},
		{name: "no such name", query: ask("no.edge.example. AAAA"), want: nxDomain},
		{name: "below a service", query: ask("x.api.edge.example. AAAA"), want: nxDomain},
		{name: "no such name, ANY", query: ask("no.edge.example. ANY"), want: nxDomain},
		{name: "no such name in the zone inside", query: ask("no.sub.lab.edge.example. A"), want: "NXDOMAIN aa\nauthority " + subSOA},
		{name: "a longer label is another name", query: ask("xapi.edge.example. AAAA"), want: nxDomain},
		{name: "an escaped dot is no dot", query: ask(`api\.edge.example. AAAA`), want: "REFUSED\n"},
	})
}

func TestPanicRule(t *testing.T) {
	testMessages(t, testContent(true), []messageCase{
		{query: ask("sick.edge.example. AAAA"), want: "NOERROR aa\nsick.edge.example. 1 IN AAAA 2001:db8:1::30\n"},
		{name: "told to who speaks EDNS", query: ask("sick.edge.example. AAAA", edns(4096)), want: `
NOERROR aa
sick.edge.example. 1 IN AAAA 2001:db8:1::30
edns 0 udp 1232, ede 0 no endpoint is up: answering with all of them
`},
		{name: "the other family is well", query: ask("sick.edge.example. A", edns(4096)), want: `
NOERROR aa
sick.edge.example. 30 IN A 10.1.0.30
edns 0 udp 1232
`},
	})
}

func TestNotSynced(t *testing.T) {
	const notReady = "SERVFAIL\nedns 0 udp 1232, ede 14 not every endpoint was checked yet\n"
	testMessages(t, testContent(false), []messageCase{
		{query: ask("api.edge.example. AAAA", edns(1232)), want: notReady},
		{query: ask("api.edge.example. MX", edns(1232)), want: notReady},
		{query: ask("health.edge.example. AAAA", edns(1232)), want: notReady},
		{name: "who is unsure does not say NXDOMAIN", query: ask("no.edge.example. AAAA", edns(1232)), want: notReady},
		{name: "nor NODATA", query: ask("b.edge.example. AAAA", edns(1232)), want: notReady},
		{name: "without EDNS", query: ask("api.edge.example. AAAA"), want: "SERVFAIL\n"},
		{query: ask("edge.example. SOA"), want: "NOERROR aa\n" + soa},
		{query: ask("ns.edge.example. A"), want: "NOERROR aa\nns.edge.example. 30 IN A 192.0.2.53\n"},
	})
}

func TestNotOurs(t *testing.T) {
	testMessages(t, testContent(true), []messageCase{
		{name: "another zone", query: ask("www.example. AAAA", edns(1232)), want: "REFUSED\nedns 0 udp 1232, ede 20 \n"},
		{name: "above the zone", query: ask("example. NS"), want: "REFUSED\n"},
		{name: "the root", query: ask(". NS"), want: "REFUSED\n"},
		{query: ask("id.server. CH TXT"), want: "NOERROR aa\nid.server. 0 CH TXT \"mec-1\"\n"},
		{query: ask("HostName.Bind. CH TXT"), want: "NOERROR aa\nHostName.Bind. 0 CH TXT \"mec-1\"\n"},
		{name: "id.server. CH A", query: ask("id.server. CH A"), want: "NOERROR aa\n"},
		{query: ask("version.bind. CH TXT"), want: "REFUSED\n"},
		{query: ask("version.server. CH TXT", edns(1232)), want: "REFUSED\nedns 0 udp 1232, ede 18 \n"},
		{query: ask("api.edge.example. CH AAAA"), want: "REFUSED\n"},
		{query: ask("id.server. TXT"), want: "REFUSED\n"},
		{query: ask("api.edge.example. HS AAAA", edns(1232)), want: "REFUSED\nedns 0 udp 1232, ede 21 only class IN is served\n"},
		{query: ask("api.edge.example. ANY AAAA"), want: "REFUSED\n"},
		{query: ask("edge.example. AXFR", edns(1232)), want: "REFUSED\nedns 0 udp 1232, ede 18 no zone transfers\n"},
		{query: ask("edge.example. IXFR"), want: "REFUSED\n"},
	})
}

func TestEDNSAndFlags(t *testing.T) {
	const answer = "a.b.edge.example. 30 IN AAAA 2001:db8:1::20\n"
	query := func(change ...func(*dns.Msg)) *dns.Msg { return ask("a.b.edge.example. AAAA", change...) }
	testMessages(t, testContent(true), []messageCase{
		{name: "plain", query: query(), want: "NOERROR aa\n" + answer},
		{name: "EDNS", query: query(edns(512)), want: "NOERROR aa\n" + answer + "edns 0 udp 1232\n"},
		{name: "NSID", query: query(edns(1232, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})), want: "NOERROR aa\n" + answer + "edns 0 udp 1232, nsid mec-1\n"},
		{
			name: "unknown options are not echoed", query: query(edns(1232, &dns.EDNS0_LOCAL{Code: 100, Data: []byte("x")}, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})),
			want: "NOERROR aa\n" + answer + "edns 0 udp 1232\n",
		},
		{
			name: "a client subnet does not matter here", query: query(edns(1232, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{192, 0, 2, 0}})),
			want: "NOERROR aa\n" + answer + "edns 0 udp 1232, subnet 192.0.2.0/24/0\n",
		},
		{name: "DO is copied", query: query(edns(1232), func(q *dns.Msg) { q.IsEdns0().SetDo() }), want: "NOERROR aa\n" + answer + "edns 0 udp 1232 do\n"},
		{name: "EDNS flags are cleared", query: query(edns(1232), func(q *dns.Msg) { q.IsEdns0().SetZ(0x80) }), want: "NOERROR aa\n" + answer + "edns 0 udp 1232\n"},
		{name: "EDNS 1", query: query(edns(1232), func(q *dns.Msg) { q.IsEdns0().SetVersion(1) }), want: "BADVERS\nedns 0 udp 1232\n"},
		{
			name: "EDNS 1 with NSID", query: query(edns(1232, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}), func(q *dns.Msg) { q.IsEdns0().SetVersion(255) }),
			want: "BADVERS\nedns 0 udp 1232\n",
		},
		{
			name: "flags", query: query(func(q *dns.Msg) {
				q.RecursionDesired, q.RecursionAvailable, q.AuthenticatedData, q.CheckingDisabled = true, true, true, true
				q.Zero, q.Authoritative, q.Truncated = true, true, true
			}),
			want: "NOERROR aa rd\n" + answer,
		},
		{name: "flags of refusals", query: ask("www.example. A", func(q *dns.Msg) { q.RecursionDesired = true }), want: "REFUSED rd\n"},
		{name: "two OPT records", query: query(edns(1232), func(q *dns.Msg) { q.Extra = append(q.Extra, dns.Copy(q.Extra[0])) }), want: "FORMERR\nedns 0 udp 1232\n"},
		{name: "OPT of a name", query: query(edns(1232), func(q *dns.Msg) { q.Extra[0].Header().Name = "x." }), want: "FORMERR\nedns 0 udp 1232\n"},
		{
			name: "other records are ignored", query: query(func(q *dns.Msg) { q.Answer = []dns.RR{&dns.NS{Hdr: header("x.", dns.TypeNS, 1), Ns: "y."}} }),
			want: "NOERROR aa\n" + answer,
		},
	})
}
