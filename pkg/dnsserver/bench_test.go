package dnsserver

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BenchmarkReply is all but the sockets: octets in, octets out, counted.
func BenchmarkReply(b *testing.B) {
	limit := RateLimit{Rate: 1e9, Burst: 1e9}
	for _, bm := range []struct {
		name, question string
		option         dns.EDNS0
		RateLimit
	}{
		{"two of three", "api.edge.example. AAAA", nil, RateLimit{}},
		{"nxdomain", "no.edge.example. AAAA", nil, RateLimit{}},
		{"client subnet", "api.edge.example. AAAA", subnetOption("10.2.3.0", 24), RateLimit{}},
		{"new cookie", "api.edge.example. AAAA", cookieOption(newCookie), RateLimit{}},
		{"good cookie", "api.edge.example. AAAA", cookieOption(goodCookie), RateLimit{}},
		{"rate limit", "api.edge.example. AAAA", nil, limit},
		{"rate limit and good cookie", "api.edge.example. AAAA", cookieOption(goodCookie), limit},
		{"over the limit", "api.edge.example. AAAA", nil, RateLimit{Rate: 1, Burst: 1, Slip: 1}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			s, err := New(Config{Site: "mec-1", Protection: Protection{testCookies, bm.RateLimit}})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Set(testContent(true)); err != nil {
				b.Fatal(err)
			}
			query, buf, q := pack(b, ask(bm.question, edns(1232))), make([]byte, udpPayload), new(question)
			if bm.option != nil {
				query = pack(b, ask(bm.question, edns(1232, bm.option)))
			}
			count := s.metrics.shared(udp, false)
			b.ReportAllocs()
			for b.Loop() {
				s.answer(buf, query, q, testClient, count, moment{seconds: testSeconds})
			}
		})
	}
}

// BenchmarkLimiter counts clients that are strangers to the processor's caches.
func BenchmarkLimiter(b *testing.B) {
	l, a, n := newLimiter(RateLimit{Rate: 1000, Burst: 2500}), testClient.As16(), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		n++
		x := n * 0x9e3779b97f4a7c15
		a[4], a[5], a[6], a[7], a[15] = byte(x>>60), byte(x>>32), byte(x>>40), byte(x>>48), byte(x>>56)
		l.over(netip.AddrFrom16(a), n*uint64(time.Microsecond/tick))
	}
}
