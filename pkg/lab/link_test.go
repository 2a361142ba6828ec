package lab

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// pair is two nodes joined by one link.
type pair struct {
	a, b   namespace
	cables []*cable
}

const portA, portB = "[2001:db8::a]:9", "[2001:db8::b]:9"

func newPair(t *testing.T, line Link) pair {
	t.Helper()
	nettest.Need(t)
	if err := quietWires(); err != nil {
		t.Fatal(err)
	}
	spaces := map[string]namespace{}
	for _, name := range []string{"a", "b"} {
		ns, err := newNamespace()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ns.close() })
		spaces[name] = ns
	}
	line.A, line.B = Endpoint{"a", "eth1"}, Endpoint{"b", "eth1"}
	c, err := plug(0, line, spaces, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the kernel takes its time to free a namespace: the next test needs the names now
		for _, name := range c.ends {
			if link, err := netlink.LinkByName(name); err == nil {
				_ = netlink.LinkDel(link)
			}
		}
	})
	p := pair{a: spaces["a"], b: spaces["b"], cables: []*cable{c}}
	apply(t, p.a, "2001:db8::a/64")
	apply(t, p.b, "2001:db8::b/64")
	return p
}

func apply(t *testing.T, ns namespace, addr string) {
	t.Helper()
	setup := Setup{Interfaces: []Interface{{Name: "eth1", Addresses: []netip.Prefix{netip.MustParsePrefix(addr)}}}}
	if err := ns.do(func() error { return setup.Apply(t.Context(), slog.New(slog.DiscardHandler)) }); err != nil {
		t.Fatal(err)
	}
}

// carried runs the pair's wires during use.
func (p pair) carried(t *testing.T, use func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return carry(ctx, p.cables) })
	use()
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func listen(t *testing.T, ns namespace, addr string) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	err := ns.do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Every packet arrives, in order in spite of jitter, and none before its time.
func TestWireDelaysInOrder(t *testing.T) {
	const delay, count = 3 * time.Millisecond, 500
	p := newPair(t, Link{Delay: delay + time.Millisecond, Jitter: time.Millisecond})
	from, to := listen(t, p.a, portA), listen(t, p.b, portB)
	p.carried(t, func() {
		go func() {
			for i := range uint64(count) {
				packet := binary.BigEndian.AppendUint64(nil, i)
				packet = binary.BigEndian.AppendUint64(packet, uint64(monotonic()))
				_, _ = from.WriteToUDPAddrPort(packet, netip.MustParseAddrPort(portB))
				time.Sleep(100 * time.Microsecond)
			}
		}()
		_ = to.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, 64)
		for i := range uint64(count) {
			if _, err := to.Read(buf); err != nil {
				t.Fatalf("packet %d: %v", i, err)
			}
			took := time.Duration(monotonic() - int64(binary.BigEndian.Uint64(buf[8:])))
			if got := binary.BigEndian.Uint64(buf); got != i || took < delay {
				t.Fatalf("packet %d: got number %d after %s, want %d after at least %s", i, got, took, i, delay)
			}
		}
	})
}

// About as many packets as asked for never arrive: of 2,000 at 10 %, less than 100 or more than 300 is a chance of 1e-12.
func TestWireLoses(t *testing.T) {
	const count = 2000
	p := newPair(t, Link{Loss: 0.1})
	from, to := listen(t, p.a, portA), listen(t, p.b, portB)
	p.carried(t, func() {
		got := 0
		buf := make([]byte, 8)
		reach(t, from, to)
		for i := range uint64(count) {
			_, _ = from.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, i), netip.MustParseAddrPort(portB))
			_ = to.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
			if _, err := to.Read(buf); err == nil {
				got++
			}
		}
		_ = to.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		for _, err := to.Read(buf); err == nil; _, err = to.Read(buf) {
			got++
		}
		if lost := count - got; lost < 100 || lost > 300 {
			t.Errorf("%d of %d lost, want about %d", lost, count, count/10)
		}
	})
}

// reach sends until the neighbor is known, and reads what came of it. Before, packets wait in the kernel for an answer that may be lost
// on the wire, too: of more than a few hundred it drops the rest.
func reach(t *testing.T, from, to *net.UDPConn) {
	t.Helper()
	buf := make([]byte, 8)
	come := func(within time.Duration) bool {
		_ = to.SetReadDeadline(time.Now().Add(within))
		_, err := to.Read(buf)
		return err == nil
	}
	for range 400 {
		_, _ = from.WriteToUDPAddrPort(buf, netip.MustParseAddrPort(portB))
		if come(50 * time.Millisecond) {
			for come(100 * time.Millisecond) {
				continue
			}
			return
		}
	}
	t.Fatal("nothing arrives")
}

// TCP needs the packet sockets' virtio-net headers: segments are large and their checksums partial.
func TestWireCarriesTCP(t *testing.T) {
	p := newPair(t, Link{Delay: time.Millisecond})
	var l net.Listener
	err := p.b.do(func() (err error) { l, err = net.Listen("tcp", portB); return err })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const size = 4 << 20
	p.carried(t, func() {
		sent := make(chan error, 1)
		go func() {
			var conn net.Conn
			err := p.a.do(func() (err error) { conn, err = net.Dial("tcp", portB); return err })
			if err == nil {
				_, err = conn.Write(make([]byte, size))
				_ = conn.Close()
			}
			sent <- err
		}()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		total, buf := 0, make([]byte, 1<<16)
		for total < size {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("after %d bytes: %v", total, err)
			}
			total += n
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	})
}

// A side that goes down takes the other side's carrier, with and without a wire between them.
func TestLinkDownIsSeenOnTheOtherSide(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		t.Run(delay.String(), func(t *testing.T) {
			p := newPair(t, Link{Delay: delay})
			p.carried(t, func() {
				for _, up := range []bool{false, true} {
					set(t, p.a, up)
					waitCarrier(t, p.b, up)
				}
			})
		})
	}
}

func set(t *testing.T, ns namespace, up bool) {
	t.Helper()
	err := ns.do(func() error {
		link, err := netlink.LinkByName("eth1")
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func waitCarrier(t *testing.T, ns namespace, want bool) {
	t.Helper()
	for range 1000 {
		var got bool
		err := ns.do(func() error {
			link, err := netlink.LinkByName("eth1")
			if err == nil {
				got = link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if got == want {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("carrier of the other side never became %v", want)
}
