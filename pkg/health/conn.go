package health

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// conn is the connected socket of one attempt. Package net asks a new socket for its names and options and has the poller
// watch it before anything is known of it; a thousand attempts a second would spend more on that than on asking. A conn is
// made known to the poller only when something is to be waited for, which a neighbor on this host often spares.
type conn struct {
	fd   int
	file *os.File // owns fd once something was waited for
	raw  syscall.RawConn
}

// connect returns a socket that is connected to target or, of a stream, about to be; see established.
func (l Local) connect(ctx context.Context, kind, protocol int, target netip.AddrPort) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	family := unix.AF_INET6
	if target.Addr().Unmap().Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := l.prepare(fd, target); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &conn{fd: fd}, nil
}

func (l Local) prepare(fd int, target netip.AddrPort) error {
	if l.Device != "" {
		if err := l.bindFd(fd); err != nil {
			return err
		}
	}
	if l.Source.IsValid() {
		// The port is chosen when the target is known: one is taken from this target, not from all.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(l.Source, 0))); err != nil {
			return os.NewSyscallError("bind", err)
		}
	}
	if err := unix.Connect(fd, sockaddr(target)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return os.NewSyscallError("connect", err)
	}
	return nil
}

func sockaddr(ap netip.AddrPort) unix.Sockaddr {
	a := ap.Addr().Unmap()
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(ap.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), Port: int(ap.Port()), ZoneId: zoneID(a.Zone())}
}

// established waits until a stream is.
func (c *conn) established(ctx context.Context, target netip.AddrPort) error {
	if err := c.await(ctx, true, writable); err != nil {
		return err
	}
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		return os.NewSyscallError("connect", err)
	}
	if c.toItself(target) {
		return os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	return nil
}

// source is the address of this end, zero when it cannot be told.
func (c *conn) source() netip.Addr {
	name, err := unix.Getsockname(c.fd)
	if err != nil {
		return netip.Addr{}
	}
	switch own := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(own.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(own.Addr)
	default:
		return netip.Addr{}
	}
}

// toItself tells whether a stream to a port of this host that nobody holds was given that port for its own, and so met
// itself.
func (c *conn) toItself(target netip.AddrPort) bool {
	name, err := unix.Getsockname(c.fd)
	if err != nil {
		return false
	}
	switch own := name.(type) {
	case *unix.SockaddrInet4:
		return own.Port == int(target.Port()) && own.Addr == target.Addr().Unmap().As4()
	case *unix.SockaddrInet6:
		return own.Port == int(target.Port()) && own.Addr == target.Addr().As16()
	default:
		return false
	}
}

func writable(fd int) error {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
	if n == 0 && err == nil {
		return unix.EAGAIN
	}
	return err
}

// write sends all of b; of a datagram, at once.
func (c *conn) write(ctx context.Context, b []byte) error {
	for {
		var n int
		err := c.await(ctx, true, func(fd int) (err error) {
			n, err = unix.Write(fd, b)
			return err
		})
		if b = b[max(n, 0):]; err != nil || len(b) == 0 {
			return os.NewSyscallError("write", err)
		}
	}
}

// read waits for some bytes of a stream.
func (c *conn) read(ctx context.Context, b []byte) (n int, err error) {
	err = c.await(ctx, false, func(fd int) (err error) {
		n, err = unix.Read(fd, b)
		return err
	})
	return max(n, 0), os.NewSyscallError("read", err)
}

// datagram waits for one, which may be empty, and returns its beginning, maxDatagram at most. Its room is made when its
// size is known: to make it beforehand would be most of what an attempt allocates.
func (c *conn) datagram(ctx context.Context) (b []byte, err error) {
	err = c.await(ctx, false, func(fd int) error {
		size, _, err := unix.Recvfrom(fd, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
		if err != nil {
			return err
		}
		b = make([]byte, min(size, maxDatagram))
		n, _, err := unix.Recvfrom(fd, b, 0) // not read(2), which leaves an empty datagram where it is
		b = b[:max(n, 0)]
		return err
	})
	return b, os.NewSyscallError("read", err)
}

// await calls try until it says something else than EAGAIN: now, and whenever the socket is ready.
func (c *conn) await(ctx context.Context, write bool, try func(fd int) error) error {
	err := retry(try, c.fd)
	if !errors.Is(err, unix.EAGAIN) {
		return err
	}
	if c.file == nil {
		c.file = os.NewFile(uintptr(c.fd), "socket")
		if c.raw, err = c.file.SyscallConn(); err != nil {
			return err
		}
	}
	defer obey(ctx, c.file)()
	wait := c.raw.Read
	if write {
		wait = c.raw.Write
	}
	if outer := wait(func(fd uintptr) bool {
		err = retry(try, int(fd))
		return !errors.Is(err, unix.EAGAIN)
	}); outer != nil {
		return outer
	}
	return err
}

func retry(try func(fd int) error, fd int) error {
	for {
		if err := try(fd); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// close ends the connection.
func (c *conn) close() {
	if c.file != nil {
		_ = c.file.Close()
		return
	}
	_ = unix.Close(c.fd)
}

// stream reads from a conn of type SOCK_STREAM.
type stream struct {
	*conn
	ctx context.Context
}

// Read implements io.Reader.
func (s stream) Read(b []byte) (int, error) {
	n, err := s.read(s.ctx, b)
	if n == 0 && err == nil && len(b) > 0 {
		return 0, io.EOF
	}
	return n, err
}
