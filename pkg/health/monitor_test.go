package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// script is a Checker that answers as told and notes when it was asked.
type script struct {
	mu     sync.Mutex
	answer func(context.Context) error
	asked  []time.Time
	busy   bool
}

func (s *script) Check(ctx context.Context) error {
	s.mu.Lock()
	if s.busy {
		panic("two attempts at the same time")
	}
	s.busy = true
	s.asked = append(s.asked, time.Now())
	answer := s.answer
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.busy = false; s.mu.Unlock() }()
	if answer == nil {
		return nil
	}
	return answer(ctx)
}

func (s *script) set(answer func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// times returns when it was asked, and forgets.
func (s *script) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.asked = nil }()
	return s.asked
}

func refused(context.Context) error { return errors.New("refused") }

func hangs(ctx context.Context) error { <-ctx.Done(); return errors.New("hung") }

func active(name string, s *script) Check {
	return Check{
		Name: name, Checker: s, Interval: time.Second, Timeout: 500 * time.Millisecond,
		FastInterval: 200 * time.Millisecond, Rise: 3, Fall: 3,
	}
}

// bubble runs f in a synctest bubble with a monitor of its services.
func bubble(t *testing.T, f func(t *testing.T, m *Monitor), services ...Service) {
	t.Helper()
	bubbleKernel(t, nil, f, services...)
}

func bubbleKernel(t *testing.T, k *fakeKernel, f func(t *testing.T, m *Monitor), services ...Service) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor(nil, services...)
		if k != nil {
			k.events = make(chan socketEvent)
			m.open = func(Namespace, []Listener) (kernel, error) { return k, nil }
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		f(t, m)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// sleep lets fake time pass and everything that is due happen.
func sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func want(t *testing.T, m *Monitor, state State, reason string) Status {
	t.Helper()
	s := m.Status()[0]
	if s.State != state || s.Reason != reason {
		t.Fatalf("%v, %q; want %v, %q", s.State, s.Reason, state, reason)
	}
	return s
}

func TestFoundDownAtStart(t *testing.T) {
	s := &script{answer: refused}
	bubble(t, func(t *testing.T, m *Monitor) {
		want(t, m, Unknown, "answers: no result yet")
		sleep(10 * time.Millisecond)
		want(t, m, Down, "answers: refused")
	}, Service{Name: "dns", Checks: []Check{active("answers", s)}})
}

func TestRisesFast(t *testing.T) {
	s := &script{}
	bubble(t, func(t *testing.T, m *Monitor) {
		sleep(10 * time.Millisecond)
		want(t, m, Unknown, "answers: ok, 1 of 3 in a row")
		sleep(450 * time.Millisecond)
		since := want(t, m, Up, "1 of 1 checks up").Since
		if asked := s.times(); len(asked) < 3 || !since.Equal(asked[2]) {
			t.Errorf("up at %v, asked at %v, want up by the third", since, asked)
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", s)}})
}

func TestFallsWithinTheBound(t *testing.T) {
	s := &script{}
	bubble(t, func(t *testing.T, m *Monitor) {
		sleep(10 * time.Second)
		since := want(t, m, Up, "1 of 1 checks up").Since
		s.times()
		s.set(hangs)
		// interval, a sixteenth late, then three timeouts back to back: longer than the fast interval
		sleep(time.Second + time.Second/16 + 3*500*time.Millisecond + 10*time.Millisecond)
		got := want(t, m, Down, "answers: hung")
		asked := s.times()
		if len(asked) < 3 {
			t.Fatalf("asked %d times, want at least 3", len(asked))
		}
		if end := asked[2].Add(500 * time.Millisecond); !got.Noticed.Equal(end) {
			t.Errorf("noticed %v, want the end of the third attempt, %v", got.Noticed, end)
		}
		if !got.Since.After(since) {
			t.Errorf("since %v, want after %v", got.Since, since)
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", s)}})
}

func TestOneFailureIsNoFall(t *testing.T) {
	s := &script{}
	bubble(t, func(t *testing.T, m *Monitor) {
		sleep(10 * time.Second)
		since := want(t, m, Up, "1 of 1 checks up").Since
		s.times()
		s.set(func(context.Context) error { s.set(nil); return errors.New("once") })
		sleep(10 * time.Second)
		if got := want(t, m, Up, "1 of 1 checks up"); got.Since != since {
			t.Errorf("up since %v, want %v", got.Since, since)
		}
		asked := s.times()
		if gap := asked[1].Sub(asked[0]); gap > 210*time.Millisecond {
			t.Errorf("asked again %v after the failure, want the fast interval", gap)
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", s)}})
}

func TestSettledInterval(t *testing.T) {
	for name, answer := range map[string]func(context.Context) error{"up": nil, "down": refused} {
		t.Run(name, func(t *testing.T) {
			s := &script{answer: answer}
			bubble(t, func(t *testing.T, m *Monitor) {
				sleep(5 * time.Second)
				s.times()
				sleep(time.Minute)
				if n := len(s.times()); n < 59 || n > 61 {
					t.Errorf("%d attempts in a minute, want one a second", n)
				}
			}, Service{Name: "dns", Checks: []Check{active("answers", s)}})
		})
	}
}

// A Checker that comes back with success, but too late, has failed.
func TestLateSuccessIsAFailure(t *testing.T) {
	s := &script{answer: func(ctx context.Context) error { <-ctx.Done(); return nil }}
	bubble(t, func(t *testing.T, m *Monitor) {
		sleep(time.Second)
		want(t, m, Down, "answers: answered after more than 500ms")
	}, Service{Name: "dns", Checks: []Check{active("answers", s)}})
}

// How long it took is known of the last attempt that passed, and is no change to be told.
func TestTook(t *testing.T) {
	takes := func(d time.Duration, err error) func(context.Context) error {
		return func(context.Context) error { time.Sleep(d); return err }
	}
	s := &script{answer: takes(30*time.Millisecond, nil)}
	bubble(t, func(t *testing.T, m *Monitor) {
		took := func(want time.Duration) time.Time {
			t.Helper()
			c := m.Status()[0].Checks[0]
			if c.Took != want {
				t.Errorf("took %v, want %v", c.Took, want)
			}
			return c.Passed
		}
		if passed := took(0); !passed.IsZero() {
			t.Errorf("passed %v before any attempt", passed)
		}
		sleep(5 * time.Second)
		before := took(30 * time.Millisecond)
		<-m.Changed()
		s.set(takes(40*time.Millisecond, nil))
		sleep(1100 * time.Millisecond)
		if passed := took(40 * time.Millisecond); !passed.After(before) || time.Since(passed) > 1100*time.Millisecond {
			t.Errorf("passed %v, before that %v", passed, before)
		}
		select {
		case <-m.Changed():
			t.Error("a change was told")
		default:
		}
		s.set(takes(50*time.Millisecond, errors.New("refused")))
		sleep(5 * time.Second)
		took(40 * time.Millisecond)
	}, Service{Name: "dns", Checks: []Check{active("answers", s)}})
}

func TestChangedHoldsOneSignal(t *testing.T) {
	s := &script{}
	bubble(t, func(t *testing.T, m *Monitor) {
		sleep(10 * time.Second)
		<-m.Changed()
		select {
		case <-m.Changed():
			t.Error("a second signal is queued")
		default:
		}
		s.set(refused)
		<-m.Changed() // the first failure is news, though the state is the same
		if got := m.Status()[0].Checks[0]; got.State != Up || got.Reason != "failed 1 of 3: refused" {
			t.Errorf("check after the first failure: %+v", got)
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", s)}})
}

func TestFirstAttemptsAreSpread(t *testing.T) {
	const n = 1000
	scripts := make([]*script, n)
	var services []Service
	for i := range scripts {
		scripts[i] = &script{}
		services = append(services, Service{Name: fmt.Sprint("s", i), Checks: []Check{active("answers", scripts[i])}})
	}
	bubble(t, func(t *testing.T, m *Monitor) {
		sleep(60 * time.Second)
		var asked []time.Time
		for _, s := range scripts {
			asked = append(asked, s.times()...)
		}
		slices.SortFunc(asked, time.Time.Compare)
		if spread := asked[n-1].Sub(asked[0]); spread > 100*time.Millisecond {
			t.Errorf("first attempts spread over %v", spread)
		}
		tail := asked[len(asked)-30*n:] // settled
		for i := range len(tail) - n/10 {
			if d := tail[i+n/10].Sub(tail[i]); d < 30*time.Millisecond {
				t.Fatalf("a tenth of the attempts of a second came within %v", d)
			}
		}
	}, services...)
}

func TestInvalidChecks(t *testing.T) {
	for want, c := range map[string]Check{
		"health: check dns/far: what is watched is on this host: it cannot be remote":      {Name: "far", Remote: true, Listener: &Listener{Network: "udp", Port: 1}},
		"health: check dns/none: exactly one of Checker, Listener and Process must be set": {Name: "none"},
		"health: check dns/both: exactly one of Checker, Listener and Process must be set": {Name: "both", Checker: TCP{}, Listener: &Listener{Network: "tcp", Port: 1}},
		`health: check dns/net: network "sctp": must be tcp or udp`:                        {Name: "net", Listener: &Listener{Network: "sctp", Port: 1}},
		"health: check dns/port: port 0: must be 1 to 65535":                               {Name: "port", Listener: &Listener{Network: "udp"}},
	} {
		if err := NewMonitor(nil, Service{Name: "dns", Checks: []Check{c}}).Run(t.Context()); err == nil || err.Error() != want {
			t.Errorf("Run: %v, want %s", err, want)
		}
	}
}

func TestTooManyRequired(t *testing.T) {
	s := Service{Name: "dns", Checks: []Check{active("a", &script{}), remote("b", &script{})}, Require: 2}
	const want = "health: service dns: 2 checks required of 1 that are not remote"
	if err := NewMonitor(nil, s).Run(t.Context()); text(err) != want {
		t.Errorf("Run: %v, want %s", err, want)
	}
}

// fakeKernel has sockets and events as the test says.
type fakeKernel struct {
	mu     sync.Mutex
	up     bool
	err    error
	delay  time.Duration // of one look: what it saw is that old
	events chan socketEvent
}

func (k *fakeKernel) set(up bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.up, k.err = up, err
}

func (k *fakeKernel) bound(Listener) (bool, error) {
	k.mu.Lock()
	up, err, delay := k.up, k.err, k.delay
	k.mu.Unlock()
	time.Sleep(delay)
	return up, err
}

func (k *fakeKernel) watch(ctx context.Context, saw func(socketEvent)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-k.events:
			saw(e)
		}
	}
}

func (k *fakeKernel) Close() error { return nil }

func (k *fakeKernel) destroy(last bool) time.Time {
	k.set(!last, nil)
	now := time.Now()
	k.events <- socketEvent{network: "udp", port: 53, at: now}
	synctest.Wait()
	return now
}

func listening() Check {
	return Check{Name: "socket", Interval: time.Second, FastInterval: 200 * time.Millisecond,
		Listener: &Listener{Network: "udp", Port: 53}}
}

func TestLastSocketDestroyed(t *testing.T) {
	k, s := &fakeKernel{up: true}, &script{}
	bubbleKernel(t, k, func(t *testing.T, m *Monitor) {
		sleep(2 * time.Second)
		want(t, m, Up, "2 of 2 checks up")
		s.set(refused)
		at := k.destroy(true)
		got := want(t, m, Down, "socket: last udp socket on port 53 destroyed")
		if !got.Noticed.Equal(at) {
			t.Errorf("noticed %v, want the time of the event, %v", got.Noticed, at)
		}
		if c := got.Checks[0]; c.State != Down || c.Reason != "refused" {
			t.Errorf("active check: %+v, want it to have been asked anew at once", c)
		}
		sleep(time.Minute)
		want(t, m, Down, "socket: last udp socket on port 53 destroyed")
	}, Service{Name: "dns", Checks: []Check{active("answers", s), listening()}})
}

// The active check says up until its next turn; the service is down all the same, and up again only after rise
// successes that began after the socket came back.
func TestSocketReturns(t *testing.T) {
	k, s := &fakeKernel{up: true}, &script{}
	bubbleKernel(t, k, func(t *testing.T, m *Monitor) {
		sleep(2 * time.Second)
		s.set(refused)
		k.destroy(true)
		k.set(true, nil)
		s.set(nil)
		s.times()
		back := time.Now()
		for m.Status()[0].State != Up {
			<-m.Changed()
		}
		asked := s.times()
		if len(asked) != 3 {
			t.Errorf("up after %d successes, want 3", len(asked))
		}
		// a look, then three attempts with fast intervals in between
		if took := time.Since(back); took > 3*210*time.Millisecond {
			t.Errorf("up %v after the socket came back", took)
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", s), listening()}})
}

// What passes its checks again, but not often enough yet, is rising; one more failure ends that. Remote checks do not count.
func TestRising(t *testing.T) {
	k, s, upstream := &fakeKernel{up: true}, &script{}, &script{answer: refused}
	bubbleKernel(t, k, func(t *testing.T, m *Monitor) {
		is := func(when string, state State, rising bool) {
			t.Helper()
			if got := m.Status()[0]; got.State != state || got.Rising != rising {
				t.Fatalf("%s: %v, rising %v; want %v, %v", when, got.State, got.Rising, state, rising)
			}
		}
		is("at the start", Unknown, false)
		sleep(10 * time.Millisecond)
		is("after one success", Unknown, false)
		sleep(2 * time.Second)
		s.set(refused)
		k.destroy(true)
		is("the socket is gone", Down, false)
		k.set(true, nil)
		sleep(250 * time.Millisecond)
		is("it is back, but nobody answers", Down, false)
		s.set(nil)
		for waited := time.Duration(0); !m.Status()[0].Rising && waited < 2*time.Second; waited += 10 * time.Millisecond {
			sleep(10 * time.Millisecond) // its slot comes within the second
		}
		is("it answers", Down, true)
		s.set(refused)
		sleep(210 * time.Millisecond)
		is("no more", Down, false)
		s.set(nil)
		sleep(2 * time.Second)
		is("and again", Up, false)
	}, Service{Name: "dns", Checks: []Check{active("answers", s), listening(), remote("upstream", upstream)}})
}

// Another process takes the port before the kernel's event is read: the service was never down, but it is asked.
func TestSocketReplacedBeforeTheEvent(t *testing.T) {
	k, s := &fakeKernel{up: true}, &script{}
	bubbleKernel(t, k, func(t *testing.T, m *Monitor) {
		sleep(2 * time.Second)
		since := want(t, m, Up, "2 of 2 checks up").Since
		s.times()
		at := k.destroy(false)
		if got := want(t, m, Up, "2 of 2 checks up"); got.Since != since {
			t.Errorf("up since %v, want %v", got.Since, since)
		}
		if asked := s.times(); len(asked) != 1 || !asked[0].Equal(at) {
			t.Errorf("asked at %v, want once, at %v", asked, at)
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", s), listening()}})
}

// What was seen before the event must not count after it, neither a look at the table nor an attempt.
func TestAttemptUnderWayDoesNotCount(t *testing.T) {
	k, s := &fakeKernel{up: true}, &script{}
	bubbleKernel(t, k, func(t *testing.T, m *Monitor) {
		sleep(2 * time.Second)
		began, release := make(chan struct{}), make(chan struct{})
		s.set(func(context.Context) error {
			close(began)
			<-release // whatever ctx says
			return nil
		})
		<-began
		k.destroy(true)
		s.set(refused)
		close(release)
		synctest.Wait()
		got := want(t, m, Down, "socket: last udp socket on port 53 destroyed")
		if c := got.Checks[0]; c.State != Down || c.Reason != "refused" {
			t.Errorf("active check: %+v, want only the attempt after the event to count", c)
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", s), listening()}})
}

func TestLookUnderWayDoesNotCount(t *testing.T) {
	k := &fakeKernel{up: true, delay: 50 * time.Millisecond}
	bubbleKernel(t, k, func(t *testing.T, m *Monitor) {
		sleep(10 * time.Second)
		for range 20 { // at any time before, in and after a look
			sleep(37 * time.Millisecond)
			k.destroy(true)
			sleep(50 * time.Millisecond)
			want(t, m, Down, "socket: last udp socket on port 53 destroyed")
			sleep(time.Second)
			want(t, m, Down, "socket: last udp socket on port 53 destroyed")
			k.set(true, nil)
			sleep(time.Second)
			want(t, m, Up, "1 of 1 checks up")
		}
	}, Service{Name: "dns", Checks: []Check{listening()}})
}

func TestLostEventsAreLookedUp(t *testing.T) {
	k := &fakeKernel{up: true}
	bubbleKernel(t, k, func(t *testing.T, m *Monitor) {
		sleep(10 * time.Millisecond)
		k.set(false, nil)
		k.events <- socketEvent{lost: true, at: time.Now()}
		synctest.Wait()
		want(t, m, Down, "socket: no udp socket on port 53")
	}, Service{Name: "dns", Checks: []Check{listening()}})
}

// A table that cannot be read says nothing of the service.
func TestUnreadableTableChangesNothing(t *testing.T) {
	k := &fakeKernel{up: true}
	bubbleKernel(t, k, func(t *testing.T, m *Monitor) {
		sleep(10 * time.Millisecond)
		k.set(false, errors.New("no memory"))
		k.events <- socketEvent{network: "udp", port: 53, at: time.Now()}
		sleep(10 * time.Second)
		want(t, m, Up, "1 of 1 checks up")
		if got := m.Status()[0].Checks[0].Reason; got != "no memory" {
			t.Errorf("reason of the check: %q", got)
		}
		k.set(false, nil)
		sleep(2 * time.Second)
		want(t, m, Down, "socket: no udp socket on port 53")
	}, Service{Name: "dns", Checks: []Check{listening()}})
}

func TestEventsOfOtherPorts(t *testing.T) {
	k := &fakeKernel{up: true}
	bubbleKernel(t, k, func(t *testing.T, m *Monitor) {
		sleep(10 * time.Millisecond)
		k.set(false, nil)
		k.events <- socketEvent{network: "udp", port: 54, at: time.Now()}
		k.events <- socketEvent{network: "tcp", port: 53, at: time.Now()}
		synctest.Wait()
		want(t, m, Up, "1 of 1 checks up")
	}, Service{Name: "dns", Checks: []Check{listening()}})
}

func TestKernelThatCannotTell(t *testing.T) {
	m := NewMonitor(nil, Service{Name: "dns", Checks: []Check{listening()}})
	m.open = func(Namespace, []Listener) (kernel, error) { return nil, errors.New("sock_diag: no such protocol") }
	if err := m.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "health: sock_diag:") {
		t.Errorf("Run: %v", err)
	}
}

func remote(name string, s *script) Check {
	c := active(name, s)
	c.Remote = true
	return c
}

// What fails at all sites together must not make them all withdraw.
func TestRemoteOnlyDegrades(t *testing.T) {
	own, upstream := &script{}, &script{}
	bubble(t, func(t *testing.T, m *Monitor) {
		sleep(5 * time.Second)
		if s := want(t, m, Up, "1 of 1 checks up"); s.Degraded || s.DegradedReason != "" || !s.Checks[1].Remote {
			t.Errorf("at first: %+v", s)
		}
		upstream.set(refused)
		sleep(5 * time.Second)
		if s := want(t, m, Up, "1 of 1 checks up"); !s.Degraded || s.DegradedReason != "upstream: refused" {
			t.Errorf("upstream down: %+v", s)
		}
		compare(t, m, `
# HELP anyedge_health_service_degraded 1 while a remote check of one service is down, which never makes the service down; else 0.
# TYPE anyedge_health_service_degraded gauge
anyedge_health_service_degraded{service="dns"} 1
`, "anyedge_health_service_degraded")
		own.set(refused)
		sleep(5 * time.Second)
		want(t, m, Down, "answers: refused")
		upstream.set(nil)
		sleep(5 * time.Second)
		if s := want(t, m, Down, "answers: refused"); s.Degraded || s.DegradedReason != "" {
			t.Errorf("upstream up again: %+v", s)
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", own), remote("upstream", upstream)}})
}

// A remote dependency that is not told yet holds nothing up.
func TestRemoteUnknownHoldsNothingUp(t *testing.T) {
	upstream := &script{}
	upstream.set(hangs)
	bubble(t, func(t *testing.T, m *Monitor) {
		sleep(450 * time.Millisecond) // the first attempt at upstream still hangs
		if s := want(t, m, Up, "1 of 1 checks up"); s.Degraded {
			t.Errorf("degraded: %+v", s)
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", &script{}), remote("upstream", upstream)}})
}

func TestRequireSome(t *testing.T) {
	a, b := &script{}, &script{}
	bubble(t, func(t *testing.T, m *Monitor) {
		sleep(5 * time.Second)
		want(t, m, Up, "2 of 2 checks up")
		a.set(refused)
		sleep(5 * time.Second)
		want(t, m, Up, "1 of 2 checks up; missing a: refused")
		b.set(refused)
		sleep(5 * time.Second)
		want(t, m, Down, "0 of 2 checks up, 1 needed; missing a: refused; b: refused")
		b.set(nil)
		sleep(5 * time.Second)
		want(t, m, Up, "1 of 2 checks up; missing a: refused")
	}, Service{Name: "dns", Checks: []Check{active("a", a), active("b", b)}, Require: 1})
}
