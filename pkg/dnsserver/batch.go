package dnsserver

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchWidth is how many datagrams one system call reads or writes at most: what the fast servers use.
	batchWidth = 32
	// queryRoom is what a query may have; a longer one is answered with FORMERR.
	queryRoom = 4096
	// controlRoom holds a packet info message of either family.
	controlRoom = 64
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// A batch is the memory of one reading loop: everything that recvmmsg and sendmmsg point to. The kernel is given
// addresses inside of it, so it must stay on the heap, and does.
type batch struct {
	in, out  [batchWidth]mmsghdr
	inVec    [batchWidth]unix.Iovec
	outVec   [batchWidth]unix.Iovec
	from     [batchWidth]unix.RawSockaddrInet6 // has room for IPv4's
	control  [batchWidth][controlRoom]byte
	queries  [batchWidth][queryRoom + 64]byte // their beginnings would share the few places of the nearest cache, were they a power of two apart
	replies  [batchWidth][udpPayload]byte
	used     int  // of in, by the last read
	queued   bool // the last read found more than one
	warmed   int  // so that what warm reads is read
	sending  int
	wildcard bool
	question question
}

// newBatch connects the parts. wildcard: the kernel is asked which of the host's addresses a query came to.
func newBatch(wildcard bool) *batch {
	b := &batch{wildcard: wildcard, used: batchWidth}
	for i := range batchWidth {
		b.inVec[i].Base = &b.queries[i][0]
		b.inVec[i].SetLen(queryRoom)
		h := &b.in[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&b.from[i]))
		h.Iov = &b.inVec[i]
		h.SetIovlen(1)
		b.out[i].hdr.Iov = &b.outVec[i]
		b.out[i].hdr.SetIovlen(1)
	}
	return b
}

// receive reads the datagrams that are there, and waits for one when there is none. It returns 0 when the socket was
// shut down or its receive timeout has passed.
//
// It waits in the kernel, and not in Go's poller, which would cost a second system call and a change of goroutine for each batch. While
// queries queue up it does not wait at all, and the scheduler is not told: it would give the processor away and take it back for
// every batch, which takes longer than what it thinks is long. Whoever needs the processor, such as the garbage collector, gets it
// between two batches.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.used {
		h := &b.in[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		if b.wildcard {
			h.Control = &b.control[i][0]
			h.SetControllen(controlRoom)
		}
	}
	if b.queued {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.in[0])), batchWidth, unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 && n > 0 {
			return b.received(n), nil
		}
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.in[0])), batchWidth, unix.MSG_WAITFORONE, 0, 0)
	switch errno {
	case 0:
		return b.received(n), nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	default:
		return 0, errno
	}
}

// received remembers whether more than one came together: then there may be more.
func (b *batch) received(n uintptr) int {
	b.used, b.queued = int(n), n > 1
	return int(n)
}

// query returns the i-th datagram; cut tells that it was longer than there is room.
func (b *batch) query(i int) (query []byte, cut bool) {
	return b.queries[i][:min(b.in[i].len, queryRoom)], b.in[i].hdr.Flags&unix.MSG_TRUNC != 0
}

// client returns who sent the i-th datagram.
func (b *batch) client(i int) netip.AddrPort {
	from := &b.from[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&from.Port))[:])
	if from.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(from.Addr), port)
}

// reply adds the reply to the i-th datagram to those that are to be sent. It leaves from the address that the query came to.
func (b *batch) reply(i int, reply []byte) {
	b.outVec[b.sending].Base = &reply[0]
	b.outVec[b.sending].SetLen(len(reply))
	in, h := &b.in[i].hdr, &b.out[b.sending].hdr
	h.Name, h.Namelen = in.Name, in.Namelen
	if b.wildcard {
		h.Control = in.Control
		h.Controllen = in.Controllen
		if !answerFrom(b.control[i][:in.Controllen]) {
			h.Control = nil
			h.SetControllen(0)
		}
	}
	b.sending++
}

// answerFrom makes of the packet info that came with a query the one that its reply is sent with. Only a link-local
// address means nothing without its interface: for others, routing decides.
func answerFrom(control []byte) bool {
	if len(control) < unix.SizeofCmsghdr {
		return false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	data := control[unix.CmsgLen(0):]
	switch {
	case h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&data[0]))
		if !netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
			info.Ifindex = 0
		}
		return true
	case h.Level == unix.SOL_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&data[0]))
		info.Ifindex, info.Spec_dst = 0, info.Addr
		return true
	default:
		return false
	}
}

// send sends all replies, and returns how many the kernel did not take. It never waits: who cannot be sent to now is not
// worth the queries that wait behind.
func (b *batch) send(fd int) (failed int) {
	for at := 0; at < b.sending; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.out[at])), uintptr(b.sending-at), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			failed++ // the first of them was refused: go on with the next
			at++
		default:
			at += int(n)
		}
	}
	b.sending = 0
	return failed
}
