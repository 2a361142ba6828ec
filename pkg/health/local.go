package health

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Local is where the attempts of an active check start from. Its zero value leaves both to the kernel's routes.
type Local struct {
	Source netip.Addr // of the family of the target, on this host
	Device string     // an interface (SO_BINDTODEVICE): nothing leaves or comes in elsewhere
}

// dial opens a connection to target for protocols that need a net.Conn. Cancelling ctx afterwards does not close it.
func (l Local) dial(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	// Not by Dialer.DialTCP: without a source it binds to port 0, which takes a port from all targets instead of one.
	d := net.Dialer{KeepAlive: -1}
	if l.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.Source, 0))
	}
	if l.Device != "" {
		d.Control = func(_, _ string, c syscall.RawConn) error { return l.bindDevice(c) }
	}
	return d.DialContext(ctx, "tcp", target.String())
}

func (l Local) bindDevice(c syscall.RawConn) error {
	var err error
	if outer := c.Control(func(fd uintptr) { err = l.bindFd(int(fd)) }); outer != nil {
		return outer
	}
	return err
}

// bindFd needs no capability: since Linux 5.7 anybody may bind a socket that is bound to no device yet.
func (l Local) bindFd(fd int) error {
	if err := unix.BindToDevice(fd, l.Device); err != nil {
		return fmt.Errorf("device %s: %w", l.Device, err)
	}
	return nil
}

// zoneID returns the index of the interface that zone names, 0 when there is none: the kernel then refuses the address.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(i.Index)
}
