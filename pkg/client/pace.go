package client

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// maxNap bounds how long a pacer sleeps before it looks whether it is to stop.
const maxNap = 20 * time.Millisecond

// A waiter sleeps until a point in time and returns false when ctx is done first.
type waiter func(ctx context.Context, due time.Time) bool

// paced calls loop with a waiter that is exact to some 0.1 ms: timers of Go may be a millisecond late, which would pass
// for latency. The thread ends with it: its timer slack is of no use to others.
func paced(loop func(waiter)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it the kernel adds 50 us
		loop(nap)
	}()
	<-done
}

func nap(ctx context.Context, due time.Time) bool {
	for ctx.Err() == nil {
		left := time.Until(due)
		if left <= 0 {
			return true
		}
		ts := unix.NsecToTimespec(int64(min(left, maxNap)))
		_ = unix.Nanosleep(&ts, nil) // EINTR and all else: the clock decides
	}
	return false
}
