package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	ttl = 255 // RFC 5881 section 5; of multihop packets, too, so that the peer can count hops
	// trafficClass is DSCP CS6, network control.
	trafficClass = 48 << 2
	// received bounds what waits in a socket: seconds of many sessions.
	received = 1 << 20
)

// A receiver is a socket that is listened on. Its buffers are used again for every packet.
type receiver struct {
	fd       int
	v6       bool
	multihop bool
	packet   [256]byte
	control  [256]byte
	name     unix.RawSockaddrInet6 // RawSockaddrInet4 fits
	vector   unix.Iovec
	message  unix.Msghdr
}

// A datagram is what a receiver read; valid until it reads the next one.
type datagram struct {
	payload  []byte
	from     netip.Addr // without zone
	ttl      int
	ifindex  int
	received int64 // by the kernel, wall clock in ns; zero: unknown
}

// newReceiver listens. The address need not be there yet.
func newReceiver(l listen) (*receiver, error) {
	a := l.address.Addr()
	r := &receiver{v6: a.Is6(), multihop: l.multihop}
	fd, err := datagramSocket(a)
	if err != nil {
		return nil, fmt.Errorf("listen on UDP %s: %w", l.address, err)
	}
	r.fd = fd
	r.vector.Base = &r.packet[0]
	r.message.Name = (*byte)(unsafe.Pointer(&r.name))
	r.message.Iov = &r.vector
	r.message.Iovlen = 1
	r.message.Control = &r.control[0]
	if err := errors.Join(r.options(), unix.Bind(fd, sockaddr(l.address, 0))); err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.EADDRINUSE) {
			err = fmt.Errorf("%w: end the other BFD daemon of this host (bfdd, bird, an agent), or give the sessions local addresses", err)
		}
		return nil, fmt.Errorf("listen on UDP %s: %w", l.address, err)
	}
	return r, nil
}

// options asks for what tells a good packet from others: TTL, interface, and when the kernel had it.
func (r *receiver) options() error {
	_ = unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, received) // as much as is allowed
	err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
	if r.v6 {
		return errors.Join(err,
			unix.SetsockoptInt(r.fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 1),
			unix.SetsockoptInt(r.fd, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1),
			unix.SetsockoptInt(r.fd, unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, 1),
			unix.SetsockoptInt(r.fd, unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1))
	}
	return errors.Join(err,
		unix.SetsockoptInt(r.fd, unix.SOL_IP, unix.IP_FREEBIND, 1),
		unix.SetsockoptInt(r.fd, unix.SOL_IP, unix.IP_RECVTTL, 1),
		unix.SetsockoptInt(r.fd, unix.SOL_IP, unix.IP_PKTINFO, 1))
}

// receive reads one packet; false: there is none.
func (r *receiver) receive() (d datagram, ok bool) {
	r.vector.SetLen(len(r.packet))
	r.message.Namelen = unix.SizeofSockaddrInet6
	r.message.SetControllen(len(r.control))
	// Never blocks, so the runtime need not know; a Go wrapper would allocate the address.
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.message)), unix.MSG_DONTWAIT)
	if errno != 0 { // EAGAIN, and what else there may be has been taken from the socket: it wakes again for more
		return d, false
	}
	d.payload = r.packet[:n]
	d.from = r.from()
	d.controls(r.control[:r.message.Controllen])
	return d, true
}

func (r *receiver) from() netip.Addr {
	if r.v6 {
		return netip.AddrFrom16(r.name.Addr)
	}
	return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&r.name)).Addr)
}

// controls reads the control messages.
func (d *datagram) controls(b []byte) {
	for len(b) >= unix.SizeofCmsghdr {
		head, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			return
		}
		b = rest
		switch {
		case len(data) < 4:
		case head.Level == unix.SOL_IP && head.Type == unix.IP_TTL, head.Level == unix.SOL_IPV6 && head.Type == unix.IPV6_HOPLIMIT:
			d.ttl = int(binary.NativeEndian.Uint32(data))
		case head.Level == unix.SOL_IP && head.Type == unix.IP_PKTINFO:
			d.ifindex = int(binary.NativeEndian.Uint32(data))
		case head.Level == unix.SOL_IPV6 && head.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			d.ifindex = int(binary.NativeEndian.Uint32(data[16:]))
		case head.Level == unix.SOL_SOCKET && head.Type == unix.SO_TIMESTAMPNS_NEW && len(data) >= 16:
			d.received = int64(binary.NativeEndian.Uint64(data))*int64(time.Second) + int64(binary.NativeEndian.Uint64(data[8:]))
		}
	}
}

func (r *receiver) close() { _ = unix.Close(r.fd) }

// A sender is the socket of one session towards one port of its peer.
type sender struct {
	fd      int  // -1: not open
	useless bool // not open, or it does not send
	port    uint16
	opened  time.Time
	ifindex int
	err     error // of the last attempt to open or send
	well    int   // packets sent since; two prove that the first one was not refused
}

// Source ports (RFC 5881 section 4): one for each session, kept for its life.
const (
	firstPort = 49152
	portTries = 64
)

// open makes a socket that sends to the peer alone, and keeps the one that was there when it cannot.
func (s *sender) open(c Config, multihop bool, now time.Time, random func(n int) int) {
	s.opened = now
	ifindex, err := interfaceIndex(c.Interface)
	if err != nil {
		s.err = fmt.Errorf("interface %s: %w", c.Interface, err)
		return
	}
	fd, err := datagramSocket(c.Peer)
	if err != nil {
		s.err = err
		return
	}
	if err := s.prepare(fd, c, multihop, ifindex, random); err != nil {
		_ = unix.Close(fd)
		s.err = err
		return
	}
	s.useless, s.ifindex, s.well = false, ifindex, 0
	if s.fd < 0 {
		s.fd = fd
		return
	}
	// The descriptor stays what it was: the stand-in may be about to use it.
	_ = unix.Dup3(fd, s.fd, unix.O_CLOEXEC)
	_ = unix.Close(fd)
}

func (s *sender) prepare(fd int, c Config, multihop bool, ifindex int, random func(n int) int) error {
	if err := sendOptions(fd, c.Peer.Is6()); err != nil {
		return err
	}
	if c.Interface != "" {
		if err := unix.BindToDevice(fd, c.Interface); err != nil {
			return fmt.Errorf("bind to %s: %w", c.Interface, err)
		}
	}
	if err := s.bind(fd, c, ifindex, random); err != nil {
		return err
	}
	peer := netip.AddrPortFrom(c.Peer, port(multihop))
	if err := unix.Connect(fd, sockaddr(peer, ifindex)); err != nil {
		return fmt.Errorf("send to %s: %w", c.Peer, err)
	}
	return nil
}

func sendOptions(fd int, v6 bool) error {
	if v6 {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, ttl),
			unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TCLASS, trafficClass))
	}
	return errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TTL, ttl),
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TOS, trafficClass))
}

// bind takes the session's port, or a random one the first time and whenever somebody else has it.
func (s *sender) bind(fd int, c Config, ifindex int, random func(n int) int) error {
	local := c.Local
	if !local.IsValid() {
		local = netip.IPv4Unspecified()
		if c.Peer.Is6() {
			local = netip.IPv6Unspecified()
		}
	}
	var err error
	for range portTries {
		if s.port == 0 {
			s.port = firstPort + uint16(random(1<<16-firstPort))
		}
		err = unix.Bind(fd, sockaddr(netip.AddrPortFrom(local, s.port), ifindex))
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
		s.port = 0
	}
	if err != nil {
		return fmt.Errorf("send from %s: %w", local, err)
	}
	return nil
}

// send writes one packet. An error that waited in the socket, ICMP's as a rule, is that of an earlier packet and keeps
// this one from leaving: so it is tried twice.
func (s *sender) send(b []byte) bool {
	if s.fd < 0 {
		return false
	}
	_, err := unix.Write(s.fd, b)
	if err == nil {
		s.useless = false
		if s.well++; s.well > 1 {
			s.err = nil
		}
		return true
	}
	s.err, s.well = err, 0
	_, err = unix.Write(s.fd, b)
	s.useless = err != nil
	return err == nil
}

func (s *sender) close() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

func datagramSocket(a netip.Addr) (int, error) {
	family := unix.AF_INET
	if a.Is6() {
		family = unix.AF_INET6
	}
	return unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// sockaddr gives link-local addresses their interface.
func sockaddr(a netip.AddrPort, ifindex int) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	s := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if a.Addr().IsLinkLocalUnicast() {
		s.ZoneId = uint32(ifindex)
	}
	return s
}

// interfaceIndex asks for it again every time: an interface that was made anew has another.
func interfaceIndex(name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, err
	}
	return int(request.Uint32()), nil
}
