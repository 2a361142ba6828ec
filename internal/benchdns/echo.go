package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// answerSize is what an answer of four AAAA records has: the echo sends as many octets, of whatever was in its memory.
const answerSize = 162

// echo is the floor: a loop that reads and writes 32 datagrams at a time, and nothing else. Its system calls are raw ones on a thread of
// their own, which a server with a garbage collector cannot afford.
func echo(addr netip.AddrPort) error {
	runtime.LockOSThread()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20); err != nil {
		return fmt.Errorf("receive buffer: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}); err != nil {
		return fmt.Errorf("bind %s: %w", addr, err)
	}
	const width = 32
	type mmsghdr struct {
		hdr unix.Msghdr
		len uint32
	}
	var (
		messages [width]mmsghdr
		vectors  [width]unix.Iovec
		clients  [width]unix.RawSockaddrInet6
		buffers  [width][2048]byte
	)
	for i := range messages {
		h := &messages[i].hdr
		vectors[i].Base = &buffers[i][0]
		h.Name, h.Iov = (*byte)(unsafe.Pointer(&clients[i])), &vectors[i]
		h.SetIovlen(1)
	}
	for {
		for i := range messages {
			messages[i].hdr.Namelen = unix.SizeofSockaddrInet6
			vectors[i].SetLen(len(buffers[i]))
		}
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[0])), width, unix.MSG_WAITFORONE, 0, 0)
		if errno != 0 {
			return fmt.Errorf("recvmmsg: %w", errno)
		}
		for i := range n {
			buffers[i][2] |= 0x80 // a response, for the generator to count
			vectors[i].SetLen(answerSize)
		}
		unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&messages[0])), n, 0, 0, 0)
	}
}
