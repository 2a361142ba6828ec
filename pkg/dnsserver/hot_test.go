package dnsserver

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// frozen answers with the same pods every time, so that two paths can be compared.
func frozen(t testing.TB, c Content) *snapshot {
	t.Helper()
	s := testSnapshot(t, c)
	s.freeze()
	return s
}

// freeze has every turn begin with the first endpoint.
func (s *snapshot) freeze() {
	for _, c := range s.services {
		c.load().freeze()
		for _, v := range c.semantic {
			if v != nil {
				v.load().freeze()
			}
		}
	}
}

func (s *service) freeze() {
	for f := range s.pickers {
		s.pickers[f] = steering.NewPicker(s.Service, steering.Family(f), 0)
	}
	s.turn.Store(0)
	for _, v := range s.views {
		if v != nil && v != s {
			v.freeze()
		}
	}
}

// differ tells how what the hot path says, and what is told of that, differs from the full path.
func differ(t testing.TB, hot, full []byte, x, y exchange) string {
	t.Helper()
	return cmp.Diff(unpacked(t, full), unpacked(t, hot), cmpopts.EquateEmpty()) + cmp.Diff(y, x, cmp.AllowUnexported(exchange{}))
}

// paths are the two, each with a snapshot of its own of the same content.
type paths struct{ hot, full *snapshot }

func newPaths(t testing.TB, c Content) (p paths) {
	t.Helper()
	p = paths{testSnapshot(t, c), testSnapshot(t, c)}
	var n numbers
	n.assign(p.hot, nil)
	n.assign(p.full, nil)
	return p
}

// pathsFor answers a query on both paths.
func pathsFor(t testing.TB, c Content, query []byte, from netip.Addr) (hot, full []byte, x, y exchange) {
	t.Helper()
	return newPaths(t, c).answer(query, from)
}

// answer answers a query on both paths, which are in the same state.
func (p paths) answer(query []byte, from netip.Addr) (hot, full []byte, x, y exchange) {
	p.hot.freeze()
	p.full.freeze()
	g, count, at := &guard{jar: newJar(testCookies, [16]byte{})}, new(tally), moment{seconds: testSeconds}
	q := question{client: client{address: from}}
	if q.read(query) {
		g.seal(&q.client, count, at)
		hot, x = p.hot.hot(make([]byte, 0, udpPayload), query, &q)
	}
	other := client{address: from}
	other.scan(query)
	g.seal(&other, count, at)
	full, y = p.full.reply(make([]byte, 512), query, &other)
	return hot, full, x, y
}

// FuzzPaths: whatever the hot path answers, the full path answers too.
func FuzzPaths(f *testing.F) {
	for _, m := range badMessages() {
		f.Add([]byte(m.message))
	}
	for _, q := range slices.Concat(hotQueries(), hotBindQueries(), panicQueries()) {
		f.Add(pack(f, q.query))
	}
	var all []paths
	for _, c := range []Content{testContent(true), testContent(false), podContent(), accessContent(), namedContent(), bindContent(), panicContent(), stale(podContent()), stale(bindContent())} {
		all = append(all, newPaths(f, c))
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		for _, p := range all {
			hot, full, x, y := p.answer(query, testClient)
			if hot == nil {
				continue
			}
			if len(hot) > allowed(query, udp) {
				t.Fatalf("%d octets, %d allowed", len(hot), allowed(query, udp))
			}
			if diff := differ(t, hot, full, x, y); diff != "" {
				t.Fatalf("query %x (-full +hot):\n%s", query, diff)
			}
		}
	})
}

// unpacked reads a reply; names are compared without case, for compression takes the question's.
func unpacked(t testing.TB, b []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("reply %x: %v", b, err)
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			rr.Header().Name, rr.Header().Rdlength = dns.CanonicalName(rr.Header().Name), 0
			if soa, ok := rr.(*dns.SOA); ok {
				soa.Ns, soa.Mbox = dns.CanonicalName(soa.Ns), dns.CanonicalName(soa.Mbox)
			}
		}
	}
	return m
}

type hotQuery struct {
	name  string
	query *dns.Msg
	hot   bool
}

func hotQueries() []hotQuery {
	nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	return []hotQuery{
		{"a service", ask("api.edge.example. AAAA"), true},
		{"in mixed case", ask("aPi.EDGE.example. AAAA", edns(1232)), true},
		{"its IPv4 address", ask("api.edge.example. A", edns(1232)), true},
		{"with NSID and DO", ask("api.edge.example. AAAA", edns(4096, nsid), func(q *dns.Msg) { q.IsEdns0().SetDo() }), true},
		{"an unknown option", ask("api.edge.example. AAAA", edns(1232, &dns.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})), true},
		{"no IPv4 address", ask("a.b.edge.example. A", edns(1232)), true},
		{"no endpoint at all", ask("none.edge.example. AAAA"), true},
		{"no such type", ask("api.edge.example. HTTPS", edns(1232)), true},
		{"no such name", ask("no.edge.example. AAAA", edns(1232, nsid)), true},
		{"no such name of any type", ask("x.y.no.edge.example. MX"), true},
		{"no such name in the zone within", ask("No.sub.lab.edge.example. AAAA"), true},
		{"the health name", ask("health.edge.example. AAAA"), true},
		{"a name server", ask("ns.edge.example. A"), true},
		{"an empty name", ask("b.edge.example. AAAA"), false},
		{"panic has something to say", ask("sick.edge.example. AAAA", edns(1232)), false},
		{"maybe a pod", ask("ip-2001-db8-1--10.api.edge.example. AAAA"), false},
		{"client subnet", ask("api.edge.example. AAAA", edns(1232, subnetOption("10.2.3.0", 24))), true},
		{"client subnet of no such name", ask("no.edge.example. AAAA", edns(1232, subnetOption("2001:db8::", 32))), true},
		{"client subnet of an unknown family", ask("api.edge.example. AAAA", edns(1232, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte("\x00\x03\x08\x00\xc0")})), false},
		{"a new client's cookie", ask("api.edge.example. AAAA", edns(1232, cookieOption(newCookie), nsid)), true},
		{"a good cookie", ask("no.edge.example. AAAA", edns(1232, subnetOption("10.2.3.0", 24), cookieOption(goodCookie))), true},
		{"a bad cookie", ask("api.edge.example. A", edns(1232, cookieOption(newCookie+"01abcdef5cf78f71a314227b6679ebf5"))), true},
		{"a broken cookie", ask("api.edge.example. A", edns(1232, cookieOption("01"))), false},
		{"options that the library reads", ask("api.edge.example. AAAA", edns(1232, &dns.EDNS0_LOCAL{Code: dns.EDNS0EXPIRE, Data: []byte("x")}, &dns.EDNS0_LOCAL{Code: dns.EDNS0TCPKEEPALIVE, Data: []byte("xxx")})), true},
		{"EDNS version 1", ask("api.edge.example. AAAA", edns(1232), func(q *dns.Msg) { q.IsEdns0().SetVersion(1) }), false},
		{"a zone transfer", ask("no.edge.example. AXFR"), false},
		{"outside of all zones", ask("www.example. AAAA"), false},
		{"another class", ask("id.server. CH TXT"), false},
		{"DS of a zone in a zone", ask("sub.lab.edge.example. DS"), false},
		{"text", ask("api.edge.example. TXT"), false},
	}
}

func TestHotPath(t *testing.T) {
	testHot(t, testContent(true), hotQueries())
}

func testHot(t *testing.T, c Content, queries []hotQuery) {
	for _, tt := range queries {
		t.Run(tt.name, func(t *testing.T) {
			hot, full, x, y := pathsFor(t, c, pack(t, tt.query), testClient)
			if (hot != nil) != tt.hot {
				t.Fatalf("hot path answered: %v, want %v", hot != nil, tt.hot)
			}
			if hot == nil {
				return
			}
			if diff := differ(t, hot, full, x, y); diff != "" {
				t.Errorf("(-full +hot):\n%s", diff)
			}
		})
	}
}

// An answer that the hot path leaves to the full one for its length takes one turn.
func TestTooLongTakesOneTurn(t *testing.T) {
	c := bindContent()
	var many []string
	for i := range 16 {
		many = append(many, fmt.Sprintf("2001:db8:3::%x up", i))
	}
	sv := testService("many-pods-below-a-name-that-is-long.edge.example.", 16, many...)
	sv.ALPN = []string{"h2"}
	for i := range sv.Endpoints {
		sv.Endpoints[i].Port = 443
	}
	c.Services = append(c.Services, sv)
	for _, tt := range []struct {
		query *dns.Msg
		first func(*dns.Msg) any
	}{
		{ask(sv.Name + " AAAA"), func(m *dns.Msg) any { return m.Answer[0].(*dns.AAAA).AAAA }},
		{ask(sv.Name+" HTTPS", edns(512)), func(m *dns.Msg) any { return m.Answer[0].(*dns.HTTPS).Value[3].(*dns.SVCBIPv6Hint).Hint[0] }},
	} {
		s := contentServer(t, c, nil)
		s.current.Load().freeze()
		var q question
		var got []string
		for range 3 {
			out := s.answer(make([]byte, udpPayload), pack(t, tt.query), &q, testClient, s.metrics.shared(udp, false), moment{})
			got = append(got, fmt.Sprint(tt.first(unpack(t, out))))
		}
		if diff := cmp.Diff([]string{"2001:db8:3::", "2001:db8:3::1", "2001:db8:3::2"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.query.Question[0].String(), diff)
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	s := testSnapshot(t, bindContent())
	q := question{client: client{address: netip.IPv6Loopback()}}
	g, count := &guard{jar: newJar(testCookies, [16]byte{}), limiter: newLimiter(RateLimit{Rate: 1e6, Burst: 1e6}), teller: new(Server)}, new(tally)
	out := make([]byte, 0, udpPayload)
	for _, tt := range append(hotQueries(), hotBindQueries()...) {
		if !tt.hot {
			continue
		}
		query := pack(t, tt.query)
		if n := testing.AllocsPerRun(100, func() {
			q.read(query)
			g.stop(out, query, &q, count, moment{seconds: testSeconds})
			s.hot(out, query, &q)
		}); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// Warming a batch changes no answer, whatever is in it, and allocates nothing.
func TestWarm(t *testing.T) {
	s := testSnapshot(t, podContent())
	b := newBatch(false)
	for i := range batchWidth {
		q := hotQueries()[i%len(hotQueries())]
		b.in[i].len = uint32(copy(b.queries[i][:], pack(t, q.query)))
	}
	b.in[3].len, b.in[4].len = 0, headerSize+2 // no question, half of one
	if n := testing.AllocsPerRun(10, func() { s.warm(b, batchWidth) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if diff := cmp.Diff(everything(t, frozen(t, podContent())), everything(t, s)); diff != "" {
		t.Errorf("(-cold +warm):\n%s", diff)
	}
}
