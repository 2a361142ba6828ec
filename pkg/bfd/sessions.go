package bfd

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Sessions run one session per Config. All methods are safe for concurrent use and wait for nothing.
type Sessions struct {
	log       *slog.Logger
	configs   []Config
	runners   []*runner
	changed   chan struct{}
	discarded *discards
	late      atomic.Int64
}

// New checks the configurations; it opens nothing. OnChange, Status and Changed work once Run does.
func New(log *slog.Logger, configs ...Config) (*Sessions, error) {
	configs, err := withDefaults(configs)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Sessions{log: log, configs: configs, changed: make(chan struct{}, 1), discarded: newDiscards()}
	taken := map[uint32]bool{0: true}
	for _, c := range configs {
		r := newRunner(newSession(c, discriminator(taken), rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))))
		r.publish(false)
		s.runners = append(s.runners, r)
	}
	return s, nil
}

// discriminator draws one that is not taken: not to be guessed (RFC 5880 section 10), not that of the process before.
func discriminator(taken map[uint32]bool) uint32 {
	for {
		if d := rand.Uint32(); !taken[d] {
			taken[d] = true
			return d
		}
	}
}

// Run runs the sessions until ctx is done, then tells the peers AdminDown, which takes up to a second. It returns an
// error at once when it cannot listen. Call it once.
func (s *Sessions) Run(ctx context.Context) error {
	receivers, err := s.listen()
	defer func() {
		for _, r := range receivers {
			r.close()
		}
	}()
	if err != nil {
		return fmt.Errorf("bfd: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("bfd: eventfd: %w", err)
	}
	defer unix.Close(wake)
	told := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(told)
		write(wake)
	})
	defer func() {
		if !stop() {
			<-told // wake must not be closed before
		}
	}()
	l := newLoop(s.runners, receivers, wake)
	for i, r := range s.runners {
		r.slot.Store(&l.standIn.slots[i])
	}
	if err := s.run(l); err != nil {
		return fmt.Errorf("bfd: %w", err)
	}
	return nil
}

// write makes an eventfd readable for good.
func write(fd int) { _, _ = unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (s *Sessions) listen() ([]*receiver, error) {
	var all []*receiver
	for _, l := range listens(s.configs) {
		r, err := newReceiver(l)
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
	return all, nil
}

// news bounds the changes of state that wait to be logged. More are not: Status is what counts.
const news = 256

// run runs the loop on a thread of its own and logs what it tells: a log may block, the loop must not.
func (s *Sessions) run(l *loop) error {
	states := make(chan *Status, news)
	l.discarded, l.late = s.discarded, &s.late
	l.changed = func(status *Status, state bool) {
		select {
		case s.changed <- struct{}{}:
		default:
		}
		if !state {
			return
		}
		select {
		case states <- status:
		default:
		}
	}
	var threads sync.WaitGroup
	var failure error
	threads.Go(func() {
		_, back := punctual()
		defer back()
		l.standIn.run()
	})
	threads.Go(func() {
		defer close(states)
		var back func()
		l.realtime, back = punctual()
		defer back()
		if !l.realtime {
			s.log.Warn("BFD runs without real-time scheduling: on a busy machine peers may take it for dead",
				"remedy", "CAP_SYS_NICE, or LimitRTPRIO=10 in the unit")
		}
		failure = l.run()
		write(int(l.standIn.end.Fd)) // it ends with the loop, whatever the reason
	})
	for status := range states {
		s.report(status)
	}
	threads.Wait()
	for _, r := range l.runners {
		r.close()
	}
	return failure
}

func (s *Sessions) report(status *Status) {
	log := s.log.Info
	if status.Failed {
		log = s.log.Warn
	}
	log("BFD session", "peer", status.Peer, "state", status.State, "remote_state", status.RemoteState, "diag", status.Diag,
		"remote_diag", status.RemoteDiag, "interval", status.Interval, "detection_time", status.DetectionTime, "reason", status.Reason)
}

// Changed signals that some Status, but for its counters, changed since it was last read; capacity 1.
func (s *Sessions) Changed() <-chan struct{} { return s.changed }

// Status returns all sessions in the order of their configurations.
func (s *Sessions) Status() []Status {
	all := make([]Status, 0, len(s.runners))
	for _, r := range s.runners {
		all = append(all, r.full())
	}
	return all
}

// full is the status with the counters of this moment.
func (r *runner) full() Status {
	s := *r.status.Load()
	s.Sent, s.Received, s.Gap = r.sent.Load(), r.received.Load(), time.Duration(r.gap.Load())
	if slot := r.slot.Load(); slot != nil {
		s.StoodIn = atomic.LoadUint64(&slot.sent)
	}
	return s
}

// Late returns the worst lateness ever of the thread that runs all sessions. Another one sends for it meanwhile.
func (s *Sessions) Late() time.Duration { return time.Duration(s.late.Load()) }

// Discarded returns how many packets did not count, by reason.
func (s *Sessions) Discarded() map[string]uint64 {
	all := make(map[string]uint64, len(s.discarded.counts))
	for err, n := range s.discarded.counts {
		all[err.Error()] = n.Load()
	}
	return all
}

// discards counts by reason.
type discards struct {
	counts map[error]*atomic.Uint64
}

func newDiscards() *discards {
	d := &discards{make(map[error]*atomic.Uint64)}
	for _, err := range []error{errVersion, errLength, errDetectMult, errMultipoint, errMyDiscr, errYourDiscr,
		errAuthentication, errNoSession, errTTL} {
		d.counts[err] = new(atomic.Uint64)
	}
	return d
}

func (d *discards) count(err error) {
	if n := d.counts[err]; n != nil {
		n.Add(1)
	}
}
