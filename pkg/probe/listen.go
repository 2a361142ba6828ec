package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// anyPortTries is how often a port that is free for UDP and TCP is looked for where any will do.
const anyPortTries = 16

// A listenPair is UDP and TCP on one address and port.
type listenPair struct {
	udp *net.UDPConn
	tcp *net.TCPListener
}

func (p listenPair) addr() netip.AddrPort {
	a := p.tcp.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (p listenPair) close() { _, _ = p.udp.Close(), p.tcp.Close() }

func closePairs(pairs []listenPair) {
	for _, p := range pairs {
		p.close()
	}
}

// listen opens both sockets. Where any port will do, it looks for one that both can have.
func listen(ctx context.Context, addr netip.AddrPort) (pair listenPair, err error) {
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	for range anyPortTries {
		if pair, err = listenOn(ctx, addr); err == nil || addr.Port() != 0 || !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	return pair, err
}

func listenOn(ctx context.Context, addr netip.AddrPort) (pair listenPair, err error) {
	lc := net.ListenConfig{Control: controlled(func(fd int) error { return responderOptions(fd, addr.Addr()) })}
	lc.SetMultipathTCP(false)
	conn, err := lc.ListenPacket(ctx, network("udp", addr.Addr()), addr.String())
	if err != nil {
		return pair, listenError("udp", addr, err)
	}
	pair.udp = conn.(*net.UDPConn)
	same := netip.AddrPortFrom(addr.Addr(), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	l, err := lc.Listen(ctx, network("tcp", addr.Addr()), same.String())
	if err != nil {
		_ = conn.Close()
		return pair, listenError("tcp", same, err)
	}
	pair.tcp = l.(*net.TCPListener)
	return pair, nil
}

// listenError names the address and, where one is known, the remedy.
func listenError(proto string, addr netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("listen on %s %s: %w: end the program that has it, or choose another port", proto, addr, plain(err))
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("listen on %s %s: %w: ports below 1024 need CAP_NET_BIND_SERVICE", proto, addr, plain(err))
	default:
		return fmt.Errorf("listen on %s %s: %w", proto, addr, plain(err))
	}
}

// responderOptions lets a socket bind an address that the host gets later, and asks, where it is bound to all
// addresses, for the one that each packet came to.
func responderOptions(fd int, a netip.Addr) error {
	level, freebind, packetInfo := unix.SOL_IPV6, unix.IPV6_FREEBIND, unix.IPV6_RECVPKTINFO
	if a.Is4() {
		level, freebind, packetInfo = unix.SOL_IP, unix.IP_FREEBIND, unix.IP_PKTINFO
	}
	if err := unix.SetsockoptInt(fd, level, freebind, 1); err != nil {
		return fmt.Errorf("free bind: %w", err)
	}
	if !a.IsUnspecified() {
		return nil
	}
	if kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_DGRAM {
		return err
	}
	return unix.SetsockoptInt(fd, level, packetInfo, 1)
}
