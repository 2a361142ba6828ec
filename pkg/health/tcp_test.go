package health

import (
	"context"
	"io"
	"net"
	"net/netip"
	"regexp"
	"testing"
	"time"
)

func TestTCPCheck(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := (TCP{Target: l.Addr().(*net.TCPAddr).AddrPort()}).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if got := text(TCP{Target: unusedPort(t, "tcp")}.Check(t.Context())); got != "connection refused" {
		t.Errorf("unused port: %q", got)
	}
}

func TestTCPCheckTimeout(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if got := text(TCP{Target: netip.MustParseAddrPort("[::1]:9")}.Check(ctx)); got != "no answer within 0s" {
		t.Errorf("got %q", got)
	}
}

// unusedPort returns one that nobody had a moment ago; nobody else lives in this namespace.
func unusedPort(t *testing.T, network string) netip.AddrPort {
	t.Helper()
	if network == "tcp" {
		l, err := net.Listen(network, "[::1]:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).AddrPort()
	}
	c, err := net.ListenPacket(network, "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// tcpServer lets talk hold each connection.
func tcpServer(t *testing.T, talk func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			talk(c)
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestTCPCheckExpects(t *testing.T) {
	say := func(parts ...string) func(net.Conn) {
		return func(c net.Conn) {
			for _, p := range parts {
				_, _ = io.WriteString(c, p)
			}
		}
	}
	echo := func(c net.Conn) { _, _ = io.CopyN(c, c, 4) }
	long := func(c net.Conn) { _, _ = c.Write(make([]byte, 1<<20)) }
	for _, test := range []struct {
		name   string
		talk   func(net.Conn)
		expect string
		want   string
	}{
		{"banner", say("220 ready\r\n"), "^220 ", ""},
		{"in pieces", say("22", "0 re", "ady"), "^220 ready", ""},
		{"what was sent", echo, "^PING$", ""},
		{"something else", say("500 no"), "^220 ", `answered "500 no", which does not match "^220 "`},
		{"nothing", say(), ".", "closed without a reply"},
		{"without end", long, "x", `answered "` + repeat(`\x00`, 64) + `"..., which does not match "x"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := TCP{Target: tcpServer(t, test.talk), Send: []byte("PING"), Expect: regexp.MustCompile(test.expect)}
			if got := text(c.Check(t.Context())); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// The kernel accepts for a server that hangs: only a reply shows life.
func TestTCPCheckOfASilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := TCP{Target: l.Addr().(*net.TCPAddr).AddrPort()}
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("connecting alone: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	c.Expect = regexp.MustCompile("")
	if got := text(c.Check(ctx)); !timedOut(got, 20) {
		t.Errorf("got %q", got)
	}
}
