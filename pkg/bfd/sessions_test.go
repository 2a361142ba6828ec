package bfd

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

var (
	ours   = netip.MustParseAddr("127.0.0.1")
	theirs = netip.MustParseAddr("127.0.0.2")
)

// run runs sessions until the returned function is called, or the test ends.
func run(t testing.TB, configs ...Config) (s *Sessions, stop func()) {
	t.Helper()
	s, err := New(slog.New(slog.NewTextHandler(t.Output(), nil)), configs...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	await(t, s, "running", func(s Status) bool { return !s.Since.IsZero() })
	return s, stop
}

// await waits until the first session's status is as asked.
func await(t testing.TB, s *Sessions, what string, is func(Status) bool) Status {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		if status := s.Status()[0]; is(status) {
			return status
		}
		select {
		case <-s.Changed():
		case <-limit:
			t.Fatalf("never %s: %+v\n%v", what, s.Status()[0], s.Discarded())
		}
	}
}

func up(s Status) bool   { return s.State == Up && s.RemoteState == Up }
func down(s Status) bool { return s.State == Down }

// Two real ends, all kinds of path: up, at the agreed pace, down without a failure when one is shut.
func TestUpAndShut(t *testing.T) {
	nettest.Need(t)
	near, far := linked(t)
	v6, v6too := address(t, "2001:db8::1"), address(t, "2001:db8::2")
	for name, tt := range map[string]struct{ a, b Config }{
		"IPv4":                 {Config{Local: ours, Peer: theirs}, Config{Local: theirs, Peer: ours}},
		"IPv6":                 {Config{Local: v6, Peer: v6too}, Config{Local: v6too, Peer: v6}},
		"multihop":             {Config{Local: v6, Peer: v6too, Multihop: true, MinTTL: 250}, Config{Local: v6too, Peer: v6, Multihop: true}},
		"passive":              {Config{Local: ours, Peer: theirs, Passive: true}, Config{Local: theirs, Peer: ours}},
		"either, single hop":   {Config{Local: ours, Peer: theirs, Either: true}, Config{Local: theirs, Peer: ours}},
		"either, multihop":     {Config{Local: ours, Peer: theirs, Either: true}, Config{Local: theirs, Peer: ours, Multihop: true}},
		"either, on both ends": {Config{Local: ours, Peer: theirs, Either: true}, Config{Local: theirs, Peer: ours, Either: true}},
		"link-local":           {Config{Peer: far, Passive: true}, Config{Peer: near}},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "link-local" {
				linkLocal(t, tt.a, tt.b)
				return
			}
			a, stop := run(t, tt.a)
			b, _ := run(t, tt.b)
			await(t, a, "up", up)
			got := await(t, b, "fast", func(s Status) bool {
				return up(s) && s.DetectionTime == 150*ms && s.Interval == 50*ms
			})
			if a := a.Status()[0]; got.Multihop != a.Multihop && !tt.a.Either || got.RemoteDiscriminator != a.LocalDiscriminator || got.Reason != "" {
				t.Errorf("%+v\n%+v", got, a)
			}
			stop()
			got = await(t, b, "down", down)
			want := Status{Peer: tt.b.Peer, Multihop: got.Multihop, State: Down, RemoteState: AdminDown, Diag: NeighborDown, RemoteDiag: Administrator,
				Since: got.Since, Interval: time.Second, DetectionTime: 3 * time.Second, Reason: "taken down by the peer: administratively down",
				RTScheduled: got.RTScheduled, Sent: got.Sent, Received: got.Received, StoodIn: got.StoodIn, Gap: got.Gap,
				LocalDiscriminator: got.LocalDiscriminator, RemoteDiscriminator: got.RemoteDiscriminator}
			if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// linkLocal runs both ends in one process: each on its own end of the link, both by the socket for all addresses.
func linkLocal(t *testing.T, a, b Config) {
	s, _ := run(t, a, b)
	await(t, s, "up", func(Status) bool { all := s.Status(); return up(all[0]) && up(all[1]) })
}

// linked returns the link-local addresses of both ends of a link in this namespace.
func linked(t *testing.T) (near, far netip.Addr) {
	t.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	for name, a := range map[string]string{"near": "fe80::1/64", "far": "fe80::2/64"} {
		upLink(t, name, a)
	}
	// Both ends see both addresses as local ones: a packet to fe80::2 by near must leave, so far has it alone.
	return netip.MustParseAddr("fe80::1%far"), netip.MustParseAddr("fe80::2%near")
}

func upLink(t *testing.T, name, a string) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err == nil && name != "lo" {
		err = netlink.LinkSetIP6AddrGenMode(l, 1) // an address that the kernel makes could become the source of packets
	}
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netlink.ParseAddr(a)
	if err != nil {
		t.Fatal(err)
	}
	if addr.IP.To4() == nil {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := netlink.AddrReplace(l, addr); err != nil {
		t.Fatal(err)
	}
}

// address adds one to lo.
func address(t *testing.T, s string) netip.Addr {
	t.Helper()
	upLink(t, "lo", s+"/128")
	t.Cleanup(func() {
		lo, _ := netlink.LinkByName("lo")
		a, _ := netlink.ParseAddr(s + "/128")
		_ = netlink.AddrDel(lo, a)
	})
	return netip.MustParseAddr(s)
}

// A fakePeer says what a test wants, from 127.0.0.2.
type fakePeer struct {
	t      *testing.T
	conn   *net.UDPConn
	sample packet
}

func newFakePeer(t *testing.T) *fakePeer {
	t.Helper()
	f := &fakePeer{t: t, conn: listenOn(t, theirs), sample: packet{state: Down, detectMult: 3, myDiscr: 77, desiredMinTx: 20 * ms, requiredMin: time.Second}}
	f.ttl(255)
	return f
}

func listenOn(t *testing.T, a netip.Addr) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: a.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (f *fakePeer) ttl(n int) {
	raw, err := f.conn.SyscallConn()
	if err != nil {
		f.t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TTL, n) })
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakePeer) say(wire []byte) {
	if _, err := f.conn.WriteToUDPAddrPort(wire, netip.AddrPortFrom(ours, portSingle)); err != nil {
		f.t.Error(err)
	}
}

// up says what brings s up.
func (f *fakePeer) up(s *Sessions) {
	f.t.Helper()
	f.say(f.sample.append(nil))
	await(f.t, s, "init", func(s Status) bool { return s.State == Init })
	f.sample.state, f.sample.yourDiscr = Up, s.Status()[0].LocalDiscriminator
	f.say(f.sample.append(nil))
	await(f.t, s, "up", up)
}

// What must not count, each discarded for its own reason, and told to people.
func TestDiscards(t *testing.T) {
	nettest.Need(t)
	s, _ := run(t, Config{Local: ours, Peer: theirs})
	f := newFakePeer(t)
	discarded := func(reason error, n uint64) {
		t.Helper()
		for limit := time.Now().Add(20 * time.Second); s.Discarded()[reason.Error()] < n; {
			if time.Now().After(limit) {
				t.Fatalf("%v never: %v", reason, s.Discarded())
			}
			time.Sleep(ms) // the loop reads it when it does
		}
	}
	good := f.sample.append(nil)
	authenticated := append(f.sample.append(nil), 1, 4, 1, 'x')
	authenticated[1], authenticated[3] = authenticated[1]|bitAuthentication, 28
	f.say(authenticated)
	discarded(errAuthentication, 1)
	await(t, s, "refused", func(s Status) bool { return strings.Contains(s.Reason, "authenticated") })
	f.ttl(254)
	f.say(good)
	discarded(errTTL, 1)
	await(t, s, "refused", func(s Status) bool { return strings.Contains(s.Reason, "TTL") })
	f.ttl(255)
	unknown := f.sample
	unknown.yourDiscr = s.Status()[0].LocalDiscriminator + 1
	f.say(unknown.append(nil))
	discarded(errNoSession, 1)
	f.say(nil)
	discarded(errLength, 1)
	if got := s.Status()[0]; got.State != Down || got.Received != 0 {
		t.Fatalf("%+v", got)
	}
	f.up(s)
	f.ttl(1)
	f.say(f.sample.append(nil))
	discarded(errTTL, 2)
}

// Packets leave with the greatest TTL and from a port of RFC 5881 section 4, which the session keeps for its life.
func TestSource(t *testing.T) {
	nettest.Need(t)
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: theirs.AsSlice(), Port: portSingle})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	raw, err := peer.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_RECVTTL, 1) })
	if err != nil {
		t.Fatal(err)
	}
	s, stop := run(t, Config{Local: ours, Peer: theirs, Interval: 20 * ms})
	f := newFakePeer(t)
	f.up(s)
	ports := make(map[uint16]bool)
	buf, oob := make([]byte, 100), make([]byte, 100)
	for range 3 {
		_ = peer.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, n, _, from, err := peer.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			t.Fatal(err)
		}
		control, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil || len(control) != 1 || binary.NativeEndian.Uint32(control[0].Data) != 255 {
			t.Fatalf("TTL %v, %v; want 255", control, err)
		}
		if from.Addr() != ours || from.Port() < 49152 {
			t.Errorf("from %s", from)
		}
		ports[from.Port()] = true
	}
	stop()
	if len(ports) != 1 {
		t.Errorf("from ports %v", ports)
	}
}

// While the loop cannot run, the peer's packets wait in the socket: they count, and the session stays up.
func TestStalledLoop(t *testing.T) {
	nettest.Need(t)
	stall := make(chan struct{})
	var once sync.Once
	var mu sync.Mutex
	var fell []Status
	blocker := Config{Local: ours, Peer: netip.MustParseAddr("127.0.0.3"), OnChange: func(s Status) {
		if s.State == Init {
			once.Do(func() { <-stall })
		}
	}}
	s, _ := run(t, Config{Local: ours, Peer: theirs, Interval: 20 * ms, OnChange: func(s Status) {
		mu.Lock()
		defer mu.Unlock()
		if s.Failed {
			fell = append(fell, s)
		}
	}}, blocker)
	f := newFakePeer(t)
	f.sample.desiredMinTx, f.sample.detectMult = 100*ms, 3
	f.up(s)
	third, err := net.ListenUDP("udp4", &net.UDPAddr{IP: blocker.Peer.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	own := f.conn
	f.conn = third
	f.ttl(255)
	f.say(packet{state: Down, detectMult: 3, myDiscr: 78, desiredMinTx: time.Second, requiredMin: time.Second}.append(nil))
	f.conn = own
	before := s.Status()[0].Received
	const packets = 60
	for range packets { // 600 ms: twice the detection time
		f.say(f.sample.append(nil))
		time.Sleep(10 * ms)
	}
	close(stall)
	await(t, s, "caught up", func(Status) bool { time.Sleep(ms); return s.Status()[0].Received >= before+packets })
	mu.Lock()
	defer mu.Unlock()
	if len(fell) > 0 {
		t.Errorf("fell: %+v", fell)
	}
	t.Logf("longest gap %s, late %s", s.Status()[0].Gap, s.Late())
}

// A peer that falls silent is a failure, told by OnChange and Changed; one that comes back is none any more.
func TestFailure(t *testing.T) {
	nettest.Need(t)
	told := make(chan Status, 100)
	s, _ := run(t, Config{Local: ours, Peer: theirs, OnChange: func(s Status) { told <- s }})
	f := newFakePeer(t)
	f.up(s)
	got := await(t, s, "down", down)
	if !got.Failed || got.Diag != TimeExpired || got.RemoteDiscriminator != 0 || got.Reason != "nothing came from the peer for 150ms" {
		t.Errorf("%+v", got)
	}
	for failed := false; !failed; failed = (<-told).Failed {
	}
	f.sample.state, f.sample.yourDiscr = Down, 0
	f.up(s)
	if got := s.Status()[0]; got.Failed {
		t.Errorf("%+v", got)
	}
}

// Nobody listens there: the operator is told. An address that this host does not have yet is waited for.
func TestReasons(t *testing.T) {
	nettest.Need(t)
	t.Run("closed port", func(t *testing.T) {
		s, _ := run(t, Config{Local: ours, Peer: theirs})
		await(t, s, "refused", func(s Status) bool { return strings.Contains(s.Reason, "UDP port 3784 is closed") })
	})
	t.Run("an address to come", func(t *testing.T) {
		local, peer := netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:1::2")
		s, _ := run(t, Config{Local: local, Peer: peer})
		await(t, s, "without address", func(s Status) bool { return strings.Contains(s.Reason, "2001:db8:1::1") })
		address(t, local.String())
		address(t, peer.String())
		run(t, Config{Local: peer, Peer: local})
		await(t, s, "up", up)
	})
	t.Run("an interface that is not there", func(t *testing.T) {
		s, _ := run(t, Config{Peer: netip.MustParseAddr("fe80::1%nowhere")})
		await(t, s, "without interface", func(s Status) bool { return strings.Contains(s.Reason, "interface nowhere: no such device") })
	})
}

// Two daemons on one address cannot be: the second one says so and ends.
func TestPortTaken(t *testing.T) {
	nettest.Need(t)
	run(t, Config{Peer: theirs})
	b, err := New(nil, Config{Peer: theirs, Local: ours})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "end the other BFD daemon") {
		t.Errorf("%v", err)
	}
}

// The thread must not make work for the garbage collector: it would stop itself.
func TestNoAllocationPerPacket(t *testing.T) {
	nettest.Need(t)
	l, once := turn(t)
	if n := testing.AllocsPerRun(1000, once); n != 0 {
		t.Errorf("%v allocations for a packet received, one sent, and a wait", n)
	}
	if r := l.runners[0]; r.state != Up || r.received.Load() < 1000 || r.sent.Load() < 1000 {
		t.Errorf("%v, %d received, %d sent", r.state, r.received.Load(), r.sent.Load())
	}
}

// BenchmarkPacket is one turn of the loop: wait, receive a packet, look at the session, send a packet.
func BenchmarkPacket(b *testing.B) {
	nettest.Need(b)
	_, once := turn(b)
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// turn returns a loop whose one session is its own peer and is up, and a function that lets it turn once.
func turn(t testing.TB) (*loop, func()) {
	t.Helper()
	s, err := New(nil, Config{Local: ours, Peer: ours, Interval: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	receivers, err := s.listen()
	if err != nil {
		t.Fatal(err)
	}
	l := newLoop(s.runners, receivers, -1)
	l.discarded, l.late, l.changed = s.discarded, &s.late, func(*Status, bool) {}
	r := s.runners[0]
	t.Cleanup(func() { receivers[0].close(); r.close() })
	r.start(time.Now())
	r.open(time.Now())
	l.drained = time.Now()
	r.receive(packet{state: Init, detectMult: 3, myDiscr: r.localDiscr, desiredMinTx: time.Second, requiredMin: time.Second, final: true}, l.drained)
	return l, func() {
		r.next, r.polling = time.Now(), false
		for range 2 { // one to send, one to receive
			if err := l.turn(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
