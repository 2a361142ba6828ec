package bfd

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// rounds is how many intervals a self test lasts.
const rounds = 100

// SelfTest tells whether this machine wakes a thread like that of Sessions punctually enough for interval x multiplier
// while the program collects garbage, and the worst lateness seen. It takes 100 intervals, fewer when ctx is done
// (then ok is false). Half of what would make a peer declare a failure is not ok: a second of peace proves little.
func SelfTest(ctx context.Context, interval time.Duration, multiplier uint8) (worst time.Duration, ok bool) {
	result := make(chan time.Duration, 1)
	go func() {
		punctual()
		result <- lateness(ctx, interval)
	}()
	for {
		select {
		case worst = <-result:
			return worst, ctx.Err() == nil && worst <= allowed(interval, multiplier)
		case <-time.After(10 * interval):
			runtime.GC()
		}
	}
}

// allowed is the lateness at which half of the peer's detection time is left after a packet that came an interval
// after the last one.
func allowed(interval time.Duration, multiplier uint8) time.Duration {
	return max(interval*time.Duration(multiplier-1), interval/4) / 2
}

// lateness sleeps interval after interval, as the loop does, and returns the worst oversleeping.
func lateness(ctx context.Context, interval time.Duration) (worst time.Duration) {
	for range rounds {
		if ctx.Err() != nil {
			return worst
		}
		due := time.Now().Add(interval)
		t := unix.NsecToTimespec(int64(interval))
		_, _ = unix.Ppoll(nil, &t, nil)
		worst = max(worst, time.Since(due))
	}
	return worst
}
