package app

import (
	"context"
	"fmt"
	"net/url"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxCost and maxDelay bound what one request may ask for.
	maxCost, maxDelay = time.Second, 30 * time.Second
	// burnStep is how much CPU is burnt between two looks at whether somebody still waits for it.
	burnStep = 100 * time.Microsecond
)

// A cost is what a request asks to be charged.
type cost struct {
	cpu, delay time.Duration
}

// parseCost reads ?cpu=5ms&delay=20ms; either may lack.
func parseCost(query url.Values) (c cost, err error) {
	if c.cpu, err = parseSpan(query, "cpu", maxCost); err != nil {
		return cost{}, err
	}
	c.delay, err = parseSpan(query, "delay", maxDelay)
	return c, err
}

func parseSpan(query url.Values, key string, limit time.Duration) (time.Duration, error) {
	values := query[key]
	if len(values) == 0 {
		return 0, nil
	}
	d, err := time.ParseDuration(values[0])
	if err != nil || len(values) > 1 || d < 0 || d > limit {
		return 0, fmt.Errorf("%s=%.40q: want one time from 0s to %s, such as 5ms", key, values[0], limit)
	}
	return d, nil
}

// pay waits and burns until ctx is done.
func (b burner) pay(ctx context.Context, c cost) error {
	if c.delay > 0 {
		timer := time.NewTimer(c.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if c.cpu > 0 {
		return b.burn(ctx, c.cpu)
	}
	return nil
}

// A burner burns CPU for as many at a time as it has slots: its cores. The others queue, as they would in a service
// that computes.
type burner chan struct{}

func newBurner(cpus int) burner { return make(burner, cpus) }

// burn uses d of CPU time, however long that takes on a busy machine.
func (b burner) burn(ctx context.Context, d time.Duration) error {
	select {
	case b <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b }()
	runtime.LockOSThread() // the clock is that of the thread
	defer runtime.UnlockOSThread()
	start, err := threadTime()
	if err != nil {
		return err
	}
	x := uint64(88172645463325252)
	for now := start; now-start < d; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for step := now; now-step < min(burnStep, d-(step-start)); {
			x = spin(x)
			if now, err = threadTime(); err != nil {
				return err
			}
		}
	}
	return nil
}

// threadTime returns the CPU time of the calling thread.
func threadTime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0, fmt.Errorf("read CLOCK_THREAD_CPUTIME_ID: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// spin computes for some microseconds, so that reading the clock is not most of the work.
//
//go:noinline
func spin(x uint64) uint64 {
	for range 2000 { // xorshift64
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}
