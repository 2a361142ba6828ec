package dnsserver

import (
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/internal/nettest"
)

func TestCrowd(t *testing.T) {
	c := crowd{most: DefaultTCP.PerClient}
	for i := range DefaultTCP.PerClient {
		if a := netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}); !c.enter(a) {
			t.Fatalf("connection %d is refused", i)
		}
	}
	for a, want := range map[string]bool{"2001::ffff": false, "2001:0:0:1::": true, "192.0.2.1": true, "::ffff:192.0.2.1": true} {
		if got := c.enter(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s enters: %v, want %v", a, got, want)
		}
	}
	if n := c.count[netip.MustParsePrefix("192.0.2.1/32")]; n != 2 {
		t.Errorf("IPv4 in IPv6 form counts apart: %d", n)
	}
	for i := range DefaultTCP.PerClient {
		c.leave(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}))
	}
	if len(c.count) != 2 || !c.enter(netip.MustParseAddr("2001::ffff")) {
		t.Errorf("left over: %v", c.count)
	}
}

// A client with its share is refused; others are not, and it may come again once it has left.
func TestGreedyClient(t *testing.T) {
	nettest.Need(t)
	s := startServer(t, "[::1]:53", "127.0.0.1:53")
	var all []*net.TCPConn
	for range DefaultTCP.PerClient {
		c := dial(t, "[::1]:53")
		if _, err := c.Write(framed(t, "edge.example. SOA")); err != nil {
			t.Fatal(err)
		}
		receive(t, c)
		all = append(all, c)
	}
	refused := dial(t, "[::1]:53")
	if b, err := io.ReadAll(refused); len(b) > 0 {
		t.Errorf("answered %x, %v", b, err)
	}
	if n := testutil.ToFloat64(s.metrics.refused); n != 1 {
		t.Errorf("%v connections refused, want 1", n)
	}
	query(t, "tcp", "127.0.0.1:53", "edge.example. SOA")
	for _, c := range all {
		c.Close()
	}
	waitFor(t, func() bool { return testutil.ToFloat64(s.metrics.connections) == 0 })
	query(t, "tcp", "[::1]:53", "edge.example. SOA")
}

// A socket that stays broken ends the server: somebody has to open another.
func TestBrokenSocketEndsRun(t *testing.T) {
	nettest.Need(t)
	s := newServer(t, "[::1]:53")
	s.failures = 2
	s.sockets.udp[0].Close()
	if err := s.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "listen [::1]:53: cannot read queries: ") {
		t.Errorf("Run = %v", err)
	}
}
