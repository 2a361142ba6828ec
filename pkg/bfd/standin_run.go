//go:build !race && (amd64 || arm64)

package bfd

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The runtime keeps the signatures of these two for gVisor, which does the same with them (go.dev/issue/67401).

//go:linkname entersyscall runtime.entersyscall
func entersyscall()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// run covers for the loop until the eventfd is written. To the runtime the whole of it is one long system call, which
// nobody waits for to stop the world, and which needs nobody's leave to go on. For that it may do little: call nothing
// that could grow the stack (RawSyscall and the functions of package atomic are all there is), allocate nothing, write
// no pointer.
//
//go:nosplit
//go:norace
func (s *standIn) run() {
	entersyscall()
	for s.end.Revents == 0 {
		_, _, _ = syscall.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&s.clock)), 0)
		s.timeout.Sec, s.timeout.Nsec = 0, s.cover(s.clock.Sec*1e9+s.clock.Nsec)
		_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&s.end)), 1, uintptr(unsafe.Pointer(&s.timeout)), 0, 0, 0)
	}
	exitsyscall()
}
