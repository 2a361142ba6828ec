package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Where a host has no address of its own in the family of a VIP, its requests come from one that nobody has: IPv4's dummy
// address (RFC 7600) and one of the discard prefix (RFC 6666). A VIP is no source: the peer has it too, and its kernel
// would drop the packet as coming from itself.
var (
	dummy4 = netip.MustParseAddr("192.0.0.8")
	dummy6 = netip.MustParseAddr("100::1")
)

// Addresses that are reached by the default route, to find out this host's own (RFC 7723); nothing is sent there.
const (
	outside4 = "192.0.0.9:9"
	outside6 = "[2001:1::1]:9"
)

// sockets are all that Peers needs, for both families where there are VIPs of both.
type sockets struct {
	port      uint16
	vips      []netip.Addr
	listening map[string]*net.UDPConn   // by family: requests come here, answers too
	asking    []map[string]*net.UDPConn // by peer and family
	sources   map[string]netip.Addr     // by family: of what asking sends
	answering *net.UDPConn              // one of listening: answers leave here
	from      []byte                    // control message: answers come from the configured source
}

// open opens all, or nothing.
func (p *Peers) open(ctx context.Context) (_ *sockets, err error) {
	s := &sockets{
		port: p.cfg.Port, vips: p.cfg.VIPs, from: source(p.cfg.Source),
		listening: make(map[string]*net.UDPConn), sources: map[string]netip.Addr{},
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.listen(ctx, p.cfg.Source); err != nil {
		return nil, err
	}
	s.answering = s.listening[family(p.cfg.Source)]
	s.sources[family(p.cfg.Source)] = p.cfg.Source
	for _, vip := range p.cfg.VIPs {
		if err := s.listen(ctx, vip); err != nil {
			return nil, err
		}
		if f := family(vip); !s.sources[f].IsValid() {
			s.sources[f] = ownAddress(f, p.cfg.VIPs)
		}
	}
	for _, peer := range p.cfg.Peers {
		asking := make(map[string]*net.UDPConn)
		s.asking = append(s.asking, asking)
		for f, from := range s.sources {
			if asking[f], err = openAsking(ctx, f, from, peer.Mark); err != nil {
				delete(asking, f)
				return nil, err
			}
		}
	}
	return s, nil
}

// listen opens the socket that takes packets for any address of a's family, once.
func (s *sockets) listen(ctx context.Context, a netip.Addr) error {
	f := family(a)
	if s.listening[f] != nil {
		return nil
	}
	all := netip.AddrPortFrom(netip.IPv6Unspecified(), s.port)
	level, option := unix.SOL_IPV6, unix.IPV6_RECVPKTINFO
	if a.Is4() {
		all = netip.AddrPortFrom(netip.IPv4Unspecified(), s.port)
		level, option = unix.SOL_IP, unix.IP_PKTINFO
	}
	conn, err := openUDP(ctx, f, all, func(fd int) error { return unix.SetsockoptInt(fd, level, option, 1) })
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("udp %s: another program has it: end that, or give all hosts another peering.port: %w", all, plain(err))
	}
	if err != nil {
		return fmt.Errorf("udp %s: %w", all, plain(err))
	}
	_ = conn.SetReadBuffer(1 << 20) // as much as may be had: peers ask in bursts
	s.listening[f] = conn
	return nil
}

// openAsking opens a socket whose packets go through a tunnel.
func openAsking(ctx context.Context, f string, from netip.Addr, mark uint32) (*net.UDPConn, error) {
	conn, err := openUDP(ctx, f, netip.AddrPortFrom(from, 0), func(fd int) error {
		if from == dummy4 || from == dummy6 {
			if err := transparent(fd, from); err != nil {
				return err
			}
		}
		return os.NewSyscallError("SO_MARK", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)))
	})
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("requests from %s: not permitted: needs CAP_NET_ADMIN: %w", from, plain(err))
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return nil, fmt.Errorf("requests from %s: this host does not have it: add it, or correct this host's source: %w", from, plain(err))
	case err != nil:
		return nil, fmt.Errorf("requests from %s: %w", from, plain(err))
	}
	return conn, nil
}

// transparent lets a socket send from an address that the host does not have.
func transparent(fd int, a netip.Addr) error {
	if a.Is4() {
		return os.NewSyscallError("IP_TRANSPARENT", unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1))
	}
	return os.NewSyscallError("IPV6_TRANSPARENT", unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1))
}

func openUDP(ctx context.Context, f string, at netip.AddrPort, options func(fd int) error) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = options(int(fd)) }); e != nil {
			return e
		}
		return err
	}}
	conn, err := lc.ListenPacket(ctx, "udp"+f, at.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// ownAddress returns what the kernel takes for this host's address towards the world, if that is no VIP.
func ownAddress(f string, vips []netip.Addr) netip.Addr {
	outside, dummy := outside6, dummy6
	if f == "4" {
		outside, dummy = outside4, dummy4
	}
	conn, err := net.Dial("udp"+f, outside)
	if err != nil {
		return dummy
	}
	defer conn.Close()
	own := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if slices.Contains(vips, own) {
		return dummy
	}
	return own
}

func (s *sockets) close() {
	for _, conn := range s.listening {
		conn.Close()
	}
	for _, asking := range s.asking {
		for _, conn := range asking {
			conn.Close()
		}
	}
}

// send is a sender.
func (s *sockets) send(peer, vip int, b []byte) error {
	to := netip.AddrPortFrom(s.vips[vip], s.port)
	f := family(to.Addr())
	_, err := s.asking[peer][f].WriteToUDPAddrPort(b, to)
	if err != nil && !have(s.sources[f]) {
		return errReopen
	}
	return plain(err)
}

// have tells whether the host has an address, or need not have it.
func have(a netip.Addr) bool {
	if a == dummy4 || a == dummy6 {
		return true
	}
	own, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(own, func(one net.Addr) bool {
		n, ok := one.(*net.IPNet)
		return ok && n.IP.Equal(a.AsSlice())
	})
}

// reply is a replier. An answer that cannot be sent now is lost like any packet on its way.
func (s *sockets) reply(to netip.Addr, b []byte) {
	_, _, _ = s.answering.WriteMsgUDPAddrPort(b, s.from, netip.AddrPortFrom(to, s.port))
}

// destination finds the address to which a packet came in its control messages (RFC 3542 section 6.2, ip(7) IP_PKTINFO);
// the zero Addr when it is not there.
func destination(oob []byte) netip.Addr {
	for len(oob) >= unix.SizeofCmsghdr {
		head, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		switch {
		case head.Level == unix.SOL_IP && head.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(data[8:12])) // of the header
		case head.Level == unix.SOL_IPV6 && head.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16([16]byte(data[:16]))
		}
		oob = rest
	}
	return netip.Addr{}
}

// source returns the control message by which a packet leaves from an address.
func source(a netip.Addr) []byte {
	if a.Is4() {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: a.As4()})
	}
	return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: a.As16()})
}

// plain leaves out what the layers between say about a system call.
func plain(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}
