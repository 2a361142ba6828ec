package dnsserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/steering"
)

// startServer runs a server with test content on addresses such as "[::1]:53", and stops it at the end of the test.
func startServer(t *testing.T, listen ...string) *Server {
	t.Helper()
	s := newServer(t, listen...)
	run(t, s)
	return s
}

func newServer(t *testing.T, listen ...string) *Server {
	t.Helper()
	l, err := Listen(addrPorts(listen...))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Site: "mec-1", Listeners: l})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(testContent(true)); err != nil {
		t.Fatal(err)
	}
	return s
}

// timeless logs as the program does, but for the time.
func timeless(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// run returns a function that ends the server and waits for it.
func run(t *testing.T, s *Server) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func addrPorts(list ...string) (all []netip.AddrPort) {
	for _, a := range list {
		all = append(all, netip.MustParseAddrPort(a))
	}
	return all
}

// query asks over the network; the client refuses an answer from another address than it asked.
func query(t *testing.T, network, server, question string) *dns.Msg {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 10 * time.Second}
	m, _, err := c.Exchange(ask(question), server)
	if err != nil {
		t.Fatalf("%s %s %s: %v", network, server, question, err)
	}
	return m
}

func TestServe(t *testing.T) {
	nettest.Need(t)
	s := startServer(t, "[::1]:53", "127.0.0.1:53")
	for _, network := range []string{"udp", "tcp"} {
		for _, server := range []string{"[::1]:53", "127.0.0.1:53"} {
			if m := query(t, network, server, "a.b.edge.example. AAAA"); len(m.Answer) != 1 || !m.Authoritative {
				t.Errorf("%s %s: %v", network, server, m)
			}
		}
	}
	for _, one := range s.metrics.tallies {
		for _, c := range one.made() {
			for i := range c.requests {
				if got := c.requests[i].Load(); got > 0 && typeLabel(i) != "AAAA" {
					t.Errorf("counted %v of %s", got, typeLabel(i))
				}
			}
		}
	}
	for _, key := range []transport{{proto: udp, v4: true}, {proto: udp}, {proto: tcp, v4: true}, {proto: tcp}} {
		if got := counted(s, key.proto, key.v4, typeIndex(dns.TypeAAAA)); got != 1 {
			t.Errorf("counted %v of %+v, want 1", got, key)
		}
	}
}

// made are the counts of all places.
func (t *tally) made() (all []*counts) {
	for i := range t.places {
		if c := t.places[i].Load(); c != nil {
			all = append(all, c)
		}
	}
	return all
}

// counted sums up what came over a transport.
func counted(s *Server, p proto, v4 bool, qtype int) (n uint64) {
	for _, one := range s.metrics.tallies {
		if one.proto == p && one.v4 == v4 {
			for _, c := range one.made() {
				n += c.requests[qtype].Load()
			}
		}
	}
	return n
}

func dropped(s *Server, reason dropReason) (n uint64) {
	for _, one := range s.metrics.tallies {
		n += one.drops[reason].Load()
	}
	return n
}

// An anycast address is bound before the host has it, and answers from the moment it has.
func TestAddressMayComeLater(t *testing.T) {
	nettest.Need(t)
	startServer(t, "[2001:db8:53::53]:53", "192.0.2.53:53")
	nettest.AddAddress(t, "2001:db8:53::53/128")
	nettest.AddAddress(t, "192.0.2.53/32")
	for _, network := range []string{"udp", "tcp"} {
		query(t, network, "[2001:db8:53::53]:53", "health.edge.example. AAAA")
		query(t, network, "192.0.2.53:53", "health.edge.example. AAAA")
	}
}

// A wildcard socket answers from the address that was asked, not from the one that routing likes.
func TestReplySourceOfWildcard(t *testing.T) {
	nettest.Need(t)
	nettest.AddAddress(t, "2001:db8:53::53/128")
	nettest.AddAddress(t, "2001:db8:53::54/128")
	nettest.AddAddress(t, "192.0.2.53/32")
	nettest.AddAddress(t, "192.0.2.54/32")
	startServer(t, "[::]:53", "0.0.0.0:53")
	for _, server := range []string{"[2001:db8:53::53]:53", "[2001:db8:53::54]:53", "[::1]:53", "192.0.2.53:53", "192.0.2.54:53", "127.0.0.1:53", "127.0.0.9:53"} {
		query(t, "udp", server, "a.b.edge.example. AAAA")
		query(t, "tcp", server, "a.b.edge.example. AAAA")
	}
}

func TestListenRefusesToShare(t *testing.T) {
	nettest.Need(t)
	const addr = "[::1]:53"
	const want = "bind: address already in use: another program answers there: stop it, or choose another address"
	t.Run("another edgedns", func(t *testing.T) {
		first, err := Listen(addrPorts(addr))
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		refuses(t, "listen [::1]:53: tcp: "+want, addr)
		refuses(t, "listen [::]:53: tcp: "+want, "[::]:53")
	})
	t.Run("a UDP socket that would share", func(t *testing.T) {
		sharing := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			return onDescriptor(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		}}
		c, err := sharing.ListenPacket(t.Context(), "udp6", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		refuses(t, "listen [::1]:53: udp: "+want, addr)
		refuses(t, "listen [::1]:53: udp: "+want, "127.0.0.1:53", addr) // what was opened is closed again
		refuses(t, "listen [::1]:53: udp: "+want, "127.0.0.1:53", addr)
	})
	t.Run("and is not shared later", func(t *testing.T) {
		l, err := Listen(addrPorts(addr))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if c, err := net.ListenPacket("udp6", addr); err == nil {
			c.Close()
			t.Error("another program could bind the address")
		}
	})
}

func refuses(t *testing.T, want string, listen ...string) {
	t.Helper()
	l, err := Listen(addrPorts(listen...))
	if err == nil {
		l.Close()
		t.Fatalf("listens on %v", listen)
	}
	if err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

// Port 0 is any port, the same for both transports.
func TestAnyPort(t *testing.T) {
	nettest.Need(t)
	s := startServer(t, "[::1]:0")
	server := s.sockets.Addrs()[0].String()
	query(t, "udp", server, "edge.example. SOA")
	query(t, "tcp", server, "edge.example. SOA")
}

func TestRunNeedsContent(t *testing.T) {
	nettest.Need(t)
	l, err := Listen(addrPorts("[::1]:0"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Site: "mec-1", Listeners: l})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); !errors.Is(err, errNoContent) {
		t.Errorf("Run = %v, want %v", err, errNoContent)
	}
}

// An end that comes before the start leaves nothing open either.
func TestRunAfterTheEnd(t *testing.T) {
	nettest.Need(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 { // what is ready first is chance
		if err := newServer(t, "[::1]:53", "127.0.0.1:53").Run(ctx); err != nil {
			t.Fatalf("Run = %v", err)
		}
	}
}

func TestSiteMustFit(t *testing.T) {
	for _, site := range []string{"", strings.Repeat("x", 256)} {
		if _, err := New(Config{Site: site}); err == nil {
			t.Errorf("site of %d octets is taken", len(site))
		}
	}
}

// Queries of every transport go on while content is replaced; each sees one content or the other, whole.
func TestSetUnderLoad(t *testing.T) {
	nettest.Need(t)
	s := startServer(t, "[::1]:53")
	even, odd := testContent(true), testContent(true)
	even.Services = []steering.Service{testService("api.edge.example.", 2, "2001:db8::2 up", "2001:db8::4 up")}
	odd.Services = []steering.Service{testService("api.edge.example.", 2, "2001:db8::1 up", "2001:db8::3 up")}
	if err := s.Set(even); err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	for _, network := range []string{"udp", "tcp", "udp"} {
		clients.Go(func() {
			for range 100 {
				m := query(t, network, "[::1]:53", "api.edge.example. AAAA")
				if len(m.Answer) != 2 || parity(m.Answer[0]) != parity(m.Answer[1]) {
					t.Errorf("mixed answer: %v", m.Answer)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { clients.Wait(); close(done) }()
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		if err := s.Set([]Content{even, odd}[i%2]); err != nil {
			t.Error(err)
		}
	}
}

func parity(rr dns.RR) byte { return rr.(*dns.AAAA).AAAA[15] % 2 }

func TestBadContentChangesNothing(t *testing.T) {
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(testContent(true)); err != nil {
		t.Fatal(err)
	}
	before := s.current.Load()
	if err := s.Set(Content{Services: []steering.Service{testService("api.other.", 1)}}); err == nil || s.current.Load() != before {
		t.Errorf("Set = %v, content changed: %v", err, s.current.Load() != before)
	}
}

// Going into panic and out of it is told once each, and only when the sources are synced.
func TestPanicIsTold(t *testing.T) {
	var log bytes.Buffer
	s, err := New(Config{Site: "mec-1", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	sick, well := testContent(true), testContent(true)
	well.Services[2].Endpoints[0].State = steering.Up
	for _, step := range []struct {
		content Content
		want    string
		panics  float64
	}{
		{testContent(false), "", 1},
		{sick, `msg=synced services=5|level=WARN msg=panic service=sick.edge.example. family=IPv6`, 1},
		{sick, "", 1},
		{well, `msg="panic is over" service=sick.edge.example. family=IPv6`, 0},
		{well, "", 0},
	} {
		log.Reset()
		if err := s.Set(step.content); err != nil {
			t.Fatal(err)
		}
		for _, want := range strings.Split(step.want, "|") {
			if !strings.Contains(log.String(), want) || step.want == "" && log.Len() > 0 {
				t.Errorf("told %q, want %q", log.String(), want)
			}
		}
		if got := s.current.Load().panicking(steering.IPv6); float64(got) != step.panics {
			t.Errorf("%d panic, want %v", got, step.panics)
		}
	}
}

// A source port of 0 cannot be answered.
func TestPortZeroIsDropped(t *testing.T) {
	nettest.Need(t)
	s := startServer(t, "127.0.0.1:53")
	forge(t, "127.0.0.1", 0, "127.0.0.1", pack(t, ask("edge.example. SOA")))
	waitFor(t, func() bool { return dropped(s, noPort) == 1 })
}

// waitFor gives other goroutines and the kernel time until ok.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("did not happen")
		}
	}
}

// A query that makes the code panic is dropped; the server lives.
func TestPanickingQueryIsDropped(t *testing.T) {
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{name: "x."}
	s.current.Store(&snapshot{synced: true, zones: map[string]*zone{"x.": z}, nodes: map[string]*node{"x.": {zone: z, kind: steered}}})
	for range 2 {
		if out := s.handle(pack(t, ask("x. AAAA")), &client{address: netip.IPv6Loopback()}, s.metrics.shared(udp, false)); out != nil {
			t.Errorf("answered %x", out)
		}
	}
	if got := dropped(s, broken); got != 2 {
		t.Errorf("counted %v", got)
	}
}

// What warming a batch stumbles over takes nobody's answer away.
func TestPanickingWarmth(t *testing.T) {
	var log bytes.Buffer
	s, err := New(Config{Site: "mec-1", Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.current.Store(&snapshot{wire: newIndex([]node{{wire: "\x01x\x00", cell: new(cell)}})})
	b := newBatch(false)
	for i := range warmFrom {
		b.in[i].len = uint32(copy(b.queries[i][:], pack(t, ask("x. AAAA"))))
	}
	s.warm(b, warmFrom)
	if !strings.Contains(log.String(), "please report") {
		t.Errorf("logged %q", &log)
	}
}

func TestMetricNames(t *testing.T) {
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(s)
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// Clients cannot make series: of 65,536 types few have a name here.
func TestSeriesAreBounded(t *testing.T) {
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(testContent(true)); err != nil {
		t.Fatal(err)
	}
	before := testutil.CollectAndCount(s)
	for qtype := range 1 << 16 {
		q := ask("edge.example. A")
		q.Question[0].Qtype = uint16(qtype)
		s.handle(pack(t, q), &client{address: netip.IPv6Loopback()}, s.metrics.shared(udp, false))
	}
	// A place that is asked for has its series: those of types and those of response codes.
	if after, most := testutil.CollectAndCount(s), before+otherType+1+otherRcode+1; after > most {
		t.Errorf("%d series became %d, want at most %d", before, after, most)
	}
	if got := counted(s, udp, false, otherType); got < 65000 {
		t.Errorf("%v of other types", got)
	}
}

// A restarted server finds its address free.
func TestStopFreesTheAddress(t *testing.T) {
	nettest.Need(t)
	s := newServer(t, "[::1]:53")
	stop := run(t, s)
	query(t, "udp", "[::1]:53", "edge.example. SOA")
	stop()
	l, err := Listen(addrPorts("[::1]:53"))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}
