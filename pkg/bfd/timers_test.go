package bfd

import (
	"context"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An end is one session on a wire that is made of channels, driven as the loop drives it, on synctest's clock.
type end struct {
	*session
	in, out chan packet
	cut     chan bool // true: what is sent is lost

	mu    sync.Mutex  // guards session and times
	times []time.Time // of what was sent
}

// pair runs two sessions on a wire until stop.
func pair(t *testing.T, a, b Config) (x, y *end, stop func()) {
	t.Helper()
	ab, ba := make(chan packet, 1000), make(chan packet, 1000)
	x = &end{session: machine(a), in: ba, out: ab, cut: make(chan bool)}
	y = &end{session: machine(b), in: ab, out: ba, cut: make(chan bool)}
	y.localDiscr = itsDiscr
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, e := range []*end{x, y} {
		all.Go(func() { e.run(ctx) })
	}
	return x, y, func() { cancel(); all.Wait() }
}

func (e *end) run(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.start(time.Now())
	lost := false
	for {
		timer := time.NewTimer(e.sleep())
		var got *packet
		e.mu.Unlock()
		select {
		case <-ctx.Done():
			e.mu.Lock()
			return
		case p := <-e.in:
			got = &p
		case lost = <-e.cut:
		case <-timer.C:
		}
		e.mu.Lock()
		if got != nil {
			e.receive(*got, time.Now())
		}
		e.expire(time.Now())
		for _, p := range quiet(e.session, time.Now()) {
			e.times = append(e.times, time.Now())
			if !lost {
				e.out <- p
			}
		}
	}
}

func (e *end) sleep() time.Duration {
	at, ok := e.deadline()
	if !ok {
		return time.Hour
	}
	return time.Until(at)
}

// A snapshot is an end once all is quiet.
type snapshot struct {
	state               State
	diag                Diag
	interval, detection time.Duration
	times               []time.Time
}

func (e *end) now() snapshot {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return snapshot{e.state, e.diag, e.interval, e.detectionTime(), slices.Clone(e.times)}
}

func wantStates(t *testing.T, when string, x, y *end, a, b State) {
	t.Helper()
	gotA, gotB := x.now(), y.now()
	if gotA.state != a || gotB.state != b {
		t.Fatalf("%s: %v and %v, want %v and %v", when, gotA.state, gotB.state, a, b)
	}
}

// Up within the slow interval, at the slower of both wishes, down after exactly the detection time, back within a slow
// interval after the wire is whole.
func TestLifeOfASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y, stop := pair(t, Config{Interval: 10 * ms}, Config{Interval: 30 * ms, Multiplier: 5})
		defer stop()
		time.Sleep(slow)
		wantStates(t, "after a slow interval", x, y, Up, Up)
		time.Sleep(slow)
		a, b := x.now(), y.now()
		if a.interval != 30*ms || b.interval != 30*ms || a.detection != 150*ms || b.detection != 90*ms {
			t.Fatalf("intervals %s, %s; detection times %s, %s", a.interval, b.interval, a.detection, b.detection)
		}
		last := a.times[len(a.times)-1]
		x.cut <- true // one direction only
		time.Sleep(time.Until(last.Add(90*ms - 1)))
		wantStates(t, "just before y's detection time", x, y, Up, Up)
		time.Sleep(1 * time.Nanosecond)
		wantStates(t, "y noticed, and told x", x, y, Down, Down)
		if a, b := x.now(), y.now(); a.diag != NeighborDown || b.diag != TimeExpired {
			t.Errorf("diagnostics %v and %v", a.diag, b.diag)
		}
		time.Sleep(10 * time.Second)
		wantStates(t, "x hears y, y hears nothing", x, y, Init, Down)
		x.cut <- false
		time.Sleep(slow)
		wantStates(t, "whole again", x, y, Up, Up)
	})
}

// While not up, packets are never less than 750 ms apart but for changes; while up, never more than the interval.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y, stop := pair(t, Config{Interval: 20 * ms}, Config{Interval: 20 * ms})
		defer stop()
		y.cut <- true // x is never heard to answer
		time.Sleep(20 * time.Second)
		for d := range gaps(x.now().times) {
			if d < 750*ms || d > slow {
				t.Errorf("%s between two packets of a session that is down", d)
			}
		}
		y.cut <- false
		time.Sleep(2 * slow)
		from := len(x.now().times)
		time.Sleep(10 * time.Second)
		wantStates(t, "on a whole wire", x, y, Up, Up)
		for d := range gaps(x.now().times[from:]) {
			if d < 15*ms || d > 20*ms {
				t.Errorf("%s between two packets of a session that is up", d)
			}
		}
	})
}

// gaps yields the times between.
func gaps(times []time.Time) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		for i := 1; i < len(times) && yield(times[i].Sub(times[i-1])); i++ {
		}
	}
}

// Shut is told at the pace of before, until the peer says that it heard.
func TestShut(t *testing.T) {
	s := in(Up, Config{})
	s.shut(epoch)
	if sent := quiet(s, epoch); len(sent) != 1 || sent[0].state != AdminDown || sent[0].diag != Administrator || !s.leaving() {
		t.Errorf("sent %+v", sent)
	}
	now := epoch.Add(100 * ms)
	if sent := quiet(s, now); len(sent) != 1 || !s.leaving() {
		t.Errorf("sent %+v", sent)
	}
	s.receive(told(Down), now)
	if s.leaving() || s.failed {
		t.Error("the peer knows")
	}
}
