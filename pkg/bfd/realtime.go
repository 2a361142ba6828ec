package bfd

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// priority is low among real-time threads, but above those of the kernel that nobody waits for.
	priority = 10
	// slice is the shortest that the kernel gives an ordinary thread (since Linux 6.12; 0.1 ms): a thread that asks for
	// little runs sooner when it wakes.
	slice = uint64(100 * time.Microsecond)
)

// punctual binds the goroutine to its thread for good and asks for wake-ups on time: no timer slack, and SCHED_FIFO where
// that is allowed (CAP_SYS_NICE or RLIMIT_RTPRIO). It tells whether it was. The thread ends with the goroutine.
func punctual() (realtime bool) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: priority, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if unix.SchedSetAttr(0, &attr, 0) == nil {
		return true
	}
	attr = unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Runtime: slice}
	_ = unix.SchedSetAttr(0, &attr, 0)
	return false
}
