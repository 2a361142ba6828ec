package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	"golang.org/x/net/netutil"
	"golang.org/x/sys/unix"
)

// maxTCP bounds the TCP connections of one listen address: a client that opens more waits, UDP is not touched.
const maxTCP = 256

// Listeners are the open sockets of a server.
type Listeners struct {
	udp []net.PacketConn
	tcp []net.Listener
}

// Listen opens UDP and TCP sockets on every address: over UDP one for each processor. An address need not be on the host
// yet (IP_FREEBIND). The TCP socket comes first, and without SO_REUSEPORT, so that a second server on the same address
// is told instead of silently getting half of the queries. Binding a port below 1024 needs CAP_NET_BIND_SERVICE.
func Listen(ctx context.Context, addrs []netip.AddrPort) (*Listeners, error) {
	l := &Listeners{}
	for _, addr := range addrs {
		if err := l.open(ctx, addr); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

func (l *Listeners) open(ctx context.Context, addr netip.AddrPort) error {
	family := "6"
	if addr.Addr().Unmap().Is4() {
		family = "4"
	}
	tcp, err := (&net.ListenConfig{Control: control(false)}).Listen(ctx, "tcp"+family, addr.String())
	if err != nil {
		return listenError("tcp", addr, err)
	}
	l.tcp = append(l.tcp, netutil.LimitListener(tcp, maxTCP))
	if addr.Port() == 0 { // tests: the same free port for both
		addr = netip.AddrPortFrom(addr.Addr(), tcp.Addr().(*net.TCPAddr).AddrPort().Port())
	}
	for range runtime.GOMAXPROCS(0) {
		udp, err := (&net.ListenConfig{Control: control(true)}).ListenPacket(ctx, "udp"+family, addr.String())
		if err != nil {
			return listenError("udp", addr, err)
		}
		l.udp = append(l.udp, udp)
	}
	return nil
}

// control sets socket options before bind.
func control(reuse bool) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			level, option := unix.SOL_IP, unix.IP_FREEBIND
			if network[len(network)-1] == '6' {
				level, option = unix.SOL_IPV6, unix.IPV6_FREEBIND
			}
			set = unix.SetsockoptInt(int(fd), level, option, 1)
			if reuse && set == nil {
				set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			}
		})
		return errors.Join(err, set)
	}
}

func listenError(network string, addr netip.AddrPort, err error) error {
	remedy := ""
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		remedy = ": another program answers there; stop it, or listen on other addresses"
	case errors.Is(err, unix.EACCES):
		remedy = ": a port below 1024 needs root or CAP_NET_BIND_SERVICE"
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = errno
	}
	return fmt.Errorf("listen %s (%s): %w%s", addr, network, err, remedy)
}

// Addrs returns where the listeners listen.
func (l *Listeners) Addrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, t := range l.tcp {
		addrs = append(addrs, t.Addr().(*net.TCPAddr).AddrPort())
	}
	return addrs
}

// Close closes all sockets. A running Server closes them itself.
func (l *Listeners) Close() {
	for _, c := range l.udp {
		_ = c.Close()
	}
	for _, t := range l.tcp {
		_ = t.Close()
	}
}
