package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dumpBuffer holds any datagram of a dump: the kernel fills at most what it is offered, and offers at least 8 KiB or one
// page, whichever is less.
const dumpBuffer = 8 << 10

// eventBuffer is what the kernel may queue while the reader waits for a CPU. The filter lets only watched ports through,
// so this is far more than is ever needed.
const eventBuffer = 1 << 20

// sockDiag is the kernel's socket table of one network namespace, and its news, read over NETLINK_SOCK_DIAG. No capability
// is needed, but to enter another namespace.
type sockDiag struct {
	in     netns
	events *os.File
}

// openKernel opens the socket table of a namespace: of this process's own now, of another when it is there.
func openKernel(where Namespace, listeners []Listener) (kernel, error) {
	if where != (Namespace{}) {
		return newElsewhere(where, listeners), nil
	}
	return openTable(netns{}, listeners)
}

// openTable joins the events of the watched ports and makes sure that the kernel can show their sockets.
//
// One netlink socket serves all listeners, with one filter for all ports: the kernel clones each event for every socket
// that joined, so one socket for each listener would make every connection that ends on this host cost a clone and a
// filter run for each of them.
func openTable(in netns, listeners []Listener) (sockDiag, error) {
	for _, l := range listeners {
		if _, err := (sockDiag{in: in}).bound(l); err != nil {
			return sockDiag{}, err
		}
	}
	fd, err := in.socket(unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return sockDiag{}, fmt.Errorf("sock_diag: %w", err)
	}
	if err := join(fd, listeners); err != nil {
		unix.Close(fd)
		return sockDiag{}, err
	}
	return sockDiag{in: in, events: os.NewFile(uintptr(fd), "sock_diag")}, nil
}

func join(fd int, listeners []Listener) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, eventBuffer) != nil {
		// Without CAP_NET_ADMIN the kernel grants what net.core.rmem_max allows; that will do.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, eventBuffer)
	}
	// The filter comes before the groups: nothing unfiltered gets in.
	program := filter(listeners)
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err != nil {
		return fmt.Errorf("sock_diag: port filter: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups(listeners)}); err != nil {
		return fmt.Errorf("sock_diag: join socket-destroy events (kernel without CONFIG_INET_DIAG?): %w", err)
	}
	return nil
}

// groups returns the multicast groups as bits: those of both families, for IPv6 sockets serve IPv4 too.
func groups(listeners []Listener) uint32 {
	var bits uint32
	for _, l := range listeners {
		switch l.Network {
		case "tcp":
			bits |= 1<<(unix.SKNLGRP_INET_TCP_DESTROY-1) | 1<<(unix.SKNLGRP_INET6_TCP_DESTROY-1)
		case "udp":
			bits |= 1<<(unix.SKNLGRP_INET_UDP_DESTROY-1) | 1<<(unix.SKNLGRP_INET6_UDP_DESTROY-1)
		}
	}
	return bits
}

// bound asks with a netlink socket of its own: some 10 us more than with one that is kept, but nothing to share between
// goroutines and no late answer to an earlier question.
func (k sockDiag) bound(l Listener) (bool, error) {
	fd, err := k.in.socket(0, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return false, fmt.Errorf("sock_diag: sockets cannot be watched: modprobe udp_diag tcp_diag, or remove the listener checks: %w", err)
	}
	defer unix.Close(fd)
	// The kernel answers within the call; a limit is there so that no error in that belief can hang a check.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return false, fmt.Errorf("sock_diag: %w", err)
	}
	for i, family := range l.families() {
		found, err := dump(fd, uint32(i+1), family, l)
		if errors.Is(err, unix.ENOENT) {
			return false, fmt.Errorf("sock_diag: the kernel cannot list %[1]s sockets: load its module %[1]s_diag: %[2]w", l.Network, err)
		}
		if err != nil {
			return false, fmt.Errorf("sock_diag: list %s sockets: %w", l.Network, err)
		}
		if found {
			return true, nil
		}
	}
	return false, nil
}

// dump asks for the sockets on l's port and tells whether one of them serves l. Once it has found one it leaves the rest
// unread: the caller asks fd no more.
func dump(fd int, seq uint32, family uint8, l Listener) (bool, error) {
	request := dumpRequest(seq, family, protocol(l.Network), 1<<l.idleState(), l.Port)
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, err
	}
	buf := make([]byte, dumpBuffer)
	for {
		n, _, err := unix.Recvfrom(fd, buf, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return false, err
		case n > len(buf):
			return false, fmt.Errorf("netlink datagram of %d bytes", n)
		}
		if found, done, err := readDump(buf[:n], seq, l); found || done || err != nil {
			return found, err
		}
	}
}

// readDump looks through one datagram of a dump: found tells that a socket serves l, done that the dump ended.
func readDump(b []byte, seq uint32, l Listener) (found, done bool, err error) {
	for len(b) > 0 {
		var m message
		if m, b, err = nextMessage(b); err != nil {
			return false, false, err
		}
		switch {
		case m.seq != seq:
		case m.kind == unix.NLMSG_DONE || m.kind == unix.NLMSG_ERROR:
			return false, true, m.status()
		case m.kind == unix.SOCK_DIAG_BY_FAMILY:
			s, err := parseSocket(m.body)
			if err != nil {
				return false, false, err
			}
			if l.servedBy(s) {
				return true, false, nil
			}
		}
	}
	return false, false, nil
}

// watch implements kernel.
func (k sockDiag) watch(ctx context.Context, saw func(socketEvent)) error {
	defer context.AfterFunc(ctx, func() { k.events.Close() })()
	raw, err := k.events.SyscallConn()
	if err != nil {
		return fmt.Errorf("sock_diag: %w", err)
	}
	b := batch{buf: make([]byte, dumpBuffer)}
	for {
		err := b.receive(raw)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("sock_diag: events: %w", err)
		}
		for _, e := range b.events {
			saw(e)
		}
	}
}

// batch is what the kernel has told by now. A process that dies with many sockets on one port gives as many events, and
// one look at the table answers them all.
type batch struct {
	buf    []byte
	events []socketEvent // no two of one port; at is when the first of them was read
}

// maxBatch bounds the datagrams read before they are acted upon.
const maxBatch = 512

// receive waits for the next datagram and reads on while there are more.
func (b *batch) receive(raw syscall.RawConn) error {
	b.events = b.events[:0]
	return raw.Read(func(fd uintptr) bool {
		for range maxBatch {
			n, from, err := unix.Recvfrom(int(fd), b.buf, 0)
			switch {
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				return len(b.events) > 0
			case err != nil:
				// ENOBUFS: the queue was full. Whatever else it may be, the table tells what was missed.
				b.add(socketEvent{lost: true, at: time.Now()})
				return true
			case fromKernel(from):
				readEvents(b.buf[:n], time.Now(), b.add)
			}
		}
		return true
	})
}

func (b *batch) add(e socketEvent) {
	for _, had := range b.events {
		if had.network == e.network && had.port == e.port && had.all() == e.all() {
			return
		}
	}
	b.events = append(b.events, e)
}

func fromKernel(sender unix.Sockaddr) bool {
	s, ok := sender.(*unix.SockaddrNetlink)
	return ok && s.Pid == 0
}

// readEvents reports the sockets in one datagram. One that cannot be read counts as lost: looking too often is cheap.
func readEvents(b []byte, at time.Time, saw func(socketEvent)) {
	for len(b) > 0 {
		m, rest, err := nextMessage(b)
		if err != nil {
			saw(socketEvent{lost: true, at: at})
			return
		}
		b = rest
		s, err := parseSocket(m.body)
		if err != nil || network(s.protocol) == "" {
			saw(socketEvent{lost: true, at: at})
			continue
		}
		saw(socketEvent{network: network(s.protocol), port: s.port, at: at})
	}
}

// Close ends watch.
func (k sockDiag) Close() error { return k.events.Close() }
