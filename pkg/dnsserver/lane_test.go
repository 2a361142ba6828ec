package dnsserver

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// Queries that end with a cookie such as ours go to the lane; all others are spread over the other sockets.
func TestLane(t *testing.T) {
	nettest.Need(t)
	old := runtime.GOMAXPROCS(4)
	defer runtime.GOMAXPROCS(old)
	const client, server = "2464c4abcf10c957", "010000005f9b2a000102030405060708"
	queries := map[string]struct {
		query []byte
		lane  bool
	}{
		"no EDNS":                {pack(t, ask("a. A")), false},
		"no option":              {pack(t, ask("api.edge.example. AAAA", edns(1232))), false},
		"a client's cookie":      {pack(t, ask("api.edge.example. AAAA", edns(1232, cookieOption(client)))), false},
		"a server's cookie":      {pack(t, ask("api.edge.example. AAAA", edns(1232, cookieOption(client+server)))), true},
		"the shortest that does": {pack(t, ask(". A", edns(1232, cookieOption(client+server)))), true},
		"cut short":              {pack(t, ask(". A", edns(1232, cookieOption(client+server))))[:leastWithOne-1], false},
		"a longer cookie":        {pack(t, ask("api.edge.example. AAAA", edns(1232, cookieOption(client+server+server)))), false},
		"one octet":              {[]byte{0}, false},
	}
	for _, addr := range []string{"[::1]:0", "[::]:0", "127.0.0.1:0"} {
		l, err := Listen([]netip.AddrPort{netip.MustParseAddrPort(addr)})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		got, want, used := map[string]bool{}, map[string]bool{}, map[int]bool{}
		for name, q := range queries {
			for range 8 { // each from another port
				i := whoReads(t, l, q.query)
				got[name], want[name] = i == 4, q.lane
				used[i] = true
				if got[name] != q.lane {
					break
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: in the lane (-want +got):\n%s", addr, diff)
		}
		if len(l.udp) != 5 || len(used) != 5 {
			t.Errorf("%s: of %d sockets %d are used, want all 5", addr, len(l.udp), len(used))
		}
	}
}

// whoReads sends a datagram to the first address and returns which of its sockets got it.
func whoReads(t *testing.T, l *Listeners, query []byte) int {
	t.Helper()
	c, err := net.Dial("udp", l.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(query); err != nil {
		t.Fatal(err)
	}
	for i, s := range l.udp { // on loopback it is there when Write returns
		switch n, _, err := unix.Recvfrom(s.fd, make([]byte, queryRoom), unix.MSG_DONTWAIT); {
		case err == nil && n == len(query):
			return i
		case err != nil && !errors.Is(err, unix.EAGAIN):
			t.Fatal(fmt.Errorf("socket %d: %w", i, err))
		}
	}
	t.Fatal("nobody got it")
	return -1
}
