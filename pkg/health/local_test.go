package health

import (
	"net"
	"net/netip"
	"testing"

	"github.com/anyedge/anyedge/internal/nettest"
)

// A source of its own shows at the server; lo holds all of 127.0.0.0/8.
func TestLocalSource(t *testing.T) {
	nettest.Need(t)
	seen := make(chan netip.Addr, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		seen <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
		c.Close()
	}()
	from := netip.MustParseAddr("127.1.2.3")
	c := TCP{Local: Local{Source: from, Device: "lo"}, Target: l.Addr().(*net.TCPAddr).AddrPort()}
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-seen; got != from {
		t.Errorf("came from %v, want %v", got, from)
	}
}

func TestLocalUDP(t *testing.T) {
	nettest.Need(t)
	target := udpServer(t, echo)
	c := UDP{Local: Local{Source: netip.IPv6Loopback(), Device: "lo"}, Target: target}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLocalThatIsNotThere(t *testing.T) {
	nettest.Need(t)
	for _, test := range []struct {
		name  string
		local Local
		want  string
	}{
		{"source", Local{Source: netip.MustParseAddr("2001:db8::7")}, "bind: cannot assign requested address"},
		{"device", Local{Device: "nosuch0"}, "device nosuch0: no such device"},
	} {
		t.Run(test.name, func(t *testing.T) {
			target := netip.MustParseAddrPort("[::1]:9")
			for _, c := range []Checker{
				TCP{Local: test.local, Target: target},
				UDP{Local: test.local, Target: target},
				DNS{Local: test.local, Target: target, Name: qname, Type: 28},
			} {
				if got := text(c.Check(t.Context())); got != test.want {
					t.Errorf("%T: got %q, want %q", c, got, test.want)
				}
			}
		})
	}
}
