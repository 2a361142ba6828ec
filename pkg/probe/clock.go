package probe

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A clock reads CLOCK_MONOTONIC in nanoseconds, as other processes of the machine do. It goes through time.Since, which
// the runtime answers from the vDSO, without a system call.
type clock struct {
	base time.Time
	mono int64 // at base
}

func newClock() (clock, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return clock{}, fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
	}
	return clock{base: time.Now(), mono: ts.Nano()}, nil
}

func (c clock) now() int64 { return c.mono + int64(time.Since(c.base)) }

// at returns when the kernel's wall clock time stamp was taken, which lies in the near past. A stamp that does not is
// useless (the wall clock was set in between): then it is now.
func (c clock) at(stamp time.Time) int64 {
	now := c.now()
	age := time.Since(stamp) // by the wall clock: stamp has no monotonic reading
	if stamp.IsZero() || age < 0 || age > timeout {
		return now
	}
	return now - int64(age)
}
