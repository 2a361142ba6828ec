package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// receiveBuffer is what a prober's socket asks for, in bytes: answers wait there while the prober does not run.
const receiveBuffer = 1 << 20

// A socket is a prober's UDP socket. It is not connected: a route that comes and goes, or an ICMP error, never stops
// it. One goroutine may send while another receives.
type socket struct {
	conn   *net.UDPConn
	raw    syscall.RawConn
	target netip.AddrPort // without zone
	to     unix.Sockaddr
	oob    []byte

	// Of the sending goroutine: transmit takes and returns by fields, so that a probe allocates nothing.
	packet    []byte
	sendErr   error // of the second try
	disturbed bool  // the first try failed
	sendFn    func(fd uintptr)

	errors    atomic.Int64
	lastError atomic.Pointer[string]
}

// openSocket opens a socket for packets from source (or any address) to target.
func openSocket(ctx context.Context, source netip.Addr, target netip.AddrPort) (*socket, error) {
	to, err := sockaddr(target)
	if err != nil {
		return nil, err
	}
	local := ""
	if source.IsValid() {
		local = source.String()
	}
	lc := net.ListenConfig{Control: controlled(func(fd int) error { return proberOptions(fd, target.Addr().Is4()) })}
	conn, err := lc.ListenPacket(ctx, network("udp", target.Addr()), net.JoinHostPort(local, "0"))
	if err != nil && source.IsValid() {
		return nil, fmt.Errorf("source %s: %w", source, plain(err))
	}
	if err != nil {
		return nil, fmt.Errorf("open socket to %s: %w", target, plain(err))
	}
	s := &socket{
		conn: conn.(*net.UDPConn), to: to, oob: make([]byte, 128),
		target: netip.AddrPortFrom(target.Addr().WithZone(""), target.Port()),
	}
	s.sendFn = s.transmit
	if s.raw, err = s.conn.SyscallConn(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// network returns the network of the address's family for the net package.
func network(kind string, a netip.Addr) string {
	if a.Is4() {
		return kind + "4"
	}
	return kind + "6"
}

// controlled turns a function on a new socket into what net.ListenConfig wants.
func controlled(set func(fd int) error) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = set(int(fd)) }); e != nil {
			return e
		}
		return err
	}
}

// plain unwraps what the net package adds to an error of the kernel.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	if call := (*os.SyscallError)(nil); errors.As(err, &call) {
		err = call.Err
	}
	return err
}

func proberOptions(fd int, is4 bool) error {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // as much as there is will do
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("SO_TIMESTAMPNS: %w", err)
	}
	if is4 {
		return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1)
	}
	return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, 1)
}

func sockaddr(a netip.AddrPort) (unix.Sockaddr, error) {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
	}
	sa := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, fmt.Errorf("target %s: interface %s: %w", a, zone, plain(err))
		}
		sa.ZoneId = uint32(link.Index)
	}
	return sa, nil
}

// send sends a packet and never waits. A failure is counted, not returned: the probe goes unanswered.
func (s *socket) send(packet []byte) {
	s.packet, s.sendErr, s.disturbed = packet, nil, false
	if err := s.raw.Control(s.sendFn); err != nil {
		s.sendErr = err
	}
	if s.disturbed {
		s.drain()
	}
	if s.sendErr != nil {
		s.count(s.sendErr)
	}
}

// transmit tries twice: the first error may be that of an earlier packet, whose ICMP answer arrived since.
func (s *socket) transmit(fd uintptr) {
	for range 2 {
		s.sendErr = unix.Sendto(int(fd), s.packet, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, s.to)
		if s.sendErr == nil {
			return
		}
		s.disturbed = true
	}
}

func (s *socket) count(err error) {
	s.errors.Add(1)
	text := err.Error()
	s.lastError.Store(&text)
}

// receive waits for a packet of the target and returns its length and when the kernel received it, or net.ErrClosed.
// A packet of anybody else has the length 0.
func (s *socket) receive(buf []byte) (n int, stamp time.Time, err error) {
	for {
		n, oobn, _, from, err := s.conn.ReadMsgUDPAddrPort(buf, s.oob)
		switch {
		case errors.Is(err, net.ErrClosed):
			return 0, time.Time{}, err
		case err != nil:
			s.drain() // an ICMP error; reading it has cleared it
			continue
		}
		if netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port()) != s.target {
			n = 0
		}
		return n, timestamp(s.oob[:oobn]), nil
	}
}

// timestamp finds SCM_TIMESTAMPNS in control messages; the zero time without it.
func timestamp(oob []byte) time.Time {
	for len(oob) >= unix.SizeofCmsghdr {
		head, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		if head.Level == unix.SOL_SOCKET && head.Type == unix.SCM_TIMESTAMPNS && len(data) >= 16 {
			ne := binary.NativeEndian
			return time.Unix(int64(ne.Uint64(data)), int64(ne.Uint64(data[8:])))
		}
		oob = rest
	}
	return time.Time{}
}

// drain counts and removes the ICMP errors that wait at the socket.
func (s *socket) drain() {
	_ = s.raw.Control(func(fd uintptr) {
		var oob [256]byte
		for {
			_, oobn, _, _, err := unix.Recvmsg(int(fd), nil, oob[:], unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			if err := icmpError(oob[:oobn]); err != nil {
				s.count(err)
			}
		}
	})
}

// icmpError returns the error in the control messages of an error queue (struct sock_extended_err begins with the
// errno).
func icmpError(oob []byte) error {
	for len(oob) >= unix.SizeofCmsghdr {
		head, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return nil
		}
		v4 := head.Level == unix.SOL_IP && head.Type == unix.IP_RECVERR
		v6 := head.Level == unix.SOL_IPV6 && head.Type == unix.IPV6_RECVERR
		if (v4 || v6) && len(data) >= 4 {
			return unix.Errno(binary.NativeEndian.Uint32(data))
		}
		oob = rest
	}
	return nil
}

func (s *socket) close() error { return s.conn.Close() }
