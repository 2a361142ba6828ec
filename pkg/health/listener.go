package health

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// look is one look at the socket table: the slow, sure half of a listener's watch. It sees what comes back and what no
// event tells, such as shutdown(2) of a listening socket.
type look struct {
	kernel   kernel
	listener Listener
}

// Check implements Checker.
func (l look) Check(context.Context) error {
	bound, err := l.kernel.bound(l.listener)
	switch {
	case errors.As(err, new(absentError)):
		return err
	case err != nil:
		return unsureError{err}
	case !bound:
		return fmt.Errorf("no %s", l.listener.describe())
	default:
		return nil
	}
}

// absentError tells that what a socket or a process would be in is not there, so neither is it.
type absentError struct{ error }

// unsureError tells that an attempt found out nothing, good or bad.
type unsureError struct{ err error }

func (e unsureError) Error() string { return e.err.Error() }
func (e unsureError) Unwrap() error { return e.err }

func unsure(err error) bool {
	var e unsureError
	return errors.As(err, &e)
}

// describe names the socket for people: "udp socket on port 53", "tcp socket on [::1]:53".
func (l Listener) describe() string {
	if !l.Address.IsValid() {
		return fmt.Sprintf("%s socket on port %d", l.Network, l.Port)
	}
	return fmt.Sprintf("%s socket on %v", l.Network, netip.AddrPortFrom(l.Address, l.Port))
}

// protocol returns the IP protocol number of a network's name, 0 for an unknown one.
func protocol(network string) uint8 {
	switch network {
	case "tcp":
		return unix.IPPROTO_TCP
	case "udp":
		return unix.IPPROTO_UDP
	default:
		return 0
	}
}

// network is the reverse of protocol.
func network(protocol uint8) string {
	switch protocol {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	default:
		return ""
	}
}

// families returns the address families whose sockets may serve l: an IPv6 socket on the wildcard serves IPv4 as well.
func (l Listener) families() []uint8 {
	if addr := l.Address.Unmap(); addr.IsValid() && addr.Is6() {
		return []uint8{unix.AF_INET6}
	}
	return []uint8{unix.AF_INET6, unix.AF_INET}
}

// servedBy tells whether packets to l reach s.
func (l Listener) servedBy(s socket) bool {
	if s.port != l.Port || s.state != l.idleState() {
		return false
	}
	want, got := l.Address.Unmap().WithZone(""), s.addr.Unmap()
	switch {
	case !want.IsValid(), got == want:
		return true
	case !got.IsUnspecified():
		return false
	case want.Is4():
		return got.Is4() || !s.v6only
	default:
		return got.Is6()
	}
}

// idleState is the state of a socket that waits for anyone: TCP listens, UDP is not connected.
func (l Listener) idleState() uint8 {
	if l.Network == "tcp" {
		return tcpListen
	}
	return tcpClose
}
