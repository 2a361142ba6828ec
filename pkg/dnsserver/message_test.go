package dnsserver

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// testTime is when test snapshots are compiled; their serial is 1767225600.
var testTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// testContent has a zone, a zone inside it, and services of every kind.
func testContent(synced bool) Content {
	return Content{
		Synced: synced,
		Zones: []Zone{
			{Name: "edge.example.", TTL: 30 * time.Second, NS: []NS{
				{Name: "ns.edge.example.", Addresses: addrs("2001:db8:53::53", "192.0.2.53")},
				{Name: "ns.backup.example."},
			}},
			{Name: "sub.lab.edge.example.", TTL: 2 * time.Second, NS: []NS{
				{Name: "ns.far.sub.lab.edge.example.", Addresses: addrs("2001:db8:53::53")},
			}},
		},
		Services: []steering.Service{
			testService("api.edge.example.", 2, "2001:db8:1::10 up", "2001:db8:1::11 up", "2001:db8:1::12 down", "10.1.0.10 up"),
			testService("a.b.edge.example.", 1, "2001:db8:1::20 up"),
			testService("sick.edge.example.", 1, "2001:db8:1::30 down", "10.1.0.30 up"),
			testService("none.edge.example.", 1),
			testService("api.sub.lab.edge.example.", 1, "2001:db8:2::10 up"),
		},
	}
}

// testService reads endpoints such as "2001:db8::1 up".
func testService(name string, answers int, endpoints ...string) steering.Service {
	s := steering.Service{Name: name, Policy: steering.RoundRobin, Answers: answers}
	for _, e := range endpoints {
		addr, state, _ := strings.Cut(e, " ")
		s.Endpoints = append(s.Endpoints, steering.Endpoint{
			Address: netip.MustParseAddr(addr),
			State:   map[string]steering.State{"up": steering.Up, "down": steering.Down, "unknown": steering.Unknown}[state],
		})
	}
	return s
}

func addrs(list ...string) (all []netip.Addr) {
	for _, a := range list {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

// testSnapshot compiles; the first of every picker is its first endpoint.
func testSnapshot(t testing.TB, c Content) *snapshot {
	t.Helper()
	s, err := compile("mec-1", c, nil, testTime, func() uint64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reply answers on the full path, of a server without cookies.
func reply(s *snapshot, buf, query []byte, p proto, from netip.Addr) ([]byte, exchange) {
	c := client{address: from, proto: p}
	c.scan(query)
	return s.reply(buf, query, &c)
}

// ask makes a query of "NAME [CLASS] TYPE".
func ask(question string, change ...func(*dns.Msg)) *dns.Msg {
	words := strings.Fields(question)
	q := new(dns.Msg)
	q.Id = 4711
	q.Question = []dns.Question{{Name: words[0], Qtype: dns.StringToType[words[len(words)-1]], Qclass: dns.ClassINET}}
	if len(words) == 3 {
		q.Question[0].Qclass = dns.StringToClass[words[1]]
	}
	for _, f := range change {
		f(q)
	}
	return q
}

// edns adds an OPT record with options.
func edns(size uint16, options ...dns.EDNS0) func(*dns.Msg) {
	return func(q *dns.Msg) {
		q.SetEdns0(size, false)
		q.IsEdns0().Option = options
	}
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// show writes a message as zone-file lines under a line of its header: all of it, but the id and the question, which
// must be the query's.
func show(m *dns.Msg) string {
	var b strings.Builder
	if m.Rcode == dns.RcodeBadVers {
		b.WriteString("BADVERS") // miekg/dns calls 16 by its other name, that of TSIG
	} else {
		b.WriteString(dns.RcodeToString[m.Rcode])
	}
	for _, flag := range []struct {
		set  bool
		name string
	}{
		{!m.Response, "QUERY"}, {m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"},
		{m.RecursionAvailable, "ra"}, {m.Zero, "z"}, {m.AuthenticatedData, "ad"}, {m.CheckingDisabled, "cd"},
	} {
		if flag.set {
			b.WriteString(" " + flag.name)
		}
	}
	b.WriteString("\n")
	for _, section := range []struct {
		name string
		rrs  []dns.RR
	}{{"", m.Answer}, {"authority ", m.Ns}, {"additional ", m.Extra}} {
		for _, rr := range section.rrs {
			if opt, ok := rr.(*dns.OPT); ok {
				b.WriteString(showOption(opt))
				continue
			}
			b.WriteString(section.name + strings.ReplaceAll(rr.String(), "\t", " ") + "\n")
		}
	}
	return b.String()
}

func showOption(opt *dns.OPT) string {
	s := fmt.Sprintf("edns %d udp %d", opt.Version(), opt.UDPSize())
	if opt.Do() {
		s += " do"
	}
	if opt.Z() != 0 {
		s += " z"
	}
	for _, o := range opt.Option {
		switch o := o.(type) {
		case *dns.EDNS0_NSID:
			id, _ := hex.DecodeString(o.Nsid)
			s += fmt.Sprintf(", nsid %s", id)
		case *dns.EDNS0_EDE:
			s += fmt.Sprintf(", ede %d %s", o.InfoCode, o.ExtraText)
		case *dns.EDNS0_COOKIE:
			s += ", cookie " + o.Cookie
		case *dns.EDNS0_SUBNET:
			s += fmt.Sprintf(", subnet %s/%d/%d", o.Address, o.SourceNetmask, o.SourceScope)
		default:
			s += fmt.Sprintf(", option %d", o.Option())
		}
	}
	return s + "\n"
}

// testClient is the resolver that asks.
var testClient = netip.MustParseAddr("2001:db8:c::53")
