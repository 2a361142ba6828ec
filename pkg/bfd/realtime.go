package bfd

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// priority is low among real-time threads: above ordinary programs is enough, and what keeps the kernel going stays
	// above this.
	priority = 10
	// slice is the shortest that the kernel gives an ordinary thread (since Linux 6.12; 0.1 ms): a thread that asks for
	// little runs sooner when it wakes.
	slice = uint64(100 * time.Microsecond)
)

// punctual binds the goroutine to its thread and asks for wake-ups on time: no timer slack, and SCHED_FIFO where that is
// allowed (CAP_SYS_NICE or RLIMIT_RTPRIO). It tells whether it was. Call back when done.
func punctual() (realtime bool, back func()) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	realtime = schedule(unix.SchedAttr{Policy: unix.SCHED_FIFO, Priority: priority}) == nil
	if !realtime {
		_ = schedule(unix.SchedAttr{Policy: unix.SCHED_NORMAL, Runtime: slice})
	}
	return realtime, ordinary
}

// ordinary makes the thread what it was. It does not just end, because the kernel kills the children that it started,
// perhaps before it was ours, if they asked for that (PR_SET_PDEATHSIG).
func ordinary() {
	if schedule(unix.SchedAttr{Policy: unix.SCHED_NORMAL}) != nil {
		return // still bound to it: the thread ends with the goroutine
	}
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
	runtime.UnlockOSThread()
}

// schedule sets the scheduling of this thread, which its children shall not have.
func schedule(a unix.SchedAttr) error {
	a.Size, a.Flags = unix.SizeofSchedAttr, unix.SCHED_FLAG_RESET_ON_FORK
	return unix.SchedSetAttr(0, &a, 0)
}
