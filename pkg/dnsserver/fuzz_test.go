package dnsserver

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"
)

// FuzzReply: whatever comes in, what goes out is nothing, or a response to it that is well-formed and not too long.
func FuzzReply(f *testing.F) {
	for _, m := range badMessages() {
		f.Add([]byte(m.message), false)
	}
	for _, q := range []*dns.Msg{
		ask("aPi.edge.example. AAAA"), ask("sick.edge.example. AAAA", edns(1232)), ask("b.edge.example. ANY"), ask("no.edge.example. A"),
		ask("edge.example. NS", edns(4096, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})), ask("id.server. CH TXT"), ask("www.example. A", edns(0)),
		ask(`a\000\.b.edge.example. A`), ask("edge.example. SOA", edns(1232), func(q *dns.Msg) { q.IsEdns0().SetVersion(1) }),
	} {
		f.Add(pack(f, q), true)
	}
	for _, q := range []string{"_http._tcp.web.edge.example. SRV", "ip-2001-db8-1--10.web.edge.example. AAAA", "10.0.1.10.in-addr.arpa. PTR", "hash.edge.example. A"} {
		f.Add(pack(f, ask(q, edns(1232, subnetOption("10.2.3.0", 24)))), false)
	}
	snapshots := []*snapshot{testSnapshot(f, testContent(true)), testSnapshot(f, testContent(false)), testSnapshot(f, podContent()), testSnapshot(f, accessContent())}
	f.Fuzz(func(t *testing.T, query []byte, stream bool) {
		p := udp
		if stream {
			p = tcp
		}
		for _, s := range snapshots {
			out, x := reply(s, make([]byte, 512), query, p, testClient)
			checkReply(t, query, out, x, p)
		}
	})
}

func checkReply(t *testing.T, query, out []byte, x exchange, p proto) {
	if (out == nil) != (x.dropped != answered) {
		t.Fatalf("reply %x, counted as %+v", out, x)
	}
	if len(query) < headerSize || query[2]&0x80 != 0 {
		if out != nil {
			t.Fatalf("answered %x, which is no query, with %x", query, out)
		}
		return
	}
	if out == nil {
		t.Fatalf("no answer to query %x", query)
	}
	if len(out) > allowed(query, p) {
		t.Fatalf("%d octets, %d allowed", len(out), allowed(query, p))
	}
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatalf("reply %x: %v", out, err)
	}
	// RFC 6891 section 6.1.1.
	if q := new(dns.Msg); q.Unpack(query) == nil && (q.IsEdns0() != nil) != (m.IsEdns0() != nil) {
		t.Fatalf("query %x has EDNS: %v; reply %x: %v", query, q.IsEdns0() != nil, out, m.IsEdns0() != nil)
	}
	// QR; the query's id, opcode and RD; never RA, AD, CD or Z.
	if !bytes.Equal(out[:2], query[:2]) || out[2]&0xf9 != 0x80|query[2]&0x79 || out[3]&0xf0 != 0 {
		t.Fatalf("reply header %x to %x", out[:4], query[:4])
	}
	if len(m.Question) == 1 && !bytes.HasPrefix(query[headerSize:], out[headerSize:end(out)]) {
		t.Fatalf("question %x of query %x", out[headerSize:end(out)], query)
	}
}

// allowed finds the size limit by its own reading of the query.
func allowed(query []byte, p proto) int {
	q := new(dns.Msg)
	switch {
	case p == tcp:
		return 65535
	case q.Unpack(query) != nil || q.IsEdns0() == nil || q.IsEdns0().UDPSize() < 512:
		return 512
	default:
		return min(int(q.IsEdns0().UDPSize()), 1232)
	}
}

// end finds where the question of a reply ends: its name is never compressed.
func end(out []byte) int {
	i := headerSize
	for out[i] != 0 {
		i += 1 + int(out[i])
	}
	return i + 5
}
