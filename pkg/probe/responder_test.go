package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// start runs a responder until the test ends or the returned function is called.
func start(t testing.TB, cfg ResponderConfig) (*Responder, context.CancelFunc) {
	t.Helper()
	r, err := NewResponder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	select {
	case <-r.Ready():
	case err := <-done:
		cancel()
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("responder: %v", err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

func addrs(list ...string) (ports []netip.AddrPort) {
	for _, a := range list {
		ports = append(ports, netip.MustParseAddrPort(a))
	}
	return ports
}

// exchange sends a request and returns the reply.
func exchange(t testing.TB, conn net.Conn, seq uint64) (p Packet) {
	t.Helper()
	request := Packet{Kind: KindRequest, Run: 1, Seq: seq, SentNs: 2}
	b, _ := request.AppendBinary(nil)
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, b); err != nil {
		t.Fatal(err)
	}
	if err := p.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	return p
}

func dial(t testing.TB, network string, a netip.AddrPort) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, a.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil { // fail, do not hang
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestResponderAnswers(t *testing.T) {
	nettest.Need(t)
	r, _ := start(t, ResponderConfig{Site: "mec-1", Listen: addrs("[::1]:0", "127.0.0.1:0")})
	for _, a := range r.Addrs() {
		for _, network := range []string{"udp", "tcp"} {
			conn := dial(t, network, a)
			for seq := range uint64(3) {
				got := exchange(t, conn, seq)
				if got.ReceivedNs <= 0 {
					t.Errorf("%s %s: receive time %d", network, a, got.ReceivedNs)
				}
				got.ReceivedNs = 0
				want := Packet{Kind: KindReply, Run: 1, Seq: seq, SentNs: 2}
				_ = want.SetSite("mec-1")
				if got != want {
					t.Errorf("%s %s: %+v, want %+v", network, a, got, want)
				}
			}
		}
	}
}

// Replies, and anything else, stay unanswered: two responders never talk to each other.
func TestResponderAnswersRequestsOnly(t *testing.T) {
	nettest.Need(t)
	r, _ := start(t, ResponderConfig{Site: "mec-1", Listen: addrs("[::1]:0")})
	udp := dial(t, "udp", r.Addrs()[0])
	for _, packet := range [][]byte{{}, []byte("x"), wire(t, replyHex), append(wire(t, requestHex), 0), make([]byte, 9000)} {
		if _, err := udp.Write(packet); err != nil {
			t.Fatal(err)
		}
		if len(packet) == Size+1 {
			continue // a request, as far as a stream can tell
		}
		tcp := dial(t, "tcp", r.Addrs()[0])
		if _, err := tcp.Write(append(packet, make([]byte, Size)...)); err != nil {
			t.Fatal(err)
		}
		if n, err := tcp.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("TCP answers %x", packet)
		}
	}
	if got := exchange(t, udp, 5); got.Seq != 5 { // packets of one flow on lo keep their order
		t.Errorf("the first UDP answer is to probe %d, want 5", got.Seq)
	}
}

func TestResponderRepliesFromTheAddressAsked(t *testing.T) {
	nettest.Need(t)
	nettest.AddAddress(t, "192.0.2.1/32")
	nettest.AddAddress(t, "2001:db8::1/128")
	r, _ := start(t, ResponderConfig{Site: "mec-1", Listen: addrs("[::]:0", "0.0.0.0:0")})
	for i, tt := range []struct{ source, target string }{{"::1", "2001:db8::1"}, {"127.0.0.1", "192.0.2.1"}} {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(tt.source)})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil { // fail, do not hang
			t.Fatal(err)
		}
		to := netip.AddrPortFrom(netip.MustParseAddr(tt.target), r.Addrs()[i].Port())
		b := wire(t, requestHex)
		if _, err := conn.WriteToUDPAddrPort(b, to); err != nil {
			t.Fatal(err)
		}
		if _, from, err := conn.ReadFromUDPAddrPort(b); err != nil || netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) != to {
			t.Errorf("reply from %s, %v; want %s", from, err, to)
		}
	}
}

func TestResponderBoundsConnections(t *testing.T) {
	nettest.Need(t)
	r, err := NewResponder(ResponderConfig{Site: "mec-1", Listen: addrs("[::1]:0")})
	if err != nil {
		t.Fatal(err)
	}
	r.conns = make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Ready()
	first, second := dial(t, "tcp", r.Addrs()[0]), dial(t, "tcp", r.Addrs()[0])
	// The responder accepts them in their order.
	exchange(t, first, 1)
	if n, err := second.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("the second connection is served: %d, %v", n, err)
	}
	exchange(t, first, 2)
	cancel() // ends connections, too
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlives the responder")
	}
}

func TestResponderRefuses(t *testing.T) {
	nettest.Need(t)
	taken, _ := start(t, ResponderConfig{Site: "mec-1", Listen: addrs("[::1]:0")})
	at := taken.Addrs()[0]
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, tt := range map[string]struct {
		cfg  ResponderConfig
		want string
	}{
		"no site":       {ResponderConfig{Listen: addrs("[::1]:0")}, `site "": site name: 1 to 32 printable ASCII characters without spaces`},
		"no address":    {ResponderConfig{Site: "a"}, "no address to listen on"},
		"port in use":   {ResponderConfig{Site: "a", Listen: addrs("[::1]:0", at.String())}, "listen on udp " + at.String() + ": address already in use: end the program that has it, or choose another port"},
		"TCP port only": {ResponderConfig{Site: "a", Listen: addrs(l.Addr().String())}, "listen on tcp " + l.Addr().String() + ": address already in use: end the program that has it, or choose another port"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := NewResponder(tt.cfg)
			if err == nil {
				err = r.Run(t.Context())
			}
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestResponderLogsItsAddresses(t *testing.T) {
	nettest.Need(t)
	var b bytes.Buffer
	r, stop := start(t, ResponderConfig{Site: "mec-1", Listen: addrs("[::1]:0"), Log: slog.New(slog.NewTextHandler(&b, nil))})
	stop()
	if want := r.Addrs()[0].String(); !strings.Contains(b.String(), want) {
		t.Errorf("log %q lacks %s", b.String(), want)
	}
}

func TestTransientErrorsOfAccept(t *testing.T) {
	t.Parallel()
	if transient(net.ErrClosed) || transient(errors.New("x")) || !transient(&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.EMFILE)}) {
		t.Error("wrong class")
	}
}

func TestRespondAllocatesNothing(t *testing.T) {
	r, err := NewResponder(ResponderConfig{Site: "mec-1", Listen: addrs("[::1]:0")})
	if err != nil {
		t.Fatal(err)
	}
	var p Packet
	request, buf := wire(t, requestHex), make([]byte, Size)
	allocs := testing.AllocsPerRun(100, func() {
		copy(buf, request)
		if !r.respond(buf, &p) {
			t.Fatal("not answered")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}

// BenchmarkResponder measures a request and its reply over loopback, system calls of both sides included.
func BenchmarkResponder(b *testing.B) {
	nettest.Need(b)
	for name, listen := range map[string]string{"address": "[::1]:0", "wildcard": "[::]:0"} {
		b.Run(name, func(b *testing.B) {
			r, _ := start(b, ResponderConfig{Site: "mec-1", Listen: addrs(listen)})
			conn := dial(b, "udp", netip.AddrPortFrom(netip.IPv6Loopback(), r.Addrs()[0].Port()))
			request, buf := wire(b, requestHex), make([]byte, Size)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := conn.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := conn.Read(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
