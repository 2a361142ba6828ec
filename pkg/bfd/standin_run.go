//go:build !race && (amd64 || arm64)

package bfd

import (
	"sync/atomic"
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
		now := s.clock.Sec*1e9 + s.clock.Nsec
		nap := s.longest
		for i := range s.slots {
			b := &s.slots[i]
			due := atomic.LoadInt64(&b.due)
			if due == 0 || now >= atomic.LoadInt64(&b.until) {
				continue
			}
			if due <= now {
				image := &b.images[atomic.LoadUint32(&b.image)%uint32(len(b.images))]
				_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(atomic.LoadInt32(&b.fd)),
					uintptr(unsafe.Pointer(image)), packetSize, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
				if errno == 0 {
					atomic.AddUint64(&b.sent, 1)
					atomic.StoreInt64(&b.last, now)
				}
				// 10 to 25 percent less than the interval: allowed for all multipliers.
				every := atomic.LoadInt64(&b.every)
				s.random = s.random*6364136223846793005 + 1442695040888963407
				later := now + every - every/10 - every*3/20*int64(s.random>>54)>>10
				atomic.CompareAndSwapInt64(&b.due, due, later) // unless the loop is back
				due = later
			}
			nap = min(nap, due-now)
		}
		s.timeout.Sec, s.timeout.Nsec = 0, nap
		_, _, _ = syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&s.end)), 1, uintptr(unsafe.Pointer(&s.timeout)), 0, 0, 0)
	}
	exitsyscall()
}
