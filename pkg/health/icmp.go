package health

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// ICMP sends one echo request to Target (RFC 792, RFC 4443) and waits for its reply. It takes an unprivileged ping
// socket where net.ipv4.ping_group_range lets the group of the process, else a raw one, which needs CAP_NET_RAW.
type ICMP struct {
	Local
	Target netip.Addr
}

// tokenSize is that of the random data in each request, which its reply repeats.
const tokenSize = 16

// Check makes one attempt.
func (c ICMP) Check(ctx context.Context) error {
	started := time.Now()
	s, err := c.open()
	if err != nil {
		return err
	}
	defer s.Close()
	defer obey(ctx, s)()
	request, token, err := c.request()
	if err != nil {
		return err
	}
	if _, err := s.Write(request); err != nil {
		return explainPath(ctx, started, err)
	}
	buf := make([]byte, 1500)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return explainPath(ctx, started, err)
		}
		if c.answers(buf[:n], s.raw, token) {
			return nil
		}
	}
}

// request returns an echo request. The kernel sets its id on a ping socket, and the checksum of ICMPv6 on any.
func (c ICMP) request() (wire, token []byte, err error) {
	token = make([]byte, tokenSize)
	_, _ = rand.Read(token) // never fails
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(binary.BigEndian.Uint16(token)), Seq: 1, Data: token}}
	if !c.v4() {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	wire, err = m.Marshal(nil)
	return wire, token, err
}

// answers tells whether b is the reply that repeats token. Raw sockets see all that comes from Target, IPv4 ones with
// the IP header.
func (c ICMP) answers(b []byte, raw bool, token []byte) bool {
	protocol, reply := unix.IPPROTO_ICMPV6, icmp.Type(ipv6.ICMPTypeEchoReply)
	if c.v4() {
		protocol, reply = unix.IPPROTO_ICMP, ipv4.ICMPTypeEchoReply
	}
	if raw && c.v4() {
		if len(b) < ipv4.HeaderLen || len(b) < int(b[0]&0xf)*4 {
			return false
		}
		b = b[int(b[0]&0xf)*4:]
	}
	m, err := icmp.ParseMessage(protocol, b)
	if err != nil || m.Type != reply {
		return false
	}
	echo, ok := m.Body.(*icmp.Echo)
	return ok && bytes.Equal(echo.Data, token)
}

func (c ICMP) v4() bool { return c.Target.Unmap().Is4() }

// echoSocket is connected to the target: nobody else's packets come in.
type echoSocket struct {
	*os.File
	raw bool
}

func (c ICMP) open() (echoSocket, error) {
	family, protocol := unix.AF_INET6, unix.IPPROTO_ICMPV6
	if c.v4() {
		family, protocol = unix.AF_INET, unix.IPPROTO_ICMP
	}
	const flags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	raw := false
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|flags, protocol)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EPROTONOSUPPORT) {
		raw = true
		fd, err = unix.Socket(family, unix.SOCK_RAW|flags, protocol)
	}
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return echoSocket{}, errors.New("not permitted: put the agent's group into net.ipv4.ping_group_range, or grant CAP_NET_RAW")
	case err != nil:
		return echoSocket{}, os.NewSyscallError("socket", err)
	}
	if err := c.prepare(fd); err != nil {
		unix.Close(fd)
		return echoSocket{}, err
	}
	return echoSocket{os.NewFile(uintptr(fd), "icmp"), raw}, nil
}

func (c ICMP) prepare(fd int) error {
	if c.Device != "" {
		if err := c.bindFd(fd); err != nil {
			return err
		}
	}
	if c.Source.IsValid() {
		if err := unix.Bind(fd, sockaddr(c.Source)); err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(c.Target)); err != nil {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

// sockaddr has no port: ICMP knows none.
func sockaddr(a netip.Addr) unix.Sockaddr {
	if a = a.Unmap(); a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), ZoneId: zoneID(a.Zone())}
}

// explainPath is explain for a file: it drops the name of the file from the error.
func explainPath(ctx context.Context, started time.Time, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return explain(ctx, started, errno)
	}
	return explain(ctx, started, err)
}
