package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
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

// BenchmarkNoPlace asks for places that a service of a thousand endpoints does not have, by names that nobody asked for before.
func BenchmarkNoPlace(b *testing.B) {
	s := testSnapshot(b, manyContent(1000))
	for _, word := range []string{pinLabel, preferLabel} {
		b.Run(word, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				s.find(fmt.Sprintf("x%d.%s.many.edge.example.", n, word), noView)
			}
		})
	}
}

// BenchmarkBatch answers batches that ask for any of ten thousand names, as they come from the kernel; a query is a thirty-second of it.
func BenchmarkBatch(b *testing.B) {
	const names = 10_000
	c := Content{Synced: true, Zones: []Zone{{Name: "edge.example.", TTL: 30 * time.Second, NS: []NS{{Name: "ns.edge.example.", Addresses: addrs("2001:db8:53::53")}}}}}
	var queries [names][]byte
	for i := range names {
		sv := testService(fmt.Sprintf("name%05d.edge.example.", i), 4, "2001:db8:1::1 up", "2001:db8:1::2 up", "2001:db8:1::3 up", "2001:db8:1::4 up")
		c.Services = append(c.Services, sv)
		queries[i] = pack(b, ask(sv.Name+" AAAA", edns(1232)))
	}
	s, err := New(Config{Site: "mec-1", Protection: Protection{testCookies, RateLimit{Rate: 1e9, Burst: 1e9}}})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Set(c); err != nil {
		b.Fatal(err)
	}
	sock, in := &udpSocket{tally: s.metrics.shared(udp, false)}, newBatch(false)
	for i := range batchWidth {
		in.from[i].Family, in.from[i].Port, in.from[i].Addr = unix.AF_INET6, 1, testClient.As16()
	}
	random := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		for i := range batchWidth {
			in.in[i].len = uint32(copy(in.queries[i][:], queries[random.IntN(names)]))
		}
		s.warm(in, batchWidth)
		for i := range batchWidth {
			s.serveDatagram(sock, in, i, moment{seconds: testSeconds})
		}
		in.sending = 0
	}
}
