package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

const (
	// minInterval keeps 16-bit DNS ids unambiguous for far longer than the timeout, and the schedule feasible.
	minInterval = 100 * time.Microsecond
	maxInterval = time.Minute
	// tickEvery is how often a prober looks for losses, progressTicks how many ticks lie between two progress events.
	tickEvery     = 10 * time.Millisecond
	progressTicks = 10
	// eventBacklog is how many events wait for a slow OnEvent; more are dropped.
	eventBacklog = 1024
	// maxPacket is what an answer may have in bytes: more than DNS over UDP brings.
	maxPacket = 4096
)

// A ProberConfig tells a Prober what to do.
type ProberConfig struct {
	Target   netip.AddrPort
	Source   netip.Addr    // optional: address to send from
	Interval time.Duration // between probes: 100us to 1m
	Duration time.Duration // 0: until the context is done
	Question *Question     // nil: UDP probes; else DNS queries for it
	Points   int           // of the report's series at most: 100 to 100,000; 0: 1000
	OnEvent  func(Event)   // optional; called by one goroutine, may be slow: then events are dropped, never probes
}

// A Prober sends probes to an anycast service on an exact schedule and reports who answered and what was lost.
type Prober struct {
	cfg      ProberConfig
	protocol protocol
	mode     string
}

// NewProber returns a Prober. It opens nothing.
func NewProber(cfg ProberConfig) (*Prober, error) {
	cfg.Target = netip.AddrPortFrom(cfg.Target.Addr().Unmap(), cfg.Target.Port())
	cfg.Source = cfg.Source.Unmap()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	p := &Prober{cfg: cfg, protocol: newPackets(), mode: "udp"}
	if cfg.Question != nil {
		dns, err := newQueries(*cfg.Question)
		if err != nil {
			return nil, err
		}
		p.protocol, p.mode = dns, "dns"
	}
	return p, nil
}

func (cfg ProberConfig) check() error {
	target, source := cfg.Target, cfg.Source
	switch {
	case !target.IsValid() || target.Port() == 0 || target.Addr().IsUnspecified():
		return fmt.Errorf("target %s: want the ADDRESS:PORT of a service", target)
	case target.Addr().IsMulticast():
		return fmt.Errorf("target %s: a multicast address: want that of a service", target)
	case source.IsValid() && source.Is4() != target.Addr().Is4():
		return fmt.Errorf("source %s: not of the same address family as the target %s", source, target)
	case cfg.Interval < minInterval || cfg.Interval > maxInterval:
		return fmt.Errorf("interval %s: want %s to %s", cfg.Interval, minInterval, maxInterval)
	case cfg.Points != 0 && (cfg.Points < minPoints || cfg.Points > maxPoints):
		return fmt.Errorf("points %d: want %d to %d", cfg.Points, minPoints, maxPoints)
	case cfg.Duration < 0:
		return fmt.Errorf("duration %s: want 0 (until interrupted) or more", cfg.Duration)
	}
	return nil
}

// Run probes until the duration is over or ctx is done, waits up to 1 s for answers under way, and reports. It fails
// only when it cannot start: what goes wrong later is counted in the report.
func (p *Prober) Run(ctx context.Context) (Report, error) {
	clock, err := newClock()
	if err != nil {
		return Report{}, err
	}
	socket, err := openSocket(ctx, p.cfg.Source, p.cfg.Target)
	if err != nil {
		return Report{}, err
	}
	r := &proberRun{
		Prober: p, clock: clock, socket: socket,
		tally: newTally(p.cfg.Interval, cmp.Or(p.cfg.Points, usualPoints)), events: make(chan Event, eventBacklog),
	}
	return r.run(ctx)
}

// A proberRun is one run: a goroutine sends, one receives, one looks for losses, one tells events.
type proberRun struct {
	*Prober
	clock  clock
	socket *socket
	events chan Event // closed when nobody sends events any more

	mu      sync.Mutex // guards following
	tally   *tally
	ignored int
}

func (r *proberRun) run(ctx context.Context) (Report, error) {
	report := Report{Target: r.cfg.Target.String(), Mode: r.mode, Started: time.Now(), StartMonoNs: r.clock.now()}
	stop := make(chan struct{})
	var workers, teller sync.WaitGroup
	workers.Go(r.receive)
	workers.Go(func() { r.watch(stop) })
	teller.Go(r.tell)

	err := r.send(ctx, report.StartMonoNs)
	if err == nil {
		r.awaitAnswers()
	}
	err = errors.Join(err, r.socket.close())
	close(stop)
	workers.Wait()
	close(r.events)
	teller.Wait()
	if err != nil {
		return Report{}, err
	}
	r.fill(&report)
	return report, nil
}

func (r *proberRun) fill(report *Report) {
	r.tally.report(report, r.cfg.Interval)
	report.Ignored = r.ignored
	report.Errors = int(r.socket.errors.Load())
	if last := r.socket.lastError.Load(); last != nil {
		report.LastError = *last
	}
	report.Ended = time.Now()
}

// send runs the schedule on a thread of its own, which ends with it: its timer slack is of no use to others.
func (r *proberRun) send(ctx context.Context, start int64) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		pace, err := newPacer(r.clock)
		if err != nil {
			done <- fmt.Errorf("set timer slack: %w", err)
			return
		}
		r.schedule(ctx, pace, start)
		done <- nil
	}()
	return <-done
}

// schedule sends probe n at start + n intervals, however long anything takes: it never drifts.
func (r *proberRun) schedule(ctx context.Context, pace *pacer, start int64) {
	buf := make([]byte, 0, maxPacket)
	interval := int64(r.cfg.Interval)
	for due := start; r.cfg.Duration == 0 || due < start+int64(r.cfg.Duration); due += interval {
		now, ok := pace.wait(ctx, due)
		if !ok {
			return
		}
		if now-due > int64(maxLateness) {
			r.skip(now)
			continue
		}
		r.sendOne(buf, due)
	}
}

func (r *proberRun) skip(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.skip(now)
}

func (r *proberRun) sendOne(buf []byte, due int64) {
	r.mu.Lock()
	now := r.clock.now()
	seq := r.tally.send(due, now)
	r.mu.Unlock()
	r.socket.send(r.protocol.encode(buf, seq, now))
}

// receive reads answers until the socket is closed.
func (r *proberRun) receive() {
	buf := make([]byte, maxPacket)
	for {
		n, stamp, err := r.socket.receive(buf)
		if err != nil {
			return
		}
		r.answer(buf[:n], r.clock.at(stamp))
	}
}

func (r *proberRun) answer(packet []byte, at int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, ok := answer{}, r.tally.next > 0
	if ok {
		a, ok = r.protocol.decode(packet, r.tally.next-1)
	}
	if !ok || !r.tally.receive(a, at) {
		r.ignored++
	}
	r.emit(r.tally.takeEvents(at)...)
}

// watch looks for losses and tells progress until stop is closed.
func (r *proberRun) watch(stop <-chan struct{}) {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
			r.tick(n%progressTicks == 0)
		}
	}
}

func (r *proberRun) tick(progress bool) {
	now := r.clock.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.tick(now)
	r.emit(r.tally.takeEvents(now)...)
	if progress {
		r.emit(r.tally.progress(now))
	}
}

// emit hands events over without ever waiting.
func (r *proberRun) emit(events ...Event) {
	for _, e := range events {
		select {
		case r.events <- e:
		default:
		}
	}
}

func (r *proberRun) tell() {
	for e := range r.events {
		if r.cfg.OnEvent != nil {
			r.cfg.OnEvent(e)
		}
	}
}

// awaitAnswers returns when no answer is to come in time any more.
func (r *proberRun) awaitAnswers() {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for deadline := time.Now().Add(timeout); time.Now().Before(deadline); <-tick.C {
		r.mu.Lock()
		pending := r.tally.pending
		r.mu.Unlock()
		if pending == 0 {
			return
		}
	}
}
