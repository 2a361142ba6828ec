package bfd

import (
	"context"
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

	mu     sync.Mutex
	states []State
	times  []time.Time // of what was sent
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
	e.start(time.Now())
	lost := false
	for {
		timer := time.NewTimer(e.sleep())
		select {
		case <-ctx.Done():
			return
		case p := <-e.in:
			e.receive(p, time.Now())
		case lost = <-e.cut:
		case <-timer.C:
		}
		e.expire(time.Now())
		sent := quiet(e.session, time.Now())
		e.mu.Lock()
		if n := len(e.states); n == 0 || e.states[n-1] != e.state {
			e.states = append(e.states, e.state)
		}
		for _, p := range sent {
			e.times = append(e.times, time.Now())
			if !lost {
				e.out <- p
			}
		}
		e.mu.Unlock()
	}
}

func (e *end) sleep() time.Duration {
	at, ok := e.deadline()
	if !ok {
		return time.Hour
	}
	return time.Until(at)
}

// state waits until all is quiet and returns the state.
func (e *end) now() (State, time.Duration) {
	synctest.Wait()
	return e.state, e.interval
}

func wantStates(t *testing.T, when string, x, y *end, a, b State) {
	t.Helper()
	gotA, _ := x.now()
	gotB, _ := y.now()
	if gotA != a || gotB != b {
		t.Fatalf("%s: %v and %v, want %v and %v", when, gotA, gotB, a, b)
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
		_, ix := x.now()
		_, iy := y.now()
		if ix != 30*ms || iy != 30*ms || x.detectionTime() != 150*ms || y.detectionTime() != 90*ms {
			t.Fatalf("intervals %s, %s; detection times %s, %s", ix, iy, x.detectionTime(), y.detectionTime())
		}
		synctest.Wait()
		last := x.times[len(x.times)-1]
		x.cut <- true // one direction only
		time.Sleep(time.Until(last.Add(90*ms - 1)))
		wantStates(t, "just before y's detection time", x, y, Up, Up)
		time.Sleep(1)
		wantStates(t, "y noticed, and told x", x, y, Down, Down)
		if x.diag != NeighborDown || y.diag != TimeExpired {
			t.Errorf("diagnostics %v and %v", x.diag, y.diag)
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
		synctest.Wait()
		for i := 1; i < len(x.times); i++ {
			if d := x.times[i].Sub(x.times[i-1]); d < 750*ms || d > slow {
				t.Errorf("%s between two packets of a session that is down", d)
			}
		}
		y.cut <- false
		time.Sleep(2 * slow)
		synctest.Wait()
		from := len(x.times)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		wantStates(t, "on a whole wire", x, y, Up, Up)
		for i := from + 1; i < len(x.times); i++ {
			if d := x.times[i].Sub(x.times[i-1]); d < 15*ms || d > 20*ms {
				t.Errorf("%s between two packets of a session that is up", d)
			}
		}
	})
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
