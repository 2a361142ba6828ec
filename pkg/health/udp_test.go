package health

import (
	"context"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"
)

func repeat(s string, n int) string { return strings.Repeat(s, n) }

// udpServer answers each datagram with what reply makes of it and of its sender; nil is silence.
func udpServer(t *testing.T, reply func(b []byte, from netip.AddrPort) []byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, maxReply)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if b := reply(buf[:n], from); b != nil {
				_, _ = c.WriteToUDPAddrPort(b, from)
			}
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func echo(b []byte, _ netip.AddrPort) []byte { return b }

func TestUDPCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		send   string
		expect *regexp.Regexp
		want   string
	}{
		{"any reply", "ping", nil, ""},
		{"an empty reply", "", nil, ""},
		{"a reply that matches", "ping", regexp.MustCompile("^pi"), ""},
		{"bytes", "\x01\xff\x00", regexp.MustCompile("^\x01.\x00$"), ""},
		{"a reply that does not", "pi\nng", regexp.MustCompile("^pong"), `answered "pi\nng", which does not match "^pong"`},
		{"a long reply", repeat("a", 1000), regexp.MustCompile("b"), `answered "` + repeat("a", 64) + `"..., which does not match "b"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := UDP{Target: udpServer(t, echo), Send: []byte(test.send), Expect: test.expect}
			if got := text(c.Check(t.Context())); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestUDPCheckRefused(t *testing.T) {
	if got := text(UDP{Target: unusedPort(t, "udp")}.Check(t.Context())); got != "connection refused" {
		t.Errorf("got %q", got)
	}
}

func TestUDPCheckTimeout(t *testing.T) {
	silent := udpServer(t, func([]byte, netip.AddrPort) []byte { return nil })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if got := text(UDP{Target: silent}.Check(ctx)); !timedOut(got, 20) {
		t.Errorf("got %q", got)
	}
}
