// Package session lets BFD gate BGP: a session whose path BFD finds dead is closed at once, instead of when its hold timer
// expires, and stays closed until BFD is up again (RFC 5882).
package session

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anyedge/anyedge/pkg/bfd"
)

// retry is the time between tries of an order that was refused.
const retry = 200 * time.Millisecond

// A Speaker closes and opens sessions, as bgp.Speaker and router.Router do. Both calls are desired state: repeating one, also
// before the speaker runs, does no harm.
type Speaker interface {
	// Hold closes the session with a neighbor at once and keeps it closed.
	Hold(ctx context.Context, neighbor netip.Addr, reason string) error
	// Release lets the session come back.
	Release(ctx context.Context, neighbor netip.Addr) error
}

// A Neighbor is a BGP neighbor that BFD watches.
type Neighbor struct {
	bfd.Config      // Peer is the neighbor's address as the speaker knows it; OnChange may be nil
	Strict     bool // BGP waits until BFD is up (else a neighbor that does not speak BFD, or no longer, is served without)
	Undamped   bool // a neighbor that flaps is let back as soon as any other
}

// Status is one neighbor for people and metrics.
type Status struct {
	Neighbor netip.Addr
	BFD      bfd.Status
	Strict   bool
	Held     string    // why BGP is kept closed; empty: it is not
	Until    time.Time // BGP is kept closed at least so long though BFD is up, because it flapped; zero: no
	Flaps    int       // failures without a calm minute between
}

// An Event is a change of BFD's state, or of what BGP may do because of it.
type Event struct {
	Time time.Time // when BGP had its order; with the monotonic clock
	Status
}

// Sessions watch neighbors and hold or release their BGP sessions. All methods are safe for concurrent use.
type Sessions struct {
	log     *slog.Logger
	speaker Speaker
	onEvent func(Event)
	bfd     *bfd.Sessions
	kick    chan struct{} // capacity 1: a BFD session has changed
	changed chan struct{} // capacity 1

	mu      sync.Mutex // guards watched
	watched []*watched
}

// watched is one neighbor; applied and order belong to the goroutine of Run.
type watched struct {
	gate    gate
	status  Status
	holds   uint64 // so often held
	applied bool   // the speaker took its last order
	order   string // that order: the reason of a Hold, empty for a Release
}

// New checks the configuration and starts nothing. Events are told by onEvent, which must not block and may be nil. A nil log
// discards.
func New(log *slog.Logger, speaker Speaker, onEvent func(Event), neighbors ...Neighbor) (*Sessions, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Sessions{
		log: log, speaker: speaker, onEvent: onEvent, kick: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
	var configs []bfd.Config
	for _, n := range neighbors {
		s.watched = append(s.watched, &watched{gate: gate{strict: n.Strict, undamped: n.Undamped}, status: Status{Neighbor: n.Peer, Strict: n.Strict}})
		configs = append(configs, s.listening(n.Config))
	}
	var err error
	if s.bfd, err = bfd.New(log, configs...); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	return s, nil
}

// listening returns c with a way of its changes to Run that does not wait for a reader of bfd.Sessions.Changed.
func (s *Sessions) listening(c bfd.Config) bfd.Config {
	next := c.OnChange
	c.OnChange = func(st bfd.Status) {
		signal(s.kick)
		if next != nil {
			next(st)
		}
	}
	return c
}

// Run watches until ctx is done; then it tells the neighbors AdminDown, which is no failure, and returns nil. BGP sessions are
// left as they are. It returns an error when BFD cannot start. It may run before the speaker does, and must for strict
// neighbors not to get a session before BFD is up.
func (s *Sessions) Run(ctx context.Context) error {
	s.step(ctx, time.Now()) // before the speaker opens a session
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.bfd.Run(ctx) })
	g.Go(func() error { s.follow(ctx); return nil })
	return g.Wait()
}

func (s *Sessions) follow(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-timer.C:
		}
		if ctx.Err() != nil { // the sessions go to AdminDown: nothing to act on
			return
		}
		if again := s.step(ctx, time.Now()); again.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(again))
		}
	}
}

// step decides for every neighbor, and returns when to do it again if nothing changes before; zero: no need.
func (s *Sessions) step(ctx context.Context, now time.Time) (again time.Time) {
	for i, st := range s.bfd.Status() {
		next := s.stepOne(ctx, s.watched[i], st, now)
		if again.IsZero() || !next.IsZero() && next.Before(again) {
			again = next
		}
	}
	return again
}

// stepOne decides for one neighbor. Nothing stands between BFD's verdict and the order to BGP.
func (s *Sessions) stepOne(ctx context.Context, w *watched, st bfd.Status, now time.Time) (again time.Time) {
	s.mu.Lock()
	again = w.gate.step(now, st)
	reason, until := w.gate.held, w.gate.until
	s.mu.Unlock()
	err := s.order(ctx, w, reason)
	if err != nil && (again.IsZero() || now.Add(retry).Before(again)) {
		again = now.Add(retry)
	}
	s.mu.Lock()
	was := w.status
	w.status.BFD, w.status.Held, w.status.Until, w.status.Flaps = st, reason, until, w.gate.flaps
	if reason != "" && was.Held == "" {
		w.holds++
	}
	is := w.status
	s.mu.Unlock()
	if was.BFD.State != is.BFD.State || was.BFD.RemoteState != is.BFD.RemoteState || was.Held != is.Held || was.Until != is.Until {
		s.tell(was, is)
	}
	return again
}

// order has the speaker do what the gate says, once.
func (s *Sessions) order(ctx context.Context, w *watched, reason string) (err error) {
	if w.applied && w.order == reason {
		return nil
	}
	if reason != "" {
		err = s.speaker.Hold(ctx, w.status.Neighbor, reason)
	} else {
		err = s.speaker.Release(ctx, w.status.Neighbor)
	}
	if err != nil && (w.applied || w.order != reason) { // told once
		s.log.Error("BGP does not follow BFD, trying again", "neighbor", w.status.Neighbor, "wanted", cmp.Or(reason, "open"), "error", err)
	}
	w.order, w.applied = reason, err == nil
	return err
}

// tell logs what became of BGP (BFD's own changes are logged by BFD), and hands out the event.
func (s *Sessions) tell(was, is Status) {
	attrs := []any{"neighbor", is.Neighbor, "bfd", is.BFD.State}
	switch {
	case is.Held != was.Held && is.Held != "":
		s.log.Warn("BGP session is held", append(attrs, "reason", is.Held)...)
	case is.Held != was.Held:
		s.log.Info("BGP session is released", append(attrs, "held_for", was.Held)...)
	}
	signal(s.changed)
	if s.onEvent != nil {
		s.onEvent(Event{Time: time.Now(), Status: is})
	}
}

// Changed returns a channel of capacity 1 that has a value when a Status, but for counters, changed since the last receive.
func (s *Sessions) Changed() <-chan struct{} { return s.changed }

// Status returns all neighbors in the order of the configuration, with BFD's counters as they are now.
func (s *Sessions) Status() []Status {
	now := s.bfd.Status()
	s.mu.Lock()
	defer s.mu.Unlock()
	l := make([]Status, 0, len(s.watched))
	for i, w := range s.watched {
		st := w.status
		st.BFD = now[i]
		l = append(l, st)
	}
	return l
}

// signal leaves one value in a channel of capacity 1.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
