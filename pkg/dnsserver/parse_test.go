package dnsserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// FuzzQuestion: what the hot path reads, the library reads too, and it is the same question.
func FuzzQuestion(f *testing.F) {
	for _, m := range badMessages() {
		f.Add([]byte(m.message))
	}
	for _, q := range append(hotQueries(), hotBindQueries()...) {
		f.Add(pack(f, q.query))
	}
	f.Fuzz(func(t *testing.T, query []byte) {
		var q question
		read := q.read(query)
		var c client
		c.scan(query)
		m, opt := parse(query)
		if !read {
			return
		}
		if m == nil || q.options != c.options {
			t.Fatalf("read %x as %+v, and scanned it as %+v; the library: %v", query, q.options, c.options, m)
		}
		name := make([]byte, maxWireName)
		n, err := dns.PackDomainName(m.Question[0].Name, name, 0, nil, false)
		if err != nil || !bytes.EqualFold(name[:n], q.name[:q.size]) {
			t.Fatalf("%x: the name is %q, the library's %q (%v)", query, q.name[:q.size], name[:n], err)
		}
		if q.qtype != m.Question[0].Qtype || m.Question[0].Qclass != dns.ClassINET || q.edns != (opt != nil) ||
			opt != nil && (opt.Do() != q.do || opt.Version() != 0) || q.limit != room(opt, udp) {
			t.Fatalf("%x: read as %d, %v, %v, %d; the library: %v", query, q.qtype, q.edns, q.do, q.limit, m)
		}
	})
}

// FuzzFraming: however a stream is cut into segments, the queries in it are the same.
func FuzzFraming(f *testing.F) {
	two := framed(f, "edge.example. SOA", "no.edge.example. A")
	f.Add(two, []byte{1, 1, 1, 200})
	f.Add(two[:len(two)-1], []byte{1})
	f.Add([]byte{0, 0, 0, 1, 7, 0xff, 0xff}, []byte{3})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		if len(stream) > 1<<16 {
			return
		}
		whole, rest := queriesOf(t, stream, nil), stream
		for i, query := range whole {
			if n := int(binary.BigEndian.Uint16(rest)); n != len(query) || !bytes.Equal(rest[2:2+n], query) {
				t.Fatalf("query %d is %x", i, query)
			}
			rest = rest[2+len(query):]
		}
		if len(rest) >= 2 && len(rest) >= 2+int(binary.BigEndian.Uint16(rest)) {
			t.Fatalf("%x is left", rest)
		}
		cut := queriesOf(t, stream, cuts)
		if len(cut) != len(whole) {
			t.Fatalf("%d queries in segments, %d in one", len(cut), len(whole))
		}
		for i := range cut {
			if !bytes.Equal(cut[i], whole[i]) {
				t.Fatalf("query %d is %x, in segments %x", i, whole[i], cut[i])
			}
		}
	})
}

// segments is a connection whose reads return as many octets as cuts say, the last of them again and again.
type segments struct {
	net.Conn
	stream []byte
	cuts   []byte
}

func (s *segments) SetReadDeadline(time.Time) error { return nil }

func (s *segments) Read(b []byte) (int, error) {
	if len(s.stream) == 0 {
		return 0, io.EOF
	}
	n := len(s.stream)
	if len(s.cuts) > 0 {
		n = max(1, min(n, int(s.cuts[0])))
		if len(s.cuts) > 1 {
			s.cuts = s.cuts[1:]
		}
	}
	n = copy(b, s.stream[:n])
	s.stream = s.stream[n:]
	return n, nil
}

func queriesOf(t *testing.T, stream, cuts []byte) (all [][]byte) {
	c := &segments{stream: stream, cuts: cuts}
	for {
		query, err := readQuery(t.Context(), c, c, time.Second)
		switch {
		case err == nil:
			all = append(all, query)
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return all
		default:
			t.Fatal(err)
		}
	}
}

// The options of an OPT record are found wherever it is, and nowhere else.
func TestFindOPT(t *testing.T) {
	option := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	record := func(q *dns.Msg) {
		q.Answer = []dns.RR{&dns.NS{Hdr: header("x.edge.example.", dns.TypeNS, 1), Ns: "y.edge.example."}}
		q.Extra = append([]dns.RR{&dns.NS{Hdr: header("edge.example.", dns.TypeNS, 1), Ns: "y.edge.example."}}, q.Extra...)
		q.Compress = true
	}
	for name, tt := range map[string]struct {
		query []byte
		nsid  bool
	}{
		"none":               {pack(t, ask("edge.example. SOA")), false},
		"the only record":    {pack(t, ask("edge.example. SOA", edns(1232, option))), true},
		"among others":       {pack(t, ask("edge.example. SOA", edns(1232, option), record)), true},
		"in another section": {pack(t, ask("edge.example. SOA", edns(1232, option), func(q *dns.Msg) { q.Ns, q.Extra = q.Extra, nil })), false},
		"cut off":            {[]byte(strings.TrimSuffix(string(pack(t, ask("edge.example. SOA", edns(1232, option)))), "\x00")), false},
		"no question":        {pack(t, ask("edge.example. SOA", edns(1232, option), func(q *dns.Msg) { q.Question = nil })), true},
		"less than a header": {[]byte{1, 2, 3}, false},
	} {
		var c client
		if c.scan(tt.query); c.nsid != tt.nsid {
			t.Errorf("%s: found %v, want %v", name, c.nsid, tt.nsid)
		}
	}
}
