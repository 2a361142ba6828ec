package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// receiveBuffer is asked of the kernel for every UDP socket; the default holds less than 200 small queries.
const receiveBuffer = 1 << 20

// Listeners are the sockets of a server, bound and not yet read. Make them with Listen.
type Listeners struct {
	addrs []netip.AddrPort
	tcp   []*net.TCPListener
	udp   []*udpSocket
}

// udpSocket is one of several that share an address: each is read by one goroutine.
type udpSocket struct {
	*net.UDPConn
	v4       bool
	wildcard bool // the address that a query came to is in a control message
}

// Listen binds UDP and TCP on every address. An address that the host does not have yet is fine: an anycast address may
// come later. An address that anybody else holds is not, another edgedns included: nothing stays open then. Port 0 means
// any free port, the same for both.
func Listen(addrs []netip.AddrPort) (*Listeners, error) {
	l := new(Listeners)
	for _, addr := range addrs {
		if err := l.listen(addr); err != nil {
			l.Close()
			return nil, fmt.Errorf("listen %s: %w", addr, explain(err))
		}
	}
	return l, nil
}

// explain says what a person can do about err.
func explain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = fmt.Errorf("%s: %w", op.Net[:3], op.Err)
	}
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("%w: another program answers there: stop it, or choose another address", err)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: ports below 1024 need root or CAP_NET_BIND_SERVICE", err)
	default:
		return err
	}
}

// Addrs returns the addresses that are bound, with their ports.
func (l *Listeners) Addrs() []netip.AddrPort { return append([]netip.AddrPort(nil), l.addrs...) }

// Close closes all sockets. Server.Run does it too.
func (l *Listeners) Close() {
	for _, s := range l.tcp {
		s.Close()
	}
	for _, s := range l.udp {
		s.Close()
	}
}

func (l *Listeners) listen(addr netip.AddrPort) error {
	config := net.ListenConfig{Control: control(addr, unix.IP_FREEBIND, unix.IPV6_FREEBIND)}
	stream, err := config.Listen(context.Background(), network("tcp", addr), addr.String())
	if err != nil {
		return err
	}
	l.tcp = append(l.tcp, stream.(*net.TCPListener))
	addr = netip.AddrPortFrom(addr.Addr(), uint16(stream.Addr().(*net.TCPAddr).Port))
	for range runtime.GOMAXPROCS(0) {
		if err := l.packet(config, addr); err != nil {
			return err
		}
		// The first socket of an address is bound without SO_REUSEPORT, which makes the kernel refuse it when anybody
		// else is there. The ones that follow join it.
		config.Control = control(addr, unix.IP_FREEBIND, unix.IPV6_FREEBIND, unix.SO_REUSEPORT)
	}
	l.addrs = append(l.addrs, addr)
	return nil
}

// packet binds one UDP socket and lets further ones share its address.
func (l *Listeners) packet(config net.ListenConfig, addr netip.AddrPort) error {
	c, err := config.ListenPacket(context.Background(), network("udp", addr), addr.String())
	if err != nil {
		return err
	}
	s := &udpSocket{UDPConn: c.(*net.UDPConn), v4: addr.Addr().Is4(), wildcard: addr.Addr().IsUnspecified()}
	l.udp = append(l.udp, s)
	_ = s.SetReadBuffer(receiveBuffer) // as much as the kernel allows
	if err := s.askDestination(); err != nil {
		return err
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	return onDescriptor(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
}

// askDestination has the kernel tell which of the host's addresses a query came to.
func (s *udpSocket) askDestination() error {
	switch {
	case !s.wildcard:
		return nil
	case s.v4:
		return ipv4.NewPacketConn(s).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	default:
		return ipv6.NewPacketConn(s).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	}
}

// network names the family, so that [::] does not take IPv4 queries too (package net then sets IPV6_V6ONLY).
func network(transport string, addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return transport + "4"
	}
	return transport + "6"
}

// control sets options before the socket is bound.
func control(addr netip.AddrPort, v4, v6 int, socket ...int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		return onDescriptor(raw, func(fd int) error {
			for _, option := range socket {
				if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1); err != nil {
					return err
				}
			}
			if addr.Addr().Is4() {
				return unix.SetsockoptInt(fd, unix.SOL_IP, v4, 1)
			}
			return unix.SetsockoptInt(fd, unix.SOL_IPV6, v6, 1)
		})
	}
}

func onDescriptor(raw syscall.RawConn, do func(fd int) error) error {
	var result error
	if err := raw.Control(func(fd uintptr) { result = do(int(fd)) }); err != nil {
		return err
	}
	return result
}
