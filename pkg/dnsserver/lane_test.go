package dnsserver

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
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
	var all []unix.PollFd
	for _, s := range l.udp {
		all = append(all, unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN})
	}
	_, err = unix.Poll(all, 10_000)
	for errors.Is(err, unix.EINTR) {
		_, err = unix.Poll(all, 10_000)
	}
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(p unix.PollFd) bool { return p.Revents != 0 })
	if i < 0 {
		t.Fatal("nobody got it")
	}
	if n, _, err := unix.Recvfrom(l.udp[i].fd, make([]byte, queryRoom), unix.MSG_DONTWAIT); err != nil || n != len(query) {
		t.Fatalf("socket %d: %d octets, %v", i, n, err)
	}
	return i
}
