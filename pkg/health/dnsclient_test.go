package health

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/dnsserver"
)

// answers makes the answer to the n-th query, from 0; nil hangs up.
type answers func(n int, q *dns.Msg, tcp bool) *dns.Msg

// peer serves a script over UDP and TCP until the test ends; asked tells how it was asked since the last call.
func peer(t *testing.T, answer answers) (addr netip.AddrPort, asked func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var n int
	var all []string
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		network := w.LocalAddr().Network()
		mu.Lock()
		m := answer(n, q, network == "tcp")
		n++
		all = append(all, network+" "+brings(q))
		mu.Unlock()
		if m == nil {
			_ = w.Close()
			return
		}
		_ = w.WriteMsg(m)
	})
	var servers sync.WaitGroup
	t.Cleanup(servers.Wait)
	for _, s := range []*dns.Server{{Listener: l, Handler: handler}, {PacketConn: c, Handler: handler}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		servers.Go(func() { _ = s.ActivateAndServe() })
		<-ready
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return netip.MustParseAddrPort(l.Addr().String()), func() []string {
		mu.Lock()
		defer mu.Unlock()
		defer func() { all = nil }()
		return all
	}
}

// brings tells what a query has beside its question.
func brings(q *dns.Msg) string {
	switch cookie := cookieOf(q); {
	case q.IsEdns0() == nil:
		return "plain"
	case cookie == "":
		return "edns"
	case len(cookie) == clientCookie:
		return "client"
	default:
		return "client+" + cookie[clientCookie:]
	}
}

// reply answers with a record; with EDNS if the query has it.
func reply(t *testing.T, q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Answer = []dns.RR{record(t)}
	if q.IsEdns0() != nil {
		m.SetEdns0(udpSize, false)
	}
	return m
}

// failure answers with an rcode instead.
func failure(t *testing.T, q *dns.Msg, rcode int) *dns.Msg {
	m := reply(t, q)
	m.Answer, m.Rcode = nil, rcode
	return m
}

func bare(m *dns.Msg) *dns.Msg { m.Extra = nil; return m }

func truncated(m *dns.Msg) *dns.Msg { m.Truncated = true; return m }

// sealed has the client's cookie in m, and the server's behind it.
func sealed(m, q *dns.Msg, server string) *dns.Msg {
	return withCookie(m, cookieOf(q)[:clientCookie]+server)
}

func withCookie(m *dns.Msg, cookie string) *dns.Msg {
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
	return m
}

const serverA, serverB = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb" // cookies of a server

// TestDNSClient makes a few attempts at servers of every kind. An attempt is what was asked, and then what the check says of it.
func TestDNSClient(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer answers
		want   [][]string
	}{
		{"cookies", func(n int, q *dns.Msg, _ bool) *dns.Msg {
			return sealed(reply(t, q), q, []string{serverA, serverA, serverB}[n])
		}, [][]string{{"udp client", "ok"}, {"udp client+" + serverA, "ok"}, {"udp client+" + serverA, "ok"}}},
		{"cookies with failures", func(_ int, q *dns.Msg, _ bool) *dns.Msg {
			return sealed(failure(t, q, dns.RcodeServerFailure), q, serverA)
		}, [][]string{{"udp client", "answered SERVFAIL"}, {"udp client+" + serverA, "answered SERVFAIL"}}},
		{"a cookie of its own that it will not have next time", func(n int, q *dns.Msg, _ bool) *dns.Msg {
			if strings.HasSuffix(cookieOf(q), serverB) {
				return sealed(reply(t, q), q, serverB)
			}
			return sealed(failure(t, q, dns.RcodeBadCookie), q, serverB)
		}, [][]string{{"udp client", "udp client+" + serverB, "ok"}, {"udp client+" + serverB, "ok"}}},
		{"BADCOOKIE but over TCP", func(_ int, q *dns.Msg, tcp bool) *dns.Msg {
			if tcp {
				return sealed(reply(t, q), q, serverA)
			}
			return sealed(failure(t, q, dns.RcodeBadCookie), q, serverB)
		}, [][]string{{"udp client", "udp client+" + serverB, "tcp client+" + serverB, "ok"}, {"udp client+" + serverA, "udp client+" + serverB, "tcp client+" + serverB, "ok"}}},
		{"BADCOOKIE for ever", func(_ int, q *dns.Msg, _ bool) *dns.Msg {
			return sealed(failure(t, q, dns.RcodeBadCookie), q, serverA)
		}, [][]string{{"udp client", "udp client+" + serverA, "tcp client+" + serverA, "answered BADCOOKIE"}}},
		{"EDNS without cookies", func(_ int, q *dns.Msg, _ bool) *dns.Msg { return reply(t, q) },
			[][]string{{"udp client", "ok"}, {"udp edns", "ok"}}},
		{"no EDNS, and passes it over", func(_ int, q *dns.Msg, _ bool) *dns.Msg { return bare(reply(t, q)) },
			[][]string{{"udp client", "ok"}, {"udp edns", "ok"}}},
		{"no EDNS: FORMERR", func(_ int, q *dns.Msg, _ bool) *dns.Msg {
			if q.IsEdns0() != nil {
				return bare(failure(t, q, dns.RcodeFormatError))
			}
			return reply(t, q)
		}, [][]string{{"udp client", "udp plain", "ok"}, {"udp plain", "ok"}}},
		{"no EDNS: NOTIMP", func(_ int, q *dns.Msg, _ bool) *dns.Msg {
			if q.IsEdns0() != nil {
				return bare(failure(t, q, dns.RcodeNotImplemented))
			}
			return reply(t, q)
		}, [][]string{{"udp client", "udp plain", "ok"}, {"udp plain", "ok"}}},
		{"no EDNS, and truncates", func(_ int, q *dns.Msg, tcp bool) *dns.Msg {
			if q.IsEdns0() != nil {
				return bare(failure(t, q, dns.RcodeFormatError))
			}
			if !tcp {
				return truncated(failure(t, q, dns.RcodeSuccess))
			}
			return reply(t, q)
		}, [][]string{{"udp client", "udp plain", "tcp plain", "ok"}, {"udp plain", "tcp plain", "ok"}}},
		{"cookies are a mistake", func(_ int, q *dns.Msg, _ bool) *dns.Msg {
			if cookieOf(q) != "" {
				return failure(t, q, dns.RcodeFormatError)
			}
			return reply(t, q)
		}, [][]string{{"udp client", "udp edns", "ok"}, {"udp edns", "ok"}}},
		{"everything is a mistake", func(_ int, q *dns.Msg, _ bool) *dns.Msg { return failure(t, q, dns.RcodeFormatError) },
			[][]string{{"udp client", "udp edns", "answered FORMERR"}, {"udp edns", "answered FORMERR"}}},
		{"truncated", func(_ int, q *dns.Msg, tcp bool) *dns.Msg {
			if !tcp {
				return sealed(truncated(failure(t, q, dns.RcodeSuccess)), q, serverA)
			}
			return sealed(reply(t, q), q, serverA)
		}, [][]string{{"udp client", "tcp client+" + serverA, "ok"}, {"udp client+" + serverA, "tcp client+" + serverA, "ok"}}},
		{"truncated over TCP too", func(_ int, q *dns.Msg, _ bool) *dns.Msg {
			return truncated(failure(t, q, dns.RcodeSuccess))
		}, [][]string{{"udp client", "tcp edns", "answered truncated, without a record"}}},
		{"truncated behind a record", func(_ int, q *dns.Msg, _ bool) *dns.Msg { return truncated(reply(t, q)) },
			[][]string{{"udp client", "ok"}}},
		{"truncated, and hangs up", func(_ int, q *dns.Msg, tcp bool) *dns.Msg {
			if tcp {
				return nil
			}
			return truncated(failure(t, q, dns.RcodeSuccess))
		}, [][]string{{"udp client", "tcp edns", "over TCP: closed without an answer"}}},
		{"cookies end", func(n int, q *dns.Msg, _ bool) *dns.Msg {
			if n == 0 {
				return sealed(reply(t, q), q, serverA)
			}
			return reply(t, q)
		}, [][]string{{"udp client", "ok"}, {"udp client+" + serverA, "tcp client", "ok"}, {"udp edns", "ok"}}},
		{"cookies end, and EDNS", func(n int, q *dns.Msg, _ bool) *dns.Msg {
			switch {
			case n == 0:
				return sealed(reply(t, q), q, serverA)
			case q.IsEdns0() != nil:
				return bare(failure(t, q, dns.RcodeFormatError))
			default:
				return reply(t, q)
			}
		}, [][]string{{"udp client", "ok"}, {"udp client+" + serverA, "tcp client", "tcp plain", "ok"}, {"udp plain", "ok"}}},
		{"somebody without a cookie answers", func(n int, q *dns.Msg, tcp bool) *dns.Msg {
			if n == 1 {
				return failure(t, q, dns.RcodeRefused)
			}
			return sealed(reply(t, q), q, serverA)
		}, [][]string{{"udp client", "ok"}, {"udp client+" + serverA, "tcp client", "ok"}, {"udp client+" + serverA, "ok"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr, asked := peer(t, test.answer)
			c := &dnsClient{DNS: DNS{Target: addr, Name: qname, Type: dns.TypeAAAA}}
			var got [][]string
			for range test.want {
				says := "ok"
				if err := c.Check(t.Context()); err != nil {
					says = err.Error()
				}
				got = append(got, append(asked(), says))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Nothing listens on TCP: the reason says so.
func TestDNSClientNoTCP(t *testing.T) {
	addr := dnsServer(t, func(q *dns.Msg) [][]byte { return [][]byte{pack(t, truncated(new(dns.Msg).SetReply(q)))} })
	if got := text(DNS{Target: addr, Name: qname, Type: dns.TypeAAAA}.Check(t.Context())); got != "over TCP: connection refused" {
		t.Errorf("got %q", got)
	}
}

// An answer with a cookie that is not to ours is no answer: it may be anybody's.
func TestDNSClientForeignCookie(t *testing.T) {
	for _, test := range []struct {
		name   string
		cookie func(own string) string
	}{
		{"of another client", func(own string) string { return strings.Repeat("0", clientCookie) + serverA }},
		{"of another client alone", func(own string) string { return strings.Repeat("0", clientCookie) }},
		{"cut off", func(own string) string { return own[:8] }},
		{"too short a part of the server", func(own string) string { return own + "00112233445566" }},
		{"too long", func(own string) string { return own + strings.Repeat("0", 66) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr := dnsServer(t, func(q *dns.Msg) [][]byte {
				wrong := withCookie(failure(t, q, dns.RcodeRefused), test.cookie(cookieOf(q)))
				return [][]byte{pack(t, wrong), pack(t, sealed(reply(t, q), q, serverA))}
			})
			c := &dnsClient{DNS: DNS{Target: addr, Name: qname, Type: dns.TypeAAAA}}
			if err := c.Check(t.Context()); err != nil || c.cookies.server != serverA {
				t.Errorf("says %v, keeps %q", err, c.cookies.server)
			}
		})
	}
}

// Our cookie is one per check, and does not show that a host is the same at another address.
func TestCookies(t *testing.T) {
	now := time.Now()
	one, other := new(cookies), new(cookies)
	first := one.next(now)
	if first == other.next(now) {
		t.Error("two checks have one cookie")
	}
	query := &dns.Msg{Extra: []dns.RR{new(dns.OPT)}}
	query.Extra[0].Header().Rrtype = dns.TypeOPT
	withCookie(query, first)
	one.learn(query, withCookie(query.Copy(), first+serverA), now)
	if got, want := one.next(now), first+serverA; got != want {
		t.Errorf("brings %q next, want %q", got, want)
	}
	one.of(netip.MustParseAddr("2001:db8::1"))
	second := one.next(now)
	if len(second) != clientCookie || second == first {
		t.Errorf("brings %q from another address, %q before", second, first)
	}
	one.learn(withCookie(query, second), new(dns.Msg), now)
	if got := one.next(now.Add(spared - 1)); got != "" {
		t.Errorf("brings %q to a server that knows no cookies", got)
	}
	if got := one.next(now.Add(spared)); len(got) != clientCookie || got == second {
		t.Errorf("brings %q after a while, %q before", got, second)
	}
}

// TestDNSCheckRateLimited asks edgedns far over its rate limit, which answers nobody then but those that hold its cookie.
func TestDNSCheckRateLimited(t *testing.T) {
	nettest.Need(t)
	addr := netip.MustParseAddrPort("[::1]:53")
	serveEdgedns(t, addr, dnsserver.RateLimit{Rate: 1, Burst: 1})
	c := &dnsClient{DNS: DNS{Target: addr, Name: qname, Type: dns.TypeAAAA}}
	for i := range 100 {
		if err := c.Check(t.Context()); err != nil {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
}

// Who comes when the limit is reached already gets the cookie with BADCOOKIE.
func TestDNSCheckRateLimitedFromTheStart(t *testing.T) {
	nettest.Need(t)
	addr := netip.MustParseAddrPort("[::1]:53")
	serveEdgedns(t, addr, dnsserver.RateLimit{Rate: 1, Burst: 1, Slip: 1})
	for i := range 100 {
		if err := (DNS{Target: addr, Name: qname, Type: dns.TypeAAAA}).Check(t.Context()); err != nil {
			t.Fatalf("check %d: %v", i, err)
		}
	}
}

func serveEdgedns(t *testing.T, addr netip.AddrPort, limit dnsserver.RateLimit) {
	t.Helper()
	sockets, err := dnsserver.Listen([]netip.AddrPort{addr})
	if err != nil {
		t.Fatal(err)
	}
	s, err := dnsserver.New(dnsserver.Config{Site: "mec-1", Listeners: sockets, Protection: dnsserver.Protection{RateLimit: limit}})
	if err != nil {
		t.Fatal(err)
	}
	ns := dnsserver.NS{Name: "ns.edge.example.", Addresses: []netip.Addr{netip.MustParseAddr("2001:db8:53::53")}}
	zone := dnsserver.Zone{Name: "edge.example.", TTL: 5 * time.Second, NS: []dnsserver.NS{ns}}
	if err := s.Set(dnsserver.Content{Zones: []dnsserver.Zone{zone}, Synced: true}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// TestDNSCheckPeers asks servers of other makes: BIND, which answers only who brings its cookie, and unbound, which knows none.
func TestDNSCheckPeers(t *testing.T) {
	nettest.Need(t)
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	zone := file("zone", "$TTL 5\n@ SOA ns root 1 2 3 4 5\n@ NS ns\nns AAAA 2001:db8:53::53\nhealth AAAA 2001:db8:53::53\n")
	nettest.StartDaemon(t, " running", nettest.Program(t, "named", "bind9"), "-g", "-c", file("named.conf", `
options {
  directory "`+dir+`";
  pid-file none; session-keyfile none; lock-file none;
  listen-on { none; }; listen-on-v6 port 5301 { ::1; };
  recursion no; dnssec-validation no; require-server-cookie yes;
};
controls { };
zone "edge.example" { type primary; file "`+zone+`"; };
`))
	nettest.StartDaemon(t, "start of service", nettest.Program(t, "unbound", "unbound"), "-d", "-c", file("unbound.conf", `
server:
  interface: ::1@5302
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  verbosity: 2
  local-zone: "edge.example." static
  local-data: "health.edge.example. AAAA 2001:db8:53::53"
remote-control:
  control-enable: no
`))
	for _, test := range []struct {
		name, target string
		cookie       bool
	}{{"BIND", "[::1]:5301", true}, {"unbound", "[::1]:5302", false}} {
		c := &dnsClient{DNS: DNS{Target: netip.MustParseAddrPort(test.target), Name: qname, Type: dns.TypeAAAA}}
		for tries := 0; tries < 1000 && c.Check(t.Context()) != nil; tries++ {
			time.Sleep(10 * time.Millisecond) // BIND says that it runs, and then answers SERVFAIL for a moment
		}
		for range 3 {
			if err := c.Check(t.Context()); err != nil || (c.cookies.server != "") != test.cookie {
				t.Errorf("%s: %v, its cookie %q", test.name, err, c.cookies.server)
			}
		}
	}
}
