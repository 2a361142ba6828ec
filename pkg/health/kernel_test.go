package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// server is a child process that holds one socket.
type server struct{ cmd *exec.Cmd }

func startServer(t testing.TB, network, address string) *server {
	t.Helper()
	return startProcess(t, network, address, 0, 0)
}

// startProcess starts a server that holds that much memory, in namespaces of its own.
func startProcess(t testing.TB, network, address string, mebibytes int, namespaces uintptr) *server {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", envServe, network, address, mebibytes))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	out, err := cmd.StdoutPipe()
	if err == nil {
		_, err = cmd.StdinPipe()
	}
	if err == nil {
		err = nettest.Start(cmd)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &server{cmd}
	t.Cleanup(s.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Fatalf("server %s %s: %q, %v", network, address, line, err)
	}
	return s
}

// kill may be called more than once.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// start runs a monitor until the test ends.
func start(t testing.TB, services ...Service) *Monitor {
	t.Helper()
	m := NewMonitor(nil, services...)
	run(t, m)
	return m
}

func run(t testing.TB, m *Monitor) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// wait returns the status of the first service once it is in state.
func wait(m *Monitor, state State) Status {
	for {
		if s := m.Status()[0]; s.State == state {
			return s
		}
		<-m.Changed()
	}
}

// watching is a service with nothing but a listener. Its long interval leaves the notice of an end to events.
func watching(l Listener) Service {
	return Service{Name: "svc", Checks: []Check{{
		Name: "socket", Listener: &l, Interval: time.Hour, FastInterval: time.Millisecond,
	}}}
}

func TestKilledServerIsDown(t *testing.T) {
	nettest.Need(t)
	for _, test := range []struct {
		network, address string
		listener         Listener
		reason           string
	}{
		{"udp6", "[::]:5300", Listener{Network: "udp", Port: 5300}, "socket: last udp socket on port 5300 destroyed"},
		{"udp4", "127.0.0.1:5300", Listener{Network: "udp", Port: 5300}, "socket: last udp socket on port 5300 destroyed"},
		{"udp", "[::]:5300", Listener{Network: "udp", Address: netip.MustParseAddr("127.0.0.1"), Port: 5300},
			"socket: last udp socket on 127.0.0.1:5300 destroyed"},
		{"tcp", "[::1]:5300", Listener{Network: "tcp", Address: netip.MustParseAddr("::1"), Port: 5300},
			"socket: last tcp socket on [::1]:5300 destroyed"},
		{"tcp4", "0.0.0.0:5300", Listener{Network: "tcp", Port: 5300}, "socket: last tcp socket on port 5300 destroyed"},
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			s := startServer(t, test.network, test.address)
			m := start(t, watching(test.listener))
			wait(m, Up)
			before := time.Now()
			s.kill()
			got := wait(m, Down)
			if got.Reason != test.reason {
				t.Errorf("reason %q, want %q", got.Reason, test.reason)
			}
			if got.Noticed.Before(before) || got.Since.Before(got.Noticed) {
				t.Errorf("killed %v, noticed %v, down since %v: want this order", before, got.Noticed, got.Since)
			}
			startServer(t, test.network, test.address)
			wait(m, Up)
		})
	}
}

func TestServerMissingAtStartIsDown(t *testing.T) {
	nettest.Need(t)
	m := start(t, watching(Listener{Network: "udp", Port: 5301}))
	if got := wait(m, Down); got.Reason != "socket: no udp socket on port 5301" {
		t.Errorf("reason %q", got.Reason)
	}
}

func TestRestartOnTheSamePort(t *testing.T) {
	nettest.Need(t)
	m := start(t, watching(Listener{Network: "tcp", Port: 5302}))
	for range 20 {
		l, err := net.Listen("tcp", "[::1]:5302")
		if err != nil {
			t.Fatal(err)
		}
		wait(m, Up)
		l.Close()
		wait(m, Down)
	}
}

// Connections of a server end all the time; only the end of what listens counts.
func TestClosedConnectionIsNoEvent(t *testing.T) {
	nettest.Need(t)
	l, err := net.Listen("tcp", "[::1]:5303")
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan socketEvent, 16)
	watchEvents(t, events, Listener{Network: "tcp", Port: 5303})
	for range 3 {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
		accepted.Close()
	}
	l.Close()
	wantEvents(t, events, socketEvent{network: "tcp", port: 5303})
	if len(events) > 0 {
		t.Errorf("event %+v after the only one that was due", <-events)
	}
}

// A busy host: sockets on other ports end by the thousand while one that is watched does.
func TestChurnLosesNoEvent(t *testing.T) {
	nettest.Need(t)
	stop := make(chan struct{})
	var churn sync.WaitGroup
	defer churn.Wait()
	defer close(stop)
	for range 2 {
		churn.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if c, err := net.Dial("udp", "[::1]:9"); err == nil {
					c.Close()
				}
			}
		})
	}
	m := start(t, watching(Listener{Network: "udp", Port: 5304}))
	for range 100 {
		c, err := net.ListenPacket("udp", "[::1]:5304")
		if err != nil {
			t.Fatal(err)
		}
		wait(m, Up)
		c.Close()
		if got := wait(m, Down); !strings.HasSuffix(got.Reason, "destroyed") {
			t.Fatalf("down by %q, want an event", got.Reason)
		}
	}
}

// One of two sockets on a port goes: the service is not down, but it is asked at once.
func TestReusedPortOutlivesOneSocket(t *testing.T) {
	nettest.Need(t)
	first, second := reusePort(t), reusePort(t)
	asked := make(chan struct{}, 1)
	service := watching(Listener{Network: "udp", Port: 5305})
	service.Checks = append(service.Checks, Check{Name: "answers", Interval: time.Hour, Checker: checkFunc(func(context.Context) error {
		asked <- struct{}{}
		return nil
	})})
	m := start(t, service)
	<-asked
	before := wait(m, Up)
	first.Close()
	<-asked // the socket's end was seen, else nothing asks within the hour
	if got := m.Status()[0]; got.State != Up || got.Since != before.Since {
		t.Errorf("one of two sockets closed: %v since %v (%s), want up since %v", got.State, got.Since, got.Reason, before.Since)
	}
	second.Close()
	wait(m, Down)
	<-asked // starts anew
}

func reusePort(t *testing.T) net.PacketConn {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		control := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		return errors.Join(control, err)
	}}
	c, err := config.ListenPacket(t.Context(), "udp", "[::1]:5305")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Many sockets on one port end at once: few events are reported, and the last of them after the last end.
func TestManySocketsOfOneServer(t *testing.T) {
	nettest.Need(t)
	var sockets []net.PacketConn
	for range 64 {
		sockets = append(sockets, reusePort(t))
	}
	m := start(t, watching(Listener{Network: "udp", Port: 5305}))
	wait(m, Up)
	for _, s := range sockets {
		s.Close()
	}
	if got := wait(m, Down); got.Reason != "socket: last udp socket on port 5305 destroyed" {
		t.Errorf("reason %q", got.Reason)
	}
}

// The reader sleeps while the kernel's queue overflows: that is told, and nothing else is needed.
func TestOverflowIsTold(t *testing.T) {
	nettest.Need(t)
	many, last := Listener{Network: "udp", Port: 5313}, Listener{Network: "udp", Port: 5314}
	k, err := openKernel(Namespace{}, []Listener{many})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	shrinkQueue(t, k)
	others := make(chan socketEvent, 1000)
	watchEvents(t, others, last)
	for i := range 501 {
		port := many.Port
		if i == 500 {
			port = last.Port
		}
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback, Port: int(port)})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	<-others // the kernel has told the end of the last one, so that of the others as well
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var lost bool
	if err := k.watch(ctx, func(e socketEvent) {
		if lost = lost || e.lost; lost {
			cancel()
		}
	}); err != nil || !lost {
		t.Errorf("lost %v, %v", lost, err)
	}
}

// Sockets on the watched port come and go while nobody reads, and the last one goes among them, unseen: it is missed
// all the same.
func TestFloodHidesNoEnd(t *testing.T) {
	nettest.Need(t)
	l, last := Listener{Network: "udp", Port: 5315}, Listener{Network: "udp", Port: 5316}
	m := NewMonitor(nil, watching(l))
	reading := make(chan struct{})
	m.open = func(where Namespace, listeners []Listener) (kernel, error) {
		k, err := openKernel(where, listeners)
		if err == nil {
			shrinkQueue(t, k)
		}
		return late{k, reading}, err
	}
	run(t, m)
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback, Port: int(l.Port)})
	if err != nil {
		t.Fatal(err)
	}
	wait(m, Up)
	others := make(chan socketEvent, 1000)
	watchEvents(t, others, last)
	other := net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(l.Port)}
	for i := range 501 {
		if i == 500 {
			other.Port = int(last.Port)
		}
		flood, err := net.ListenUDP("udp4", &other)
		if err != nil {
			t.Fatal(err)
		}
		flood.Close()
		if i == 400 {
			c.Close()
		}
	}
	<-others // the kernel has told the end of the last one, so that of the others as well: it does so in its own time
	close(reading)
	wait(m, Down)
	for testutil.ToFloat64(m.metrics.lost) == 0 { // the end may have been seen a moment before it
		time.Sleep(time.Millisecond)
	}
}

// late is a kernel whose news nobody reads before a time.
type late struct {
	kernel
	from <-chan struct{}
}

func (k late) watch(ctx context.Context, saw func(socketEvent)) error {
	select {
	case <-k.from:
	case <-ctx.Done():
		return nil
	}
	return k.kernel.watch(ctx, saw)
}

// A server that reloads opens its new socket before it closes the old one.
func TestReloadIsNoEnd(t *testing.T) {
	nettest.Need(t)
	old := reusePort(t)
	m := start(t, watching(Listener{Network: "udp", Port: 5305}))
	wait(m, Up)
	for range 200 {
		next := reusePort(t)
		old.Close()
		old = next
	}
	old.Close()
	wait(m, Down)
	if n := testutil.ToFloat64(m.metrics.transitions.WithLabelValues("svc", "socket", "down")); n != 1 {
		t.Errorf("down %v times, want once, at the end", n)
	}
}

func shrinkQueue(t *testing.T, k kernel) {
	t.Helper()
	raw, err := k.(sockDiag).events.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	control := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	if err := errors.Join(control, err); err != nil {
		t.Fatal(err)
	}
}

func TestBatchKeepsTheFirstOfEachPort(t *testing.T) {
	var b batch
	first, later := time.Unix(1, 0), time.Unix(2, 0)
	for _, e := range []socketEvent{{network: "udp", port: 53, at: first}, {network: "tcp", port: 53, at: first}, {network: "udp", port: 53, at: later}, {lost: true, at: later}} {
		b.add(e)
	}
	want := []socketEvent{{network: "udp", port: 53, at: first}, {network: "tcp", port: 53, at: first}, {lost: true, at: later}}
	if !slices.Equal(b.events, want) {
		t.Errorf("got %v, want %v", b.events, want)
	}
}

// A listening socket can be shut down without an end; the next look at the table sees it.
func TestShutdownListenerIsSeen(t *testing.T) {
	nettest.Need(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	err = errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: 5306, Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 1))
	if err != nil {
		t.Fatal(err)
	}
	service := watching(Listener{Network: "tcp", Port: 5306})
	service.Checks[0].Interval = 10 * time.Millisecond
	m := start(t, service)
	wait(m, Up)
	if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	if got := wait(m, Down); got.Reason != "socket: no tcp socket on port 5306" {
		t.Errorf("reason %q", got.Reason)
	}
}

func TestBound(t *testing.T) {
	nettest.Need(t)
	any, v4, v6, any4, any6 := "", "127.0.0.1", "::1", "0.0.0.0", "::"
	for _, test := range []struct {
		network, address string
		serves           []string
	}{
		{"udp4", "127.0.0.1:5307", []string{any, v4}},
		{"udp4", "127.0.0.2:5307", []string{any}},
		{"udp4", "0.0.0.0:5307", []string{any, v4, any4}},
		{"udp6", "[::1]:5307", []string{any, v6}},
		{"udp6", "[::]:5307", []string{any, v6, any6}}, // Go makes udp6 IPv6 only
		{"udp", "[::]:5307", []string{any, v4, v6, any4, any6}},
		{"udp", "[::1]:5308", nil}, // another port
		{"tcp", "[::1]:5307", nil}, // another protocol
	} {
		t.Run(test.network+" "+test.address, func(t *testing.T) {
			s, err := bind(test.network, test.address)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for _, addr := range []string{any, v4, v6, any4, any6} {
				l := Listener{Network: "udp", Port: 5307}
				if addr != "" {
					l.Address = netip.MustParseAddr(addr)
				}
				got, err := sockDiag{}.bound(l)
				if err != nil || got != slices.Contains(test.serves, addr) {
					t.Errorf("serves %q: %v, %v; want %v", addr, got, err, !got)
				}
			}
		})
	}
}

func TestConnectedSocketServesNobody(t *testing.T) {
	nettest.Need(t)
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv6loopback, Port: 5309}, &net.UDPAddr{IP: net.IPv6loopback, Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := (sockDiag{}).bound(Listener{Network: "udp", Port: 5309}); got || err != nil {
		t.Errorf("bound: %v, %v; want false", got, err)
	}
}

// A dump of many sockets takes several datagrams.
func TestLongDump(t *testing.T) {
	nettest.Need(t)
	const n = 500
	for i := range n {
		c, err := net.ListenPacket("udp4", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, byte(i >> 8), byte(i)}).Next(), 5310).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	absent, last := netip.MustParseAddr("127.9.9.9"), netip.AddrFrom4([4]byte{127, 0, (n - 1) >> 8, (n - 1) & 255}).Next()
	for addr, want := range map[netip.Addr]bool{absent: false, last: true} {
		if got, err := (sockDiag{}).bound(Listener{Network: "udp", Address: addr, Port: 5310}); got != want || err != nil {
			t.Errorf("bound %v: %v, %v; want %v", addr, got, err, want)
		}
	}
}

func TestManyPorts(t *testing.T) {
	nettest.Need(t)
	for _, n := range []int{1, 300, maxFilterPorts, maxFilterPorts + 1} {
		listeners := make([]Listener, n)
		for i := range listeners {
			listeners[i] = Listener{Network: "udp", Port: uint16(10000 + i)}
		}
		last := listeners[n-1].Port
		events := make(chan socketEvent, 16)
		watchEvents(t, events, listeners[0], listeners[n-1])
		if len(filter(listeners)) > 4096 {
			t.Fatalf("%d ports: filter of %d instructions", n, len(filter(listeners)))
		}
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv6loopback, Port: int(last)})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		wantEvents(t, events, socketEvent{network: "udp", port: last})
	}
}

func watchEvents(t *testing.T, events chan<- socketEvent, listeners ...Listener) {
	t.Helper()
	k, err := openKernel(Namespace{}, listeners)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- k.watch(ctx, func(e socketEvent) { events <- e }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
}

func wantEvents(t *testing.T, events <-chan socketEvent, want ...socketEvent) {
	t.Helper()
	for _, w := range want {
		got := <-events
		got.at = time.Time{}
		if got != w {
			t.Errorf("event %+v, want %+v", got, w)
		}
	}
}

// checkFunc is a Checker made of a function.
type checkFunc func(context.Context) error

func (f checkFunc) Check(ctx context.Context) error { return f(ctx) }

// BenchmarkKilledServer reports how long it takes from SIGKILL until the monitor has read the event, and from there until
// the service is down and everybody who waits for a change is told.
func BenchmarkKilledServer(b *testing.B) {
	nettest.Need(b)
	m := start(b, watching(Listener{Network: "udp", Port: 5311}))
	var event, state, told []time.Duration
	for b.Loop() {
		s := startServer(b, "udp", "[::1]:5311")
		wait(m, Up)
		killed := time.Now()
		_ = s.cmd.Process.Kill()
		down := wait(m, Down)
		told = append(told, time.Since(down.Noticed))
		event = append(event, down.Noticed.Sub(killed))
		state = append(state, down.Since.Sub(down.Noticed))
		s.kill()
	}
	report(b, "kill-to-event", event)
	report(b, "event-to-down", state)
	report(b, "event-to-told", told)
}

func report(b *testing.B, name string, d []time.Duration) {
	slices.Sort(d)
	b.ReportMetric(float64(d[len(d)/2].Microseconds()), name+"-us/median")
	b.ReportMetric(float64(d[len(d)-1].Microseconds()), name+"-us/max")
}

// BenchmarkBound is the cost of one look at the socket table that finds nothing, the dearest kind.
func BenchmarkBound(b *testing.B) {
	nettest.Need(b)
	for _, network := range []string{"udp", "tcp"} {
		b.Run(network, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := (sockDiag{}).bound(Listener{Network: network, Port: 5312}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
