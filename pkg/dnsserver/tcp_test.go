package dnsserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/internal/nettest"
)

func framed(t testing.TB, questions ...string) (b []byte) {
	t.Helper()
	for i, question := range questions {
		q := pack(t, ask(question, func(q *dns.Msg) { q.Id = uint16(i) }))
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(q))), q...)
	}
	return b
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	return dialFrom(t, "", addr)
}

// dialFrom connects from an address of ours; empty: any.
func dialFrom(t *testing.T, from, addr string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func receive(t *testing.T, c net.Conn) *dns.Msg {
	t.Helper()
	m, err := (&dns.Conn{Conn: c}).ReadMsg()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Several queries in one segment are all answered (RFC 7766 section 6.2.1.1).
func TestPipelinedQueries(t *testing.T) {
	nettest.Need(t)
	startServer(t, "[::1]:53")
	c := dial(t, "[::1]:53")
	if _, err := c.Write(framed(t, "edge.example. SOA", "no.edge.example. A", "www.example. A")); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{dns.RcodeSuccess, dns.RcodeNameError, dns.RcodeRefused} {
		if m := receive(t, c); m.Rcode != want || m.Id != uint16(i) {
			t.Errorf("answer %d: id %d, %s", i, m.Id, dns.RcodeToString[m.Rcode])
		}
	}
}

// Octets may come one by one.
func TestSplitQuery(t *testing.T) {
	nettest.Need(t)
	startServer(t, "[::1]:53")
	c := dial(t, "[::1]:53")
	_ = c.SetNoDelay(true)
	for _, b := range framed(t, "edge.example. SOA") {
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if m := receive(t, c); m.Rcode != dns.RcodeSuccess {
		t.Errorf("%v", m)
	}
}

// A client that sends what is no query, resets, or half-closes loses its connection, and nobody else does.
func TestOddClients(t *testing.T) {
	nettest.Need(t)
	s := startServer(t, "[::1]:53")
	for name, odd := range map[string]func(c *net.TCPConn){
		"response": func(c *net.TCPConn) {
			_, _ = c.Write([]byte("\x00\x0c\x00\x00\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00"))
		},
		"empty":     func(c *net.TCPConn) { _, _ = c.Write([]byte{0, 0}) },
		"half":      func(c *net.TCPConn) { _, _ = c.Write([]byte{9}); _ = c.CloseWrite() },
		"cut short": func(c *net.TCPConn) { _, _ = c.Write([]byte{0, 99, 1}); _ = c.CloseWrite() },
		"reset":     func(c *net.TCPConn) { _, _ = c.Write([]byte{0}); _ = c.SetLinger(0); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, "[::1]:53")
			odd(c)
			if b, err := io.ReadAll(c); len(b) > 0 {
				t.Errorf("answered %x, %v", b, err)
			}
		})
	}
	query(t, "tcp", "[::1]:53", "edge.example. SOA")
	waitFor(t, func() bool { return testutil.ToFloat64(s.metrics.connections) == 0 })
}

// Stopping ends connections that wait.
func TestStopEndsConnections(t *testing.T) {
	nettest.Need(t)
	s := newServer(t, "[::1]:53")
	stop := run(t, s)
	c := dial(t, "[::1]:53")
	if _, err := c.Write(framed(t, "edge.example. SOA")); err != nil {
		t.Fatal(err)
	}
	receive(t, c)
	stop()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read after the stop: %v", err)
	}
}

// With all slots taken, a further client takes the place of another, and there are no more than before.
func TestConnectionsAreBounded(t *testing.T) {
	nettest.Need(t)
	s := newServer(t, "[::1]:53")
	s.slots = make(chan struct{}, 1)
	run(t, s)
	for range 3 {
		c := dial(t, "[::1]:53")
		if _, err := c.Write(framed(t, "edge.example. SOA")); err != nil {
			t.Fatal(err)
		}
		receive(t, c)
		if n := testutil.ToFloat64(s.metrics.connections); n != 1 {
			t.Errorf("%v connections", n)
		}
	}
	if n := testutil.ToFloat64(s.metrics.evicted); n != 2 {
		t.Errorf("%v made room, want 2", n)
	}
}

// Clients that hold all slots and keep asking do not keep out who is new: one of them gives way, once.
func TestNewClientGetsIn(t *testing.T) {
	nettest.Need(t)
	s := newServer(t, "127.0.0.1:53")
	s.slots, s.crowd.most = make(chan struct{}, 8), 2
	run(t, s)
	query := framed(t, "edge.example. SOA")
	var clients sync.WaitGroup
	defer clients.Wait()
	for i := range cap(s.slots) {
		c := dialFrom(t, fmt.Sprintf("127.0.0.%d", 2+i/2), "127.0.0.1:53")
		clients.Go(func() { keepAsking(c, query) })
		defer c.Close()
	}
	waitFor(t, func() bool { return testutil.ToFloat64(s.metrics.connections) == 8 })
	c := dialFrom(t, "127.0.0.9", "127.0.0.1:53")
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	for range 100 {
		if _, err := c.Write(query); err != nil {
			t.Fatal(err)
		}
		receive(t, c)
	}
	if n := testutil.ToFloat64(s.metrics.evicted); n != 1 {
		t.Errorf("%v gave way, want 1", n)
	}
}

// keepAsking asks until the connection ends.
func keepAsking(c *net.TCPConn, query []byte) {
	for {
		if _, err := c.Write(query); err != nil {
			return
		}
		if _, err := (&dns.Conn{Conn: c}).ReadMsg(); err != nil {
			return
		}
	}
}

// Only connections take slots: nobody is left out because another address is listened on.
func TestFewerSlotsThanAddresses(t *testing.T) {
	nettest.Need(t)
	s := newServer(t, "[::1]:53", "127.0.0.1:53", "127.0.0.2:53")
	s.slots = make(chan struct{}, 1)
	run(t, s)
	for range 2 {
		for _, server := range []string{"[::1]:53", "127.0.0.1:53", "127.0.0.2:53"} {
			query(t, "tcp", server, "edge.example. SOA")
		}
	}
}

// failing is a listener that fails so often.
type failing struct {
	net.Listener
	times int
}

func (f *failing) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv6loopback, Port: 53} }

func (f *failing) AcceptTCP() (*net.TCPConn, error) {
	if f.times--; f.times >= 0 {
		return nil, syscall.EMFILE
	}
	return new(net.TCPConn), nil
}

// However long connections cannot be accepted, it is told when that begins and when it is over.
func TestCannotAccept(t *testing.T) {
	const failed, again = `level=WARN msg="cannot accept connections" address=[::1]:53 err="too many open files"` + "\n", `level=INFO msg="accepts connections again" address=[::1]:53` + "\n"
	for times, want := range map[int]string{0: "", 1: failed + again, 1000: failed + again} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			s := &Server{log: timeless(&log)}
			l := &failing{times: times}
			for range 2 { // the second one finds nothing to tell
				if s.accept(t.Context(), l) == nil {
					t.Errorf("%d failures: no connection", times)
				}
			}
			if diff := cmp.Diff(want, log.String()); diff != "" {
				t.Errorf("%d failures (-want +got):\n%s", times, diff)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if c := s.accept(ctx, &failing{times: 1}); c != nil {
				t.Error("a connection after the end")
			}
		})
	}
}

func TestPatience(t *testing.T) {
	s := &Server{slots: make(chan struct{}, 4), tcp: DefaultTCP}
	idleTimeout := DefaultTCP.Idle
	for i, want := range []time.Duration{idleTimeout, idleTimeout, idleTimeout, busyTimeout, busyTimeout} {
		if got := s.patience(); got != want {
			t.Errorf("%d of 4 taken: %v, want %v", i, got, want)
		}
		if i < 4 {
			s.slots <- struct{}{}
		}
	}
}

func TestSlowClients(t *testing.T) {
	idleTimeout := DefaultTCP.Idle
	for name, tt := range map[string]struct {
		sends []byte
		want  time.Duration
	}{
		"idle":            {nil, idleTimeout},
		"half a length":   {[]byte{0}, idleTimeout},
		"begins a query":  {[]byte{0, 20, 1, 2}, queryTimeout},
		"all but a octet": {append([]byte{0, 20}, make([]byte, 19)...), queryTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				defer client.Close()
				defer server.Close()
				go func() { _, _ = client.Write(tt.sends) }()
				start := time.Now()
				_, err := readQuery(t.Context(), server, server, idleTimeout)
				if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took != tt.want {
					t.Errorf("%v after %v, want a timeout after %v", err, took, tt.want)
				}
			})
		})
	}
}

// However the end of ctx and a new deadline meet, the read ends.
func TestReadEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	if _, err := readQuery(ctx, server, server, time.Hour); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read = %v", err)
	}
}

// What was read before the end of ctx is answered after it.
func TestReadQueriesAreAnswered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() { _, _ = client.Write(framed(t, "a.example. A", "b.example. A", "c.example. A")) }()
	in := bufio.NewReader(server)
	for i := range 3 {
		query, err := readQuery(ctx, server, in, time.Hour)
		if err != nil || binary.BigEndian.Uint16(query) != uint16(i) {
			t.Errorf("query %d: %x, %v", i, query, err)
		}
		cancel()
	}
	if _, err := readQuery(ctx, server, in, time.Hour); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("and then: %v", err)
	}
}
