package health

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// kernel is what tells about the bound sockets of one network namespace. It is asked from many goroutines.
type kernel interface {
	// bound tells whether a socket serves l now; an absentError: no, nor can any.
	bound(l Listener) (bool, error)
	// watch calls saw for each idle socket destroyed on the port of a watched listener, and when all must be looked at,
	// from one goroutine until ctx is done.
	watch(ctx context.Context, saw func(socketEvent)) error
	Close() error
}

// socketEvent tells that a socket was destroyed, or that all must be looked at.
type socketEvent struct {
	network string
	port    uint16
	at      time.Time // when it was read
	lost    bool      // the kernel dropped events
	entered bool      // another namespace is watched from now on
}

func (e socketEvent) all() bool { return e.lost || e.entered }

func (e socketEvent) concerns(l Listener) bool {
	return e.all() || e.network == l.Network && e.port == l.Port
}

// watchListeners opens the kernel's socket tables, one for each network namespace, and starts to read their events. That
// comes before the first look at a table, so that nothing happens unseen in between.
func (m *Monitor) watchListeners(ctx context.Context, g *errgroup.Group) error {
	checks := make(map[Namespace][]*check)
	for _, c := range m.checks() {
		if c.Listener != nil {
			checks[c.Listener.Namespace] = append(checks[c.Listener.Namespace], c)
		}
	}
	for where, here := range checks {
		var listeners []Listener
		for _, c := range here {
			listeners = append(listeners, *c.Listener)
		}
		k, err := m.open(where, listeners)
		if err != nil {
			return fmt.Errorf("health: %w", err)
		}
		for _, c := range here {
			c.Checker = look{k, *c.Listener}
		}
		g.Go(func() error {
			defer k.Close()
			return k.watch(ctx, func(e socketEvent) { m.socketGone(here, e) })
		})
	}
	return nil
}

// socketGone takes the kernel's word that a socket on a watched port was destroyed. If it was the last one, its service is
// down now; if others serve on, the service's own checks tell at once whether it still works.
func (m *Monitor) socketGone(listeners []*check, e socketEvent) {
	m.metrics.event(e)
	for _, c := range listeners {
		if !e.concerns(*c.Listener) {
			continue
		}
		err := c.Checker.Check(context.Background()) // a look never waits
		if err != nil && !unsure(err) {
			err = gone(err, *c.Listener, e)
		}
		m.update(func() { m.sawEnd(c, err, e.at) })
	}
}

// sawEnd takes what was seen right after an end was told at a time.
func (m *Monitor) sawEnd(c *check, err error, at time.Time) {
	switch {
	case unsure(err):
		c.run() // look again
	case err == nil:
		c.service.kickActive()
	default:
		c.restart() // a look begun before must not bring it back
		m.record(c, err, at)
		c.run() // and look often from now on
	}
}

// gone says how a listener went, which says more than what was seen after that.
func gone(seen error, l Listener, e socketEvent) error {
	if e.all() {
		return seen
	}
	return fmt.Errorf("last %s destroyed", l.describe())
}

// follow makes the active checks of a service follow the fate of its socket or process. Gone: what they have seen is
// worthless, even if another process answers soon. Back: they need not wait for their next turn.
func (m *Monitor) follow(watched *check) {
	s := watched.service
	if watched.counter.state == Up {
		s.kickActive()
		return
	}
	for _, c := range s.checks {
		if !c.watches() && !c.Remote {
			c.forget(watched.since)
			m.metrics.state(c)
		}
	}
}
