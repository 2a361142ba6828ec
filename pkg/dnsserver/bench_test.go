package dnsserver

import (
	"net/netip"
	"testing"
)

// BenchmarkReply is all but the sockets: octets in, octets out, counted.
func BenchmarkReply(b *testing.B) {
	for _, bm := range []struct{ name, question string }{
		{"two of three", "api.edge.example. AAAA"},
		{"nxdomain", "no.edge.example. AAAA"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			s, err := New(Config{Site: "mec-1"})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Set(testContent(true)); err != nil {
				b.Fatal(err)
			}
			query, buf, q := pack(b, ask(bm.question, edns(1232))), make([]byte, udpPayload), new(question)
			count := s.metrics.shared(udp, false)
			b.ReportAllocs()
			for b.Loop() {
				s.answer(buf, query, q, netip.IPv6Loopback(), count)
			}
		})
	}
}
