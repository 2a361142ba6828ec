package discovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyedge/anyedge/pkg/steering"
)

// lane is how many requests of one kind may be under way: those to pods that answered last, and those to pods that did
// not. So those that hang wait for each other, and hold up nobody else.
const lane = 128

// A Scraper asks targets for their load and keeps the latest sample of each. It is a prometheus.Collector, and safe for
// concurrent use.
type Scraper struct {
	log     *slog.Logger
	dial    dialer
	metrics *metrics
	shift   float64
	lanes   [2]chan struct{} // by whether the last request failed
	buffers sync.Pool        // of *bytes.Buffer

	mu      sync.Mutex // guards following
	targets map[Target]*target
	count   uint64        // of targets ever
	changed chan struct{} // one signal: targets is another
}

// layoutKey is what a layout hangs on.
type layoutKey struct {
	format Format
	names  Names
}

// A target is a Target and what is known of it.
type target struct {
	Target
	number uint64
	layout *layout
	latest atomic.Pointer[steering.Load] // nil: none yet
	why    atomic.Pointer[string]        // the last request failed; nil: it did not

	// Of the goroutine that asks it:
	line   *line
	values []float64
	before reading
	failed bool // the last request
}

// NewScraper returns a scraper without targets; it starts nothing. A nil log discards.
func NewScraper(log *slog.Logger) *Scraper {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Scraper{
		log: log, dial: new(net.Dialer).DialContext, metrics: newMetrics(), shift: rand.Float64(),
		lanes:   [2]chan struct{}{make(chan struct{}, lane), make(chan struct{}, lane)},
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
		targets: make(map[Target]*target), changed: make(chan struct{}, 1),
	}
}

// Set states all targets that are to be asked. What is known of those that were there already is kept.
func (s *Scraper) Set(targets ...Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, layouts := s.targets, make(map[layoutKey]*layout)
	s.targets = make(map[Target]*target, len(targets))
	for _, t := range targets {
		switch was := old[t]; {
		case s.targets[t] != nil:
		case was != nil:
			s.targets[t] = was
			layouts[was.key()] = was.layout
		default:
			s.targets[t] = s.add(t, layouts)
		}
	}
	s.metrics.targets.Set(float64(len(s.targets)))
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

func (t Target) key() layoutKey { return layoutKey{t.Format, t.Names} }

func (s *Scraper) add(t Target, layouts map[layoutKey]*layout) *target {
	l := layouts[t.key()]
	if l == nil {
		l = newLayout(t)
		layouts[t.key()] = l
	}
	s.count++
	return &target{Target: t, number: s.count, layout: l, before: newReading()}
}

// Latest returns what t told last; the zero Load: nothing yet, or t is none of the targets.
func (s *Scraper) Latest(t Target) steering.Load {
	s.mu.Lock()
	known := s.targets[t]
	s.mu.Unlock()
	if known == nil {
		return steering.Load{}
	}
	return known.load()
}

// Trouble returns why t did not tell its load when it was asked last; empty: it did, or was not asked yet.
func (s *Scraper) Trouble(t Target) string {
	s.mu.Lock()
	known := s.targets[t]
	s.mu.Unlock()
	if known == nil {
		return ""
	}
	if why := known.why.Load(); why != nil {
		return *why
	}
	return ""
}

func (t *target) load() steering.Load {
	if latest := t.latest.Load(); latest != nil {
		return *latest
	}
	return steering.Load{}
}

// Run asks until ctx is done and then returns nil; it may be called once. A pod that does not answer is no error.
func (s *Scraper) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	start, running := time.Now(), make(map[*target]context.CancelFunc)
	defer func() {
		for _, cancel := range running {
			cancel()
		}
	}()
	for {
		wanted := s.wanted()
		for t, cancel := range running {
			if !wanted[t] {
				cancel()
				delete(running, t)
			}
		}
		for t := range wanted {
			if running[t] == nil {
				each, cancel := context.WithCancel(ctx)
				running[t] = cancel
				wg.Go(func() { s.follow(each, t, start) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		}
	}
}

func (s *Scraper) wanted() map[*target]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[*target]bool, len(s.targets))
	for _, t := range s.targets {
		all[t] = true
	}
	return all
}

// follow asks one target until ctx is done.
func (s *Scraper) follow(ctx context.Context, t *target, start time.Time) {
	t.line, t.values = newLine(t.Target, s.dial), make([]float64, len(t.layout.columns))
	defer t.line.hangUp()
	slots := newSchedule(t.Interval, t.number, s.shift, start)
	timer := time.NewTimer(time.Until(slots.next(time.Now())))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		s.queue(ctx, t)
		timer.Reset(time.Until(slots.next(time.Now())))
	}
}

// queue waits until t may be asked, and asks it.
func (s *Scraper) queue(ctx context.Context, t *target) {
	places := s.lanes[0]
	if t.failed {
		places = s.lanes[1]
	}
	select {
	case <-ctx.Done():
		return
	case places <- struct{}{}:
	}
	defer func() { <-places }()
	began := time.Now()
	err := s.ask(ctx, t, began)
	if ctx.Err() != nil {
		return // that tells nothing of the pod
	}
	s.metrics.request(err, time.Since(began))
	t.fault(err)
	if failed := err != nil; failed != t.failed {
		t.failed = failed
		s.tell(t, err)
	}
}

// fault keeps why the last request failed.
func (t *target) fault(err error) {
	if err == nil {
		t.why.Store(nil)
		return
	}
	text := err.Error()
	t.why.Store(&text)
}

func (s *Scraper) tell(t *target, err error) {
	if err == nil {
		s.log.Info("load is told again", "target", t.Address, "path", t.Path)
		return
	}
	s.log.Warn("load is not told", "target", t.Address, "path", t.Path, "err", err)
}

// ask makes one request and keeps what it told.
func (s *Scraper) ask(ctx context.Context, t *target, began time.Time) error {
	buf := s.buffers.Get().(*bytes.Buffer)
	defer s.buffers.Put(buf)
	buf.Reset()
	header, err := t.line.ask(ctx, began.Add(t.Timeout), buf)
	if err != nil {
		return t.explain(err)
	}
	if err := t.layout.fill(t.values, t.Format, header, buf.Bytes()); err != nil {
		return err
	}
	return t.take(t.layout.read(t.values, time.Now()), time.Now())
}

// explain says what went wrong, without what the log says already.
func (t *target) explain(err error) error {
	var op *net.OpError
	switch {
	case isTimeout(err):
		return fmt.Errorf("no answer within %s", t.Timeout)
	case errors.As(err, &op):
		return op.Err
	default:
		return err
	}
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// take keeps a reading. The first one of a counter tells nothing yet.
func (t *target) take(r reading, at time.Time) error {
	l := r.since(t.before, at)
	l.Every = t.Interval
	t.before = r
	switch {
	case r.empty():
		return errors.New("tells none of the metrics that are looked for")
	case idle(l, t.load()) || l == steering.Load{At: at, Every: t.Interval}:
		return nil
	default:
		t.latest.Store(&l)
		return nil
	}
}

// idle tells that a pod which is judged by its latency had nothing to do. What it told before grows old then, and it is
// not judged by another signal, in which it may differ from the rest.
func idle(l, last steering.Load) bool {
	return !l.InFlight.Known && !l.Latency.Known && last.Latency.Known
}
