package dnsserver

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/internal/nettest"
)

func TestCrowd(t *testing.T) {
	c := crowd{most: DefaultTCP.PerClient}
	enter := func(a string) *guest {
		g := c.enter(netip.MustParseAddr(a), func() {})
		if g != nil {
			c.stay(g)
		}
		return g
	}
	var greedy []*guest
	for i := range DefaultTCP.PerClient {
		g := enter(fmt.Sprintf("2001::%x", i))
		if g == nil {
			t.Fatalf("connection %d is refused", i)
		}
		greedy = append(greedy, g)
	}
	for a, want := range map[string]bool{"2001::ffff": false, "2001:0:0:1::": true, "192.0.2.1": true, "::ffff:192.0.2.1": true} {
		if got := enter(a) != nil; got != want {
			t.Errorf("%s enters: %v, want %v", a, got, want)
		}
	}
	if n := c.groups[netip.MustParsePrefix("192.0.2.1/32")].guests; n != 2 {
		t.Errorf("IPv4 in IPv6 form counts apart: %d", n)
	}
	for _, g := range greedy {
		c.leave(g)
	}
	if len(c.guests) != 3 || len(c.groups) != len(levels6)+len(levels4) || enter("2001::ffff") == nil {
		t.Errorf("left over: %v", c.groups)
	}
}

// Who waits for a slot makes no room by going: it has none.
func TestWhoWaitsStays(t *testing.T) {
	c, gone := crowd{most: 100}, ""
	enter := func(a string) *guest { return c.enter(netip.MustParseAddr(a), func() { gone += a + " " }) }
	c.stay(enter("192.0.2.1"))
	for range 3 {
		enter("2001:db8::1")
	}
	if first, second := c.evict(), c.evict(); !first || second || gone != "192.0.2.1 " {
		t.Errorf("gone: %s, %v, %v", gone, first, second)
	}
}

// Of those that are there, in the order in which they came, the greediest goes: each network is measured by its share.
func TestWhoHasToGo(t *testing.T) {
	var more string
	for i := range 32 {
		more += fmt.Sprintf(" 192.0.2.%d", i+2)
	}
	for _, tt := range []struct {
		name, guests string // those with a star have to go
	}{
		{"equals: who came first", "2001:db8:1::1* 192.0.2.1* 2001:db8:2::1 2001:db8:3::1"},
		{"a client with many", "2001:db8:1::1 192.0.2.1* 192.0.2.1* 192.0.2.1 2001:db8:2::1"},
		{"a /64", "2001:db8:1::1 2001:db8:2::1* 2001:db8:2::2 2001:db8:2::3 2001:db8:3::1"},
		{"a /56", "2001:db8:1::1 2001:db8:2:1::1* 2001:db8:2:2::1 2001:db8:2:3::1 2001:db8:2:4::1 2001:db8:3::1"},
		{"a /48", "2001:db8:1::1 2001:db8:2:100::1* 2001:db8:2:200::1 2001:db8:2:300::1 2001:db8:2:400::1 2001:db8:2:500::1"},
		{"a /48 with its share, and a client with two", "2001:db8:2:100::1 2001:db8:2:200::1 2001:db8:2:300::1 2001:db8:2:400::1 192.0.2.1* 192.0.2.1"},
		{"a /24 that is not too many", "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 2001:db8:3::1* 2001:db8:3::1"},
		{"a /24 that is too many", "2001:db8:1::1 2001:db8:2::1 192.0.2.1*" + more},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := crowd{most: 100}
			var want, got []string
			for i, a := range strings.Fields(tt.guests) {
				a, goes := strings.CutSuffix(a, "*")
				if goes {
					want = append(want, fmt.Sprintf("%d %s", i, a))
				}
				c.stay(c.enter(netip.MustParseAddr(a), func() { got = append(got, fmt.Sprintf("%d %s", i, a)) }))
			}
			for range want {
				c.evict()
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
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
