package probe

import (
	"encoding/hex"
	"net/netip"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

func newTestQueries(t testing.TB) *queries {
	t.Helper()
	q, err := newQueries(Question{Name: "api.edge.example", Type: "aaaa"})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// respond answers a query as site, with one AAAA record.
func dnsResponse(t testing.TB, query []byte, site string) *dns.Msg {
	t.Helper()
	var m dns.Msg
	if err := m.Unpack(query); err != nil {
		t.Fatal(err)
	}
	r := new(dns.Msg).SetReply(&m)
	r.Answer = append(r.Answer, record(t, m.Question[0].Name+" 5 IN AAAA 2001:db8:1::10"))
	if site != "" {
		r.SetEdns0(udpSize, false)
		opt := r.IsEdns0()
		opt.Option = append(opt.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte(site))})
	}
	return r
}

func record(t testing.TB, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestQueriesAskForNSID(t *testing.T) {
	t.Parallel()
	q := newTestQueries(t)
	var m dns.Msg
	if err := m.Unpack(q.encode(nil, 3, 0)); err != nil {
		t.Fatal(err)
	}
	want := []dns.Question{{Name: "api.edge.example.", Qtype: dns.TypeAAAA, Qclass: dns.ClassINET}}
	if diff := gocmp.Diff(want, m.Question); diff != "" {
		t.Errorf("question (-want +got)\n%s", diff)
	}
	opt := m.IsEdns0()
	if opt == nil || len(opt.Option) != 1 || opt.Option[0].Option() != dns.EDNS0NSID || opt.UDPSize() != udpSize {
		t.Errorf("EDNS: %v; want an empty NSID option and %d bytes", opt, udpSize)
	}
	if m.Id != q.base+3 || m.RecursionDesired {
		t.Errorf("id %d, RD %v; want %d and no RD", m.Id, m.RecursionDesired, q.base+3)
	}
}

func TestDNSAnswers(t *testing.T) {
	t.Parallel()
	q := newTestQueries(t)
	query := q.encode(nil, 7, 0)
	for name, tt := range map[string]struct {
		change func(*dns.Msg)
		site   string
		ok     bool
		failed bool
	}{
		"answered":          {func(*dns.Msg) {}, "mec-1", true, false},
		"case is no matter": {func(m *dns.Msg) { m.Question[0].Name = "API.edge.EXAMPLE." }, "mec-1", true, false},
		"NODATA":            {func(m *dns.Msg) { m.Answer = nil }, "mec-1", true, true},
		"NXDOMAIN":          {func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, "mec-1", true, true},
		"SERVFAIL":          {func(m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeServerFailure, nil }, "mec-1", true, true},
		"without EDNS":      {func(m *dns.Msg) { m.Extra = nil }, noSite, true, false},
		"a query":           {func(m *dns.Msg) { m.Response = false }, "", false, false},
		"another name":      {func(m *dns.Msg) { m.Question[0].Name = "x.example." }, "", false, false},
		"another type":      {func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA }, "", false, false},
		"another class":     {func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, "", false, false},
		"no question":       {func(m *dns.Msg) { m.Question = nil }, "", false, false},
		"an update":         {func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }, "", false, false},
		"an id to come":     {func(m *dns.Msg) { m.Id += 3 }, "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := &queries{question: q.question, wire: q.wire, base: q.base}
			m := dnsResponse(t, query, "mec-1")
			tt.change(m)
			a, ok := q.decode(pack(t, m), 9)
			if ok != tt.ok || string(a.site) != tt.site || a.failed != tt.failed || ok && a.seq != 7 {
				t.Errorf("got %+v (site %q), %v", a, a.site, ok)
			}
		})
	}
}

// The 16-bit ids wrap around: an id means the newest probe that has it.
func TestDNSIdsWrap(t *testing.T) {
	t.Parallel()
	q := newTestQueries(t)
	for _, base := range []uint16{0, 1, 40000, 65535} {
		q.base = base
		for _, seq := range []uint64{0, 1, 65534, 65535, 65536, 65537, 1 << 20, 1<<40 + 65535} {
			for _, behind := range []uint64{0, 1, 1000, 65535} {
				a, ok := q.decode(pack(t, dnsResponse(t, q.encode(nil, seq, 0), "s")), seq+behind)
				if !ok || a.seq != seq {
					t.Errorf("base %d: answer to %d, %d behind: taken for %d, %v", base, seq, behind, a.seq, ok)
				}
			}
		}
	}
}

// A whole run over the wrap: nothing may be taken for anything else.
func TestDNSRunOverTheWrap(t *testing.T) {
	t.Parallel()
	q, tally := newTestQueries(t), newTally(time100us, usualPoints)
	response := pack(t, dnsResponse(t, q.encode(nil, 0, 0), "mec-1"))
	const probes = 140_000 // more than two times all ids
	for n := range uint64(probes) {
		now := begin + int64(n)*int64(time100us)
		tally.send(now, now)
		if n%1000 == 0 || n < 5 {
			continue // lost
		}
		// Answers come 5 probes late: 500 us.
		copy(response, q.encode(nil, n-5, 0)[:2])
		a, ok := q.decode(response, tally.next-1)
		if !ok || a.seq != n-5 || !tally.receive(a, now) {
			t.Fatalf("probe %d: %+v, %v", n-5, a, ok)
		}
	}
	var r Report
	tally.report(&r, time100us)
	if r.Received != probes-probes/1000-4 || r.Late != 0 || r.Duplicates != 0 {
		t.Errorf("received %d, late %d, duplicates %d", r.Received, r.Late, r.Duplicates)
	}
}

const time100us = minInterval

func TestNSIDSites(t *testing.T) {
	t.Parallel()
	for nsid, want := range map[string]string{
		"":                        noSite,
		"mec-1":                   "mec-1",
		"a b":                     "612062",
		"\x1b[2J":                 "1b5b324a",
		"\x00\xff":                "00ff",
		string(make([]byte, 100)): string(hex.EncodeToString(make([]byte, maxNSID/2))),
	} {
		if got := nsidSite([]byte(nsid)); got != want {
			t.Errorf("NSID %q: site %q, want %q", nsid, got, want)
		}
	}
}

func TestBadQuestions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, kind, want string }{
		{"a.example", "NOPE", `DNS type "NOPE": unknown: want one as AAAA, A, SOA, TXT`},
		{"a.example", "", `DNS type "": unknown: want one as AAAA, A, SOA, TXT`},
		{"a.example", "OPT", `DNS type "OPT": unknown: want one as AAAA, A, SOA, TXT`},
		{"", "A", `DNS name "": not a domain name`},
		{"a..b", "A", `DNS name "a..b": not a domain name`},
	} {
		if _, err := newQueries(Question{tt.name, tt.kind}); err == nil || err.Error() != tt.want {
			t.Errorf("%q %q: %v, want %s", tt.name, tt.kind, err, tt.want)
		}
		if _, err := Query(t.Context(), netip.MustParseAddrPort("[::1]:9"), Question{tt.name, tt.kind}); err == nil || err.Error() != tt.want {
			t.Errorf("Query %q %q: %v, want %s", tt.name, tt.kind, err, tt.want)
		}
	}
}

// FuzzDNSAnswer: no bytes panic; what is an answer is one to a probe that was sent, from a site with a clean name.
func FuzzDNSAnswer(f *testing.F) {
	q := newTestQueries(f)
	q.base = 0
	query := q.encode(nil, 3, 0)
	f.Add(query, uint64(3))
	f.Add(pack(f, dnsResponse(f, query, "mec-1")), uint64(70_000))
	f.Add(pack(f, dnsResponse(f, query, "")), uint64(2))
	f.Fuzz(func(t *testing.T, packet []byte, newest uint64) {
		q := &queries{question: q.question, wire: q.wire}
		a, ok := q.decode(packet, newest)
		if !ok {
			return
		}
		if a.seq > newest || newest-a.seq > 65535 || !validSite(a.site) || len(a.site) > maxNSID {
			t.Fatalf("%x at %d: %+v, site %q", packet, newest, a, a.site)
		}
	})
}

func BenchmarkDNSDecode(b *testing.B) {
	q := newTestQueries(b)
	packet := pack(b, dnsResponse(b, q.encode(nil, 7, 0), "mec-1"))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := q.decode(packet, 9); !ok {
			b.Fatal("not decoded")
		}
	}
}
