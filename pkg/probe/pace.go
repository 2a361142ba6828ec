package probe

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxNap bounds how long a pacer sleeps before it looks whether it is to stop.
	maxNap = 20 * time.Millisecond
	// maxLateness is how late a probe may be sent. What is due longer is skipped: a stalled prober shall neither flood
	// the network nor pass off a burst as a schedule that it kept.
	maxLateness = 50 * time.Millisecond
)

// A pacer wakes the calling thread at points in time. Lock the goroutine to its thread first.
type pacer struct {
	clock clock
	until unix.Timespec // escapes to the system call: kept to not allocate it each time
}

// newPacer makes timers of the calling thread exact: by default the kernel lets them be 50 us late. Where it is allowed,
// the thread goes before ordinary programs: a busy machine must not be measured as a lossy network.
func newPacer(c clock) (*pacer, error) {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
	return &pacer{clock: c}, nil
}

// wait sleeps until the point in time due (at once if it has passed) and returns the time, or false once ctx is done.
func (p *pacer) wait(ctx context.Context, due int64) (now int64, ok bool) {
	for ctx.Err() == nil {
		if now = p.clock.now(); now >= due {
			return now, true
		}
		p.until = unix.NsecToTimespec(min(due, now+int64(maxNap)))
		// EINTR and all else: the clock decides.
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &p.until, nil)
	}
	return 0, false
}
