package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"

	"golang.org/x/sys/unix"
)

// A wire carries frames between two interfaces with a delay each way, for kernels without netem.
// Both ends are packet sockets with PACKET_VNET_HDR, so that offloaded checksums and GSO frames pass untouched, and
// PACKET_IGNORE_OUTGOING, so that a sent frame is not read back. One thread serves both directions.
type wire struct {
	link  Link
	ends  [2]int // sockets
	lines [2]line
	wake  int // eventfd: written once to end run
}

// line is one direction: frames in the order of their arrival, which is that of their deadlines.
type line struct {
	frames []frame
	free   [][]byte
}

type frame struct {
	due  int64 // CLOCK_MONOTONIC, ns
	data []byte
}

const (
	// frameSize holds a virtio-net header and the largest GSO frame.
	frameSize = 1<<16 + 256
	// packetVnetHdr is PACKET_VNET_HDR of linux/if_packet.h.
	packetVnetHdr = 15
	// batch bounds how many frames are read from one end before the due ones of both are sent.
	batch = 64
	// wirePriority is low among the real-time ones: above ordinary programs is enough.
	wirePriority = 2
)

// newWire opens both ends in the calling thread's namespace.
func newWire(a, b int, l Link) (*wire, error) {
	w := &wire{link: l, ends: [2]int{-1, -1}}
	var err error
	if w.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	for i, index := range []int{a, b} {
		if w.ends[i], err = packetSocket(index); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

func packetSocket(index int) (int, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, packetVnetHdr, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	return fd, nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func (w *wire) close() {
	for _, fd := range []int{w.ends[0], w.ends[1], w.wake} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// run carries frames until ctx is done.
func (w *wire) run(ctx context.Context) error {
	defer w.close()
	stop := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(w.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	defer stop()
	runtime.LockOSThread() // never unlocked: the thread's scheduling ends with it
	precise()
	scratch := make([]byte, frameSize)
	for ctx.Err() == nil {
		if err := w.wait(); err != nil {
			return err
		}
		for i := range w.ends {
			if err := w.receive(i, scratch); err != nil {
				return err
			}
		}
		for i := range w.ends {
			w.send(i, monotonic())
		}
	}
	return nil
}

// precise asks for wake-ups on time: no timer slack, and real-time scheduling where that is allowed (without it the
// delay is the same at the median and spreads a little more).
func precise() {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	_ = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: wirePriority}, 0)
}

// wait sleeps until a frame arrives, one is due, or run is to end.
func (w *wire) wait() error {
	fds := []unix.PollFd{
		{Fd: int32(w.ends[0]), Events: unix.POLLIN},
		{Fd: int32(w.ends[1]), Events: unix.POLLIN},
		{Fd: int32(w.wake), Events: unix.POLLIN},
	}
	_, err := unix.Ppoll(fds, w.untilDue(monotonic()), nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wire: ppoll: %w", err)
	}
	return nil
}

// untilDue returns the time to the earliest deadline, or nil when nothing is under way.
func (w *wire) untilDue(now int64) *unix.Timespec {
	due := int64(-1)
	for i := range w.lines {
		if f := w.lines[i].frames; len(f) > 0 && (due < 0 || f[0].due < due) {
			due = f[0].due
		}
	}
	if due < 0 {
		return nil
	}
	t := unix.NsecToTimespec(max(0, due-now))
	return &t
}

// receive takes what has arrived at end i into the line towards the other end. Each frame's time is read after the frame: one
// that was read before could be older than the frame, if the thread had to wait in between, and the wire too short.
func (w *wire) receive(i int, scratch []byte) error {
	l := &w.lines[i]
	for range batch {
		n, err := unix.Read(w.ends[i], scratch)
		switch {
		case err == nil:
			if w.link.Loss == 0 || rand.Float64() >= w.link.Loss {
				l.push(w.due(l, monotonic()), scratch[:n])
			}
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENETDOWN):
			return nil // ENETDOWN: an end was set down; told once per change
		case errors.Is(err, unix.EINTR):
		default:
			return fmt.Errorf("wire: read: %w", err)
		}
	}
	return nil
}

// due is when a frame that arrived now is to leave: never before the one in front of it.
func (w *wire) due(l *line, now int64) int64 {
	due := now + int64(w.link.Delay)
	if w.link.Jitter > 0 {
		due += rand.Int64N(2*int64(w.link.Jitter)+1) - int64(w.link.Jitter)
	}
	if n := len(l.frames); n > 0 {
		due = max(due, l.frames[n-1].due)
	}
	return due
}

// send puts the due frames of line i out of the other end. What the kernel does not take is lost, as on any wire.
func (w *wire) send(i int, now int64) {
	l := &w.lines[i]
	for len(l.frames) > 0 && l.frames[0].due <= now {
		_, _ = unix.Write(w.ends[1-i], l.pop())
	}
}

func (l *line) push(due int64, data []byte) {
	var buf []byte
	if n := len(l.free); n > 0 && cap(l.free[n-1]) >= len(data) {
		buf, l.free = l.free[n-1], l.free[:n-1]
	} else {
		buf = make([]byte, 0, max(len(data), 2048))
	}
	l.frames = append(l.frames, frame{due: due, data: append(buf[:0], data...)})
}

// pop returns the oldest frame's bytes, valid until the next push.
func (l *line) pop() []byte {
	data := l.frames[0].data
	l.frames = l.frames[1:]
	if len(l.free) < batch {
		l.free = append(l.free, data)
	}
	return data
}

// monotonic returns CLOCK_MONOTONIC in ns: the one clock that all programs of a lab share.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}
