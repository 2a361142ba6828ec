package bfd

import (
	"context"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// rounds is how many intervals a self test lasts.
const rounds = 100

// SelfTest tells whether this machine sends punctually enough for interval x multiplier while the program collects
// garbage, and by how much the longest pause between two packets exceeded what was meant. It sends to itself for 100
// intervals, fewer when ctx is done (then ok is false, as when it cannot send at all). Half of what would make a peer
// declare a failure is not ok: a second of peace proves little.
func SelfTest(ctx context.Context, interval time.Duration, multiplier uint8) (worst time.Duration, ok bool) {
	worst, err := lateness(ctx, interval)
	return worst, err == nil && ctx.Err() == nil && worst <= allowed(interval, multiplier)
}

// allowed is the lateness at which half of what the peer allows is left.
func allowed(interval time.Duration, multiplier uint8) time.Duration {
	return max(interval*time.Duration(multiplier-1), interval/4) / 2
}

// lateness lets the stand-in send to a socket of our own, and looks when the kernel received what.
func lateness(ctx context.Context, interval time.Duration) (time.Duration, error) {
	r, err := newReceiver(listen{address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)})
	if err != nil {
		return 0, err
	}
	defer r.close()
	fd, err := connected(r)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return 0, err
	}
	defer unix.Close(wake)
	s := &standIn{slots: make([]slot, 1), longest: int64(min(interval, slow/2)), end: unix.PollFd{Fd: int32(wake), Events: unix.POLLIN}}
	now := monotonic()
	s.slots[0] = slot{due: now, until: now + int64(rounds*interval), every: int64(interval), fd: int32(fd)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, back := punctual()
		defer back()
		s.run()
	}()
	collect(ctx, rounds*interval)
	write(wake)
	<-done
	return longest(r) - interval*9/10, nil // which is the longest that is meant (see cover)
}

// connected returns a socket that sends to r.
func connected(r *receiver) (int, error) {
	to, err := unix.Getsockname(r.fd)
	if err != nil {
		return -1, err
	}
	fd, err := datagramSocket(netip.IPv4Unspecified())
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, to); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// collect lets the garbage collector work.
func collect(ctx context.Context, length time.Duration) {
	end := time.After(length)
	for {
		select {
		case <-ctx.Done():
			return
		case <-end:
			return
		case <-time.After(length / 10):
			runtime.GC()
		}
	}
}

// longest returns the longest pause between two of the packets that wait; a very long time when there are none.
func longest(r *receiver) time.Duration {
	gap, last := int64(-1), int64(0)
	for d, ok := r.receive(); ok; d, ok = r.receive() {
		if last != 0 {
			gap = max(gap, d.received-last)
		}
		last = d.received
	}
	if gap < 0 {
		return time.Hour
	}
	return time.Duration(gap)
}
