package health

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/miekg/dns"
)

const qname = "health.edge.example."

// dnsServer answers each query with what reply makes of it, in order; nil is silence.
func dnsServer(t *testing.T, reply func(q *dns.Msg) [][]byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, dns.MaxMsgSize)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if err := q.Unpack(buf[:n]); err != nil {
				t.Errorf("query: %v", err)
				return
			}
			for _, b := range reply(q) {
				_, _ = c.WriteToUDPAddrPort(b, from)
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func pack(t *testing.T, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

func record(t *testing.T) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(qname + " 5 IN AAAA 2001:db8:53::53")
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

func TestDNSCheck(t *testing.T) {
	good := func(q *dns.Msg) *dns.Msg {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{record(t)}
		return m
	}
	ede := func(q *dns.Msg, code uint16, text string) *dns.Msg {
		m := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		m.SetEdns0(udpSize, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_EDE{InfoCode: code, ExtraText: text}}
		return m
	}
	for _, test := range []struct {
		name  string
		reply func(q *dns.Msg) [][]byte
		want  string
	}{
		{"good", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, good(q))} }, ""},
		{"good after noise", func(q *dns.Msg) [][]byte {
			late, other := good(q), good(q)
			late.Id++
			late.Rcode = dns.RcodeRefused
			other.Question[0].Name = "other.example."
			other.Rcode = dns.RcodeRefused
			return [][]byte{{1}, {}, pack(t, late), pack(t, other), pack(t, q), pack(t, good(q))}
		}, ""},
		{"truncated but with a record", func(q *dns.Msg) [][]byte {
			m := good(q)
			m.Truncated = true
			return [][]byte{pack(t, m)}
		}, ""},
		{"no record", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, new(dns.Msg).SetReply(q))} },
			"answered NOERROR without a record"},
		{"truncated to nothing", func(q *dns.Msg) [][]byte {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			return [][]byte{pack(t, m)}
		}, "over TCP: connection refused"},
		{"refused", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, new(dns.Msg).SetRcode(q, dns.RcodeRefused))} },
			"answered REFUSED"},
		{"not ready", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, ede(q, dns.ExtendedErrorCodeNotReady, ""))} },
			"answered SERVFAIL (EDE 14 Not Ready)"},
		{"extra text", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, ede(q, 999, "a\nb"))} },
			`answered SERVFAIL (EDE 999: "a\nb")`},
		{"format error without a question", func(q *dns.Msg) [][]byte {
			m := new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
			m.Question = nil
			return [][]byte{pack(t, m)}
		}, "answered FORMERR"},
		{"unknown rcode", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, new(dns.Msg).SetRcode(q, 15))} },
			"answered rcode 15"},
		{"malformed", func(q *dns.Msg) [][]byte { return [][]byte{pack(t, good(q))[:20]} },
			"malformed answer: bad question name: dns: buffer size too small"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := DNS{Target: dnsServer(t, test.reply), Name: qname, Type: dns.TypeAAAA}.Check(t.Context())
			if got := text(err); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// timedOut tells whether a check says that it waited so many milliseconds; what passed before it was asked it cannot wait.
func timedOut(got string, ms int) bool {
	waited, is := strings.CutPrefix(got, "no answer within ")
	d, err := time.ParseDuration(waited)
	return is && err == nil && d > 0 && d <= time.Duration(ms)*time.Millisecond
}

func TestDNSCheckAsksAnew(t *testing.T) {
	ids := make(chan uint16, 8)
	c := DNS{Target: dnsServer(t, func(q *dns.Msg) [][]byte {
		if got := q.Question[0]; got != (dns.Question{Name: qname, Qtype: dns.TypeAAAA, Qclass: dns.ClassINET}) {
			t.Errorf("question: %v", got)
		}
		ids <- q.Id
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{record(t)}
		return [][]byte{pack(t, m)}
	}), Name: "health.edge.example", Type: dns.TypeAAAA}
	seen := make(map[uint16]bool)
	for range cap(ids) {
		if err := c.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen[<-ids] = true
	}
	if len(seen) == 1 {
		t.Errorf("%d queries with one id, %v", cap(ids), seen)
	}
}

// Nobody holds the port: told by ICMP, not by the timeout; there is none here.
func TestDNSCheckRefused(t *testing.T) {
	if got := text(DNS{Target: unusedPort(t, "udp"), Name: qname, Type: dns.TypeAAAA}.Check(t.Context())); got != "connection refused" {
		t.Errorf("got %q", got)
	}
}

func TestDNSCheckTimeout(t *testing.T) {
	c := DNS{Target: dnsServer(t, func(*dns.Msg) [][]byte { return nil }), Name: qname, Type: dns.TypeAAAA}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if got := text(c.Check(ctx)); !timedOut(got, 20) {
		t.Errorf("got %q", got)
	}
}

func TestDNSCheckCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := DNS{Target: dnsServer(t, func(*dns.Msg) [][]byte { cancel(); return nil }), Name: qname, Type: dns.TypeAAAA}
	if c.Check(ctx) == nil {
		t.Error("a cancelled check passed")
	}
}

func TestDNSCheckBadName(t *testing.T) {
	if err := (DNS{Target: netip.MustParseAddrPort("[::1]:53"), Name: "a..b.", Type: dns.TypeAAAA}).Check(t.Context()); err == nil {
		t.Error("a name with an empty label passed")
	}
}

func FuzzMatch(f *testing.F) {
	c := dnsClient{DNS: DNS{Name: qname, Type: dns.TypeAAAA}, cookies: cookies{client: "0011223344556677"}}
	q := c.query(time.Now())
	q.Id = 0x1234
	seed := func(rcode int, options ...dns.EDNS0) {
		m := new(dns.Msg).SetRcode(q, rcode)
		m.SetEdns0(udpSize, false)
		m.IsEdns0().Option = options
		rr, err := dns.NewRR(qname + " 5 IN AAAA 2001:db8:53::53")
		if err != nil {
			f.Fatal(err)
		}
		m.Answer = []dns.RR{rr}
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeServerFailure, dns.RcodeBadCookie} {
		seed(rcode, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeNotReady, ExtraText: "starting"})
		for _, cookie := range []string{c.cookies.client, c.cookies.client + serverA, serverA + serverB, "00", ""} {
			seed(rcode, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie})
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := match(b, q)
		if m == nil {
			return
		}
		if err != nil || m.Id != q.Id || !m.Response {
			t.Errorf("%v matches, error %v", m, err)
		}
		_ = judge(m, q.Question[0])
		_ = ignorant(q, m)
		learned := c.cookies
		learned.learn(q, m, time.Now())
		if next := learned.next(time.Now()); next != "" && foreign(next, c.cookies.client) {
			t.Errorf("%v makes the next query bring %q", m, next)
		}
	})
}

// What a server writes into a stream may be cut anywhere.
func FuzzDNSMessage(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 3, 1, 2, 3})
	f.Add([]byte{0, 3, 1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := dnsMessage(iotest.OneByteReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		if size := int(b[0])<<8 | int(b[1]); !bytes.Equal(got, b[2:2+size]) {
			t.Errorf("%x gives %x", b, got)
		}
	})
}
