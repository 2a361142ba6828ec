package announce

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/health"
)

// A recorder keeps the order of what several fakes were asked for.
type recorder struct {
	mu    sync.Mutex
	began time.Time
	calls []string
}

func newRecorder() *recorder { return &recorder{began: time.Now()} }

func (r *recorder) add(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf("%v ", time.Since(r.began))+fmt.Sprintf(format, args...))
}

// take returns and forgets what was recorded.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// fakeHealth is set by the test.
type fakeHealth struct {
	mu      sync.Mutex
	status  map[string]health.Status
	changed chan struct{}
}

func newFakeHealth() *fakeHealth {
	return &fakeHealth{status: make(map[string]health.Status), changed: make(chan struct{}, 1)}
}

func (f *fakeHealth) Changed() <-chan struct{} { return f.changed }

func (f *fakeHealth) Status() (all []health.Status) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, st := range f.status {
		all = append(all, st)
	}
	return all
}

// set changes a service now.
func (f *fakeHealth) set(service string, s health.State) {
	f.setQuietly(service, s)
	notify(f.changed)
}

// rise makes a service that is down pass its checks again, or no longer.
func (f *fakeHealth) rise(service string, rising bool) {
	f.mu.Lock()
	st := f.status[service]
	st.Rising = rising
	f.status[service] = st
	f.mu.Unlock()
	notify(f.changed)
}

func (f *fakeHealth) setQuietly(service string, s health.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status[service] = health.Status{Service: service, State: s, Reason: "it is " + s.String(), Since: time.Now(), Noticed: time.Now()}
}

// fakeSpeaker takes every set, unless it is told to fail.
type fakeSpeaker struct {
	*recorder
	mu         sync.Mutex
	wanted     []bgp.Advertisement
	generation uint64
	err        error
	unwritten  bool // Wait does not return before its time
	heard      []netip.Addr
	lost       []netip.Prefix
	changed    chan struct{}
}

// router is where another's route comes from.
const router = "fd00:1::1"

func newFakeSpeaker(r *recorder) *fakeSpeaker {
	return &fakeSpeaker{recorder: r, heard: []netip.Addr{netip.MustParseAddr(router)}, changed: make(chan struct{}, 1)}
}

func (f *fakeSpeaker) Set(_ context.Context, ads ...bgp.Advertisement) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, ad := range ads {
		text := ad.Prefix.String()
		switch ad.Attributes {
		case bgp.Depreferred():
			text = "worse " + text
		case sickAttributes():
			text = "sick " + text
		}
		list = append(list, text)
	}
	if f.err != nil {
		f.add("speaker: set [%s]: %v", strings.Join(list, " "), f.err)
		return 0, f.err
	}
	f.add("speaker: set [%s]", strings.Join(list, " "))
	if !slices.Equal(ads, f.wanted) {
		f.generation++
		f.wanted = slices.Clone(ads)
	}
	return f.generation, nil
}

func (f *fakeSpeaker) Wait(ctx context.Context, generation uint64) error {
	f.mu.Lock()
	unwritten := f.unwritten
	f.mu.Unlock()
	if unwritten {
		<-ctx.Done()
		f.add("speaker: wait %d: not written", generation)
		return ctx.Err()
	}
	f.add("speaker: wait %d: written", generation)
	return nil
}

func (f *fakeSpeaker) Heard(netip.Prefix) []netip.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.heard
}

func (f *fakeSpeaker) Carries(p netip.Prefix) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.Contains(f.lost, p)
}

func (f *fakeSpeaker) Changed() <-chan struct{} { return f.changed }

// hear has the routers send another's route, or none.
func (f *fakeSpeaker) hear(routers ...string) {
	f.mu.Lock()
	f.heard = nil
	for _, r := range routers {
		f.heard = append(f.heard, netip.MustParseAddr(r))
	}
	f.mu.Unlock()
	notify(f.changed)
}

// lose has no session carry these prefixes, and all others.
func (f *fakeSpeaker) lose(list ...string) {
	f.mu.Lock()
	f.lost = prefixes(list...)
	f.mu.Unlock()
	notify(f.changed)
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (f *fakeSpeaker) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// fakeAddresses takes every set, unless it is told to fail.
type fakeAddresses struct {
	*recorder
	mu  sync.Mutex
	err error
}

func (f *fakeAddresses) Set(_ context.Context, wanted ...netip.Prefix) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		f.add("addresses: set %d: %v", len(wanted), f.err)
	} else {
		f.add("addresses: set %d", len(wanted))
	}
	return f.err
}

func (f *fakeAddresses) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// errAddress speaks of one address.
type errAddress struct{ address netip.Prefix }

func (e errAddress) Error() string         { return "no " + e.address.String() }
func (e errAddress) Address() netip.Prefix { return e.address }

// A stage is a controller among fakes, inside a synctest bubble.
type stage struct {
	t         *testing.T
	record    *recorder
	health    *fakeHealth
	speaker   *fakeSpeaker
	addresses *fakeAddresses
	*Controller
	cancel context.CancelFunc
	done   chan struct{}
}

func newStage(t *testing.T, services ...Service) *stage {
	r := newRecorder()
	s := &stage{
		t: t, record: r, health: newFakeHealth(),
		speaker: newFakeSpeaker(r), addresses: &fakeAddresses{recorder: r},
		done: make(chan struct{}),
	}
	s.build(Parts{Addresses: s.addresses}, Config{Services: services})
	return s
}

// build makes the controller anew, with the stage's health and speaker and further parts.
func (s *stage) build(parts Parts, cfg Config) {
	parts.Health, parts.Speaker = s.health, s.speaker
	s.Controller = NewController(nil, parts, cfg)
}

// start runs the controller until stop; the end of the test waits for it.
func (s *stage) start() {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.cancel = cancel
	go func() {
		defer close(s.done)
		if err := s.Run(ctx); err != nil {
			s.t.Errorf("Run: %v", err)
		}
		s.record.add("controller: done")
	}()
	s.t.Cleanup(func() {
		cancel()
		s.Hurry()
		<-s.done
	})
}
