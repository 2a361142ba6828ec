package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"unsafe"

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

// udpSocket is one of several that share an address, one for each processor and the lane: each is read by one loop, which waits for it in
// the kernel.
type udpSocket struct {
	addr     netip.AddrPort
	wildcard bool // the address that a query came to is in a control message
	tally    *tally

	mu   sync.Mutex // guards fd against being asked after it was closed
	fd   int        // -1: closed
	shed uint64     // by the kernel
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
	ordinary := runtime.GOMAXPROCS(0)
	for i := range ordinary + 1 { // the last one is the lane
		if err := l.packet(addr, i > 0); err != nil {
			return err
		}
	}
	l.udp[len(l.udp)-1].sort(ordinary)
	l.addrs = append(l.addrs, addr)
	return nil
}

// packet binds one UDP socket and lets further ones share its address. join: there is one of ours.
func (l *Listeners) packet(addr netip.AddrPort, join bool) error {
	domain, level, freebind := unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_FREEBIND
	if addr.Addr().Is4() {
		domain, level, freebind = unix.AF_INET, unix.SOL_IP, unix.IP_FREEBIND
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s := &udpSocket{
		addr: addr, wildcard: addr.Addr().IsUnspecified(), fd: fd, tally: &tally{proto: udp, v4: addr.Addr().Is4(), server: addr},
	}
	l.udp = append(l.udp, s)
	if domain == unix.AF_INET6 {
		if err := s.set(unix.SOL_IPV6, unix.IPV6_V6ONLY, 1); err != nil { // so that [::] does not take IPv4 queries too
			return err
		}
	}
	if err := s.set(level, freebind, 1); err != nil {
		return err
	}
	if join {
		if err := s.set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
	}
	if s.set(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = s.set(unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // as much as the kernel allows
	}
	if err := s.askDestination(); err != nil {
		return err
	}
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		return fmt.Errorf("udp: %w", os.NewSyscallError("bind", err))
	}
	// Only now: the first socket of an address is bound without, which makes the kernel refuse it when anybody else is there.
	return s.set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
}

func (s *udpSocket) set(level, option, value int) error {
	return unix.SetsockoptInt(s.fd, level, option, value)
}

// askDestination has the kernel tell which of the host's addresses a query came to.
func (s *udpSocket) askDestination() error {
	switch {
	case !s.wildcard:
		return nil
	case s.addr.Addr().Is4():
		return s.set(unix.SOL_IP, unix.IP_PKTINFO, 1)
	default:
		return s.set(unix.SOL_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
}

// wake ends the wait of the loop that reads, for good.
func (s *udpSocket) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		_ = unix.Shutdown(s.fd, unix.SHUT_RD) // ENOTCONN: it woke up all the same
	}
}

// Close must not be called while a loop reads.
func (s *udpSocket) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

// shed returns how many datagrams the kernel dropped because nobody read fast enough.
func (l *Listeners) shed() (n uint64) {
	if l == nil {
		return 0
	}
	for _, s := range l.udp {
		n += s.dropped()
	}
	return n
}

// dropped asks the kernel; after the socket was closed it is what it was last.
func (s *udpSocket) dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return s.shed
	}
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 {
		s.shed = uint64(info[unix.SK_MEMINFO_DROPS])
	}
	return s.shed
}

func sockaddr(addr netip.AddrPort) unix.Sockaddr {
	if addr.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16(), ZoneId: zoneID(addr.Addr().Zone())}
}

func zoneID(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.Atoi(zone)
	return uint32(n)
}

// network names the family, so that [::] does not take IPv4 queries too (package net then sets IPV6_V6ONLY).
func network(transport string, addr netip.AddrPort) string {
	if addr.Addr().Is4() {
		return transport + "4"
	}
	return transport + "6"
}

// control sets options before the socket is bound.
func control(addr netip.AddrPort, v4, v6 int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		return onDescriptor(raw, func(fd int) error {
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
