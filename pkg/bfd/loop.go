package bfd

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A loop runs all sessions on the thread that calls run. It looks at every session each time it wakes, which is right
// for tens of them.
type loop struct {
	runners   []*runner
	demux     demux
	receivers []*receiver
	standIn   *standIn
	changed   func(*Status, bool) // of the loop's thread: told what changed, and whether the state did
	discarded *discards
	realtime  bool
	late      *atomic.Int64

	fds     []unix.PollFd // the receivers' and, last, the one that ends run
	timeout unix.Timespec // kept to not allocate it each time
	drained time.Time     // when the sockets were last empty
	leaving bool
	until   time.Time // end of leaving
}

// batch bounds how many packets are taken from one socket before sessions get their turn.
const batch = 1024

// newLoop needs wake, an eventfd that is written once to end run.
func newLoop(runners []*runner, receivers []*receiver, wake int) *loop {
	l := &loop{runners: runners, receivers: receivers, demux: newDemux(runners), standIn: newStandIn(runners, wake)}
	for _, r := range receivers {
		l.fds = append(l.fds, unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN})
	}
	l.fds = append(l.fds, unix.PollFd{Fd: int32(wake), Events: unix.POLLIN})
	return l
}

// run returns once it was woken to end, and the peers know.
func (l *loop) run() error {
	l.drained = time.Now()
	for _, r := range l.runners {
		r.start(l.drained)
		r.open(l.drained)
		l.tell(r)
	}
	for !l.over() {
		if err := l.turn(); err != nil {
			return err
		}
	}
	return nil
}

// turn waits, and does what there is to do then.
func (l *loop) turn() error {
	if err := l.wait(); err != nil {
		return err
	}
	// What came before now lies in the sockets: only when they are empty is a peer's silence until now proven.
	now, clock := time.Now(), monotonic()
	if l.fds[len(l.fds)-1].Revents != 0 && !l.leaving {
		l.leave(now)
	}
	l.drain(now)
	for i, r := range l.runners {
		l.standIn.slots[i].covered(r, now, clock)
		r.expire(now)
		r.open(now)
		r.send(time.Now())
		l.standIn.slots[i].brief(r, now, clock)
		l.tell(r)
	}
	return nil
}

// leave tells the peers, and gives them as long as they would wait for a packet to say that they heard, at most a second.
func (l *loop) leave(now time.Time) {
	l.leaving = true
	l.fds[len(l.fds)-1].Events = 0
	l.until = now
	for _, r := range l.runners {
		if end := now.Add(min(time.Duration(r.config.Multiplier)*r.interval, slow)); end.After(l.until) {
			l.until = end
		}
		r.shut(now)
	}
}

func (l *loop) over() bool {
	if !l.leaving {
		return false
	}
	for _, r := range l.runners {
		if r.leaving() && time.Now().Before(l.until) {
			return false
		}
	}
	return true
}

// wait sleeps until a packet arrives, something is due, or run is to end.
func (l *loop) wait() error {
	due, some := l.due()
	var timeout *unix.Timespec
	if some {
		l.timeout = unix.NsecToTimespec(max(0, int64(time.Until(due))))
		timeout = &l.timeout
	}
	_, err := unix.Ppoll(l.fds, timeout, nil)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("ppoll: %w", err)
	}
	if late := time.Since(due); some && int64(late) > l.late.Load() {
		l.late.Store(int64(late))
	}
	return nil
}

func (l *loop) due() (at time.Time, some bool) {
	if l.leaving {
		at, some = l.until, true
	}
	for _, r := range l.runners {
		if d, ok := r.deadline(); ok && (!some || d.Before(at)) {
			at, some = d, true
		}
	}
	return at, some
}

// drain takes all packets that wait. Each arrived when the kernel says, but not before the sockets were last empty: the
// kernel's clock is that of the wall, which may be set.
func (l *loop) drain(now time.Time) {
	for _, r := range l.receivers {
		for range batch {
			d, ok := r.receive()
			if !ok {
				break
			}
			l.receive(&d, r.multihop)
		}
	}
	l.drained = now
}

func (l *loop) receive(d *datagram, multihop bool) {
	p, err := parse(d.payload)
	if err == nil {
		r := l.demux.find(p, d, multihop)
		if r == nil {
			err = errNoSession
		} else {
			err = r.accept(p, d, multihop, l.arrived(d))
			l.tell(r)
		}
	}
	if err != nil {
		l.discarded.count(err)
	}
}

func (l *loop) arrived(d *datagram) time.Time {
	now := time.Now()
	if d.received == 0 {
		return now
	}
	age := time.Duration(now.UnixNano() - d.received)
	return now.Add(-min(max(0, age), now.Sub(l.drained)))
}

// tell makes news known.
func (l *loop) tell(r *runner) {
	before := r.shown.state
	s := r.publish(l.realtime)
	if s == nil {
		return
	}
	if r.config.OnChange != nil {
		r.config.OnChange(r.full())
	}
	l.changed(s, s.State != before)
}

// A demux finds a packet's session.
type demux struct {
	all             []*runner
	byDiscriminator map[uint32]*runner
}

func newDemux(runners []*runner) demux {
	d := demux{runners, make(map[uint32]*runner)}
	for _, r := range runners {
		d.byDiscriminator[r.localDiscr] = r
	}
	return d
}

// find goes by our discriminator alone once the peer knows it (RFC 5880 section 6.3), else by peer and interface.
// It returns nil where there is no such session on that port.
func (d demux) find(p packet, from *datagram, multihop bool) *runner {
	if p.yourDiscr != 0 {
		if r := d.byDiscriminator[p.yourDiscr]; r != nil && r.runsOn(multihop) {
			return r
		}
		return nil
	}
	for _, r := range d.all {
		if r.address == from.from && r.runsOn(multihop) && r.arrivedBy(from.ifindex) {
			return r
		}
	}
	return nil
}
