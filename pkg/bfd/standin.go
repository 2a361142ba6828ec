package bfd

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A standIn repeats the periodic packets of sessions that are up while the loop cannot send them. Go stops the world
// for its garbage collector, and on a machine whose cores are all taken the world may take hundreds of milliseconds to
// stop: its threads must first get a core to notice. The loop has real-time scheduling, but a goroutine cannot run
// while the world is stopped. The stand-in's thread can: see run.
//
// After every turn the loop says when the next packet would be overdue, and what is in it. The stand-in sends it then,
// and goes on at the session's pace, for patience at most: a program that stands still for longer is dead, and its peers
// shall notice. A stopped process (SIGSTOP) has no stand-in, a killed one neither.
type standIn struct {
	slots   []slot // one for each session; their memory must not move, nor be freed, while run runs
	longest int64  // ns between looks at the slots: the shortest interval of all sessions
	random  uint64

	clock   unix.Timespec
	timeout unix.Timespec
	end     unix.PollFd // eventfd: written once to end run
}

// patience is how long the stand-in covers for a loop that was not heard of.
const patience = time.Second

// A slot is one session for the stand-in. Both threads use it at once: only with package atomic. Times are
// CLOCK_MONOTONIC in ns.
type slot struct {
	due   int64 // packet; zero: none
	until int64
	every int64
	fd    int32

	image  uint32 // in use, of images. There are more than one so that the one that is being sent is not written.
	images [4][packetSize]byte

	sent uint64
	last int64 // when the stand-in last sent; zero: never since the loop looked
}

func newStandIn(sessions []*runner, wake int) *standIn {
	s := &standIn{slots: make([]slot, len(sessions)), longest: int64(slow / 2), random: 1}
	s.end = unix.PollFd{Fd: int32(wake), Events: unix.POLLIN}
	for _, r := range sessions {
		s.longest = min(s.longest, int64(r.config.Interval))
	}
	return s
}

// cover sends what is overdue, and returns for how long there is nothing to do, in ns, less than a second. It keeps the
// rules of run.
//
//go:nosplit
//go:norace
func (s *standIn) cover(now int64) (nap int64) {
	nap = s.longest
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
			// 10 to 25 percent less than the interval: allowed for all multipliers (RFC 5880 section 6.8.7).
			every := atomic.LoadInt64(&b.every)
			s.random = s.random*6364136223846793005 + 1442695040888963407
			later := now + every - every/10 - every*3/20*int64(s.random>>54)>>10
			atomic.CompareAndSwapInt64(&b.due, due, later) // unless the loop is back
			due = later
		}
		nap = min(nap, due-now)
	}
	return nap
}

// brief tells the stand-in about a session, at a time by both clocks.
func (b *slot) brief(r *runner, now time.Time, monotonic int64) {
	if r.state != Up || !r.periodic() {
		atomic.StoreInt64(&b.due, 0)
		return
	}
	p := r.packet()
	p.poll = r.polling
	b.show(p)
	atomic.StoreInt32(&b.fd, int32(r.senders[r.chosen].fd))
	atomic.StoreInt64(&b.every, int64(r.interval))
	atomic.StoreInt64(&b.until, monotonic+int64(patience))
	atomic.StoreInt64(&b.due, monotonic+int64(r.next.Sub(now)+overdue(r.interval, r.config.Multiplier)))
}

// overdue is when the loop is late enough: not within what it is usually, but before a peer with the least patience.
func overdue(interval time.Duration, multiplier uint8) time.Duration {
	if multiplier == 1 {
		return interval / 20 // packets are 10 percent early
	}
	return interval / 4
}

func (b *slot) show(p packet) {
	current := atomic.LoadUint32(&b.image)
	var wire [packetSize]byte
	p.append(wire[:0])
	if wire == b.images[current] {
		return
	}
	next := (current + 1) % uint32(len(b.images))
	b.images[next] = wire
	atomic.StoreUint32(&b.image, next)
}

// covered makes the loop go on where the stand-in left off.
func (b *slot) covered(r *runner, now time.Time, monotonic int64) {
	if last := atomic.SwapInt64(&b.last, 0); last != 0 {
		r.wasSent(now.Add(time.Duration(last - monotonic)))
	}
}

// monotonic returns CLOCK_MONOTONIC in ns.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}
