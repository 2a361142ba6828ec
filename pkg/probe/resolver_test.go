package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// dnsServer answers over UDP and TCP on one port until the test ends.
func dnsServer(t *testing.T, handle dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	pair, err := listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(running.Wait) // the last one
	for _, s := range []*dns.Server{{PacketConn: pair.udp, Handler: handle}, {Listener: pair.tcp, Handler: handle}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		running.Go(func() { _ = s.ActivateAndServe() })
		<-ready
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return pair.addr()
}

func openResolver(t *testing.T, server netip.AddrPort) *Resolver {
	t.Helper()
	r, err := OpenResolver(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestResponses(t *testing.T) {
	t.Parallel()
	const soa = "edge.example. 60 IN SOA ns.edge.example. hostmaster.edge.example. 1 2 3 4 30"
	for name, tt := range map[string]struct {
		kind   string
		rcode  int
		answer []string
		ns     []string
		want   Response
	}{
		"addresses in their order, the shortest TTL": {
			kind: "AAAA", answer: []string{"a.edge.example. 5 IN AAAA 2001:db8::2", "a.edge.example. 4 IN AAAA 2001:db8::1"},
			want: Response{Rcode: "NOERROR", Site: noSite, Values: []string{"2001:db8::2", "2001:db8::1"}, TTL: 4 * time.Second,
				Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::1")}},
		},
		"IPv4": {
			kind: "A", answer: []string{"a.edge.example. 5 IN A 192.0.2.1"},
			want: Response{Rcode: "NOERROR", Site: noSite, Values: []string{"192.0.2.1"}, TTL: 5 * time.Second,
				Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		},
		"through a CNAME": {
			kind: "A", answer: []string{"a.edge.example. 2 IN CNAME b.edge.example.", "b.edge.example. 5 IN A 192.0.2.1"},
			want: Response{Rcode: "NOERROR", Site: noSite, Values: []string{"192.0.2.1"}, TTL: 2 * time.Second,
				Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
		},
		"text":     {kind: "TXT", answer: []string{`a.edge.example. 5 IN TXT "x y"`}, want: Response{Rcode: "NOERROR", Site: noSite, Values: []string{`"x y"`}, TTL: 5 * time.Second}},
		"NODATA":   {kind: "A", ns: []string{soa}, want: Response{Rcode: "NOERROR", Site: noSite, TTL: 30 * time.Second}},
		"NXDOMAIN": {kind: "A", rcode: dns.RcodeNameError, ns: []string{soa}, want: Response{Rcode: "NXDOMAIN", Site: noSite, TTL: 30 * time.Second}},
		"SERVFAIL": {kind: "A", rcode: dns.RcodeServerFailure, want: Response{Rcode: "SERVFAIL", Site: noSite}},
		"a TTL with the highest bit": {kind: "A", answer: []string{"a.edge.example. 4294967295 IN A 192.0.2.1"},
			want: Response{Rcode: "NOERROR", Site: noSite, Values: []string{"192.0.2.1"}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}},
	} {
		m := new(dns.Msg).SetQuestion("a.edge.example.", dns.StringToType[tt.kind])
		m.Rcode = tt.rcode
		for _, text := range tt.answer {
			m.Answer = append(m.Answer, record(t, text))
		}
		for _, text := range tt.ns {
			m.Ns = append(m.Ns, record(t, text))
		}
		if diff := gocmp.Diff(tt.want, response(m), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

// Many questions at a time, each with an answer of its own; every third is truncated and comes over TCP.
func TestResolverAsksManyAtATime(t *testing.T) {
	t.Parallel()
	server := dnsServer(t, func(w dns.ResponseWriter, m *dns.Msg) {
		r := new(dns.Msg).SetReply(m)
		if !m.RecursionDesired {
			r.Rcode = dns.RcodeRefused // as unbound does
			_ = w.WriteMsg(r)
			return
		}
		_, udp := w.RemoteAddr().(*net.UDPAddr)
		if name := m.Question[0].Name; udp && strings.HasPrefix(name, "big") {
			r.Truncated = true
		} else {
			rr, _ := dns.NewRR(name + ` 5 IN TXT "` + name + `"`)
			r.Answer = append(r.Answer, rr)
		}
		_ = w.WriteMsg(r)
	})
	resolver := openResolver(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var asking errgroup.Group
	asking.SetLimit(64) // what the server's receive buffer holds for sure: UDP loses, and Ask never asks again
	for n := range 300 {
		name := fmt.Sprintf("n%d.example.", n)
		if n%3 == 0 {
			name = "big" + name
		}
		asking.Go(func() error {
			r, err := resolver.Ask(ctx, Question{Name: name, Type: "TXT"})
			if err != nil || len(r.Values) != 1 || r.Values[0] != `"`+name+`"` {
				t.Errorf("%s: %+v, %v", name, r, err)
			}
			return nil
		})
	}
	_ = asking.Wait() // told already
	for _, s := range resolver.sockets {
		if len(s.pending) > 0 {
			t.Errorf("%d questions were forgotten", len(s.pending))
		}
	}
}

func TestResolverErrors(t *testing.T) {
	t.Parallel()
	silent := dnsServer(t, func(dns.ResponseWriter, *dns.Msg) {})
	gone, err := listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	gone.close()
	q := Question{Name: "a.example", Type: "A"}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := openResolver(t, silent).Ask(ctx, q); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a silent server: %v", err)
	}
	if _, err := openResolver(t, gone.addr()).Ask(t.Context(), q); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("no server: %v", err)
	}
	if _, err := openResolver(t, silent).Ask(t.Context(), Question{Name: "a..b", Type: "A"}); err == nil {
		t.Error("a name that is none was asked")
	}
	closed, err := OpenResolver(t.Context(), silent)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := closed.Ask(t.Context(), q); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// An answer to another question, or with another id, is not taken.
func TestResolverIgnoresForgedAnswers(t *testing.T) {
	t.Parallel()
	server := dnsServer(t, func(w dns.ResponseWriter, m *dns.Msg) {
		forged := new(dns.Msg).SetReply(m)
		forged.Question[0].Name = "b.example."
		_ = w.WriteMsg(forged)
		forged = new(dns.Msg).SetReply(m)
		forged.Id++
		_ = w.WriteMsg(forged)
		_, _ = w.Write([]byte("nonsense"))
		r := new(dns.Msg).SetReply(m)
		rr, _ := dns.NewRR("a.example. 5 IN A 192.0.2.1")
		r.Answer = append(r.Answer, rr)
		_ = w.WriteMsg(r)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := openResolver(t, server).Ask(ctx, Question{Name: "a.example", Type: "A"})
	if err != nil || len(r.Addresses) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// FuzzResponse reads any message that passes for an answer.
func FuzzResponse(f *testing.F) {
	for _, text := range []string{"a.example. 5 IN A 192.0.2.1", "a.example. 5 IN AAAA ::ffff:192.0.2.1", `a.example. 4294967295 IN TXT "x"`} {
		rr := record(f, text)
		m := new(dns.Msg).SetQuestion("a.example.", rr.Header().Rrtype)
		m.Response, m.Answer = true, []dns.RR{rr}
		f.Add(pack(f, m))
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var m dns.Msg
		if m.Unpack(wire) != nil || len(m.Question) != 1 || !answers(&m, m.Question[0]) {
			return
		}
		r := response(&m)
		if r.TTL < 0 || r.Rcode == "" || len(r.Addresses) > len(r.Values) {
			t.Errorf("%+v", r)
		}
	})
}
