package health

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// kernel is what tells about bound sockets. It is asked from many goroutines.
type kernel interface {
	// bound tells whether a socket serves l now.
	bound(l Listener) (bool, error)
	// watch calls saw for each idle socket destroyed on the port of a watched listener, and when such events were lost,
	// from one goroutine until ctx is done.
	watch(ctx context.Context, saw func(socketEvent)) error
	Close() error
}

// socketEvent tells that a socket was destroyed, or that such an event was lost.
type socketEvent struct {
	network string
	port    uint16
	at      time.Time // when it was read
	lost    bool
}

func (e socketEvent) concerns(l Listener) bool {
	return e.lost || e.network == l.Network && e.port == l.Port
}

// watch opens the kernel's socket table when a listener is to be watched, and starts to read its events. That comes
// before the first look at the table, so that nothing happens unseen in between.
func (m *Monitor) watch(ctx context.Context, g *errgroup.Group) error {
	var listeners []Listener
	for _, c := range m.listeners {
		listeners = append(listeners, *c.Listener)
	}
	if len(listeners) == 0 {
		return nil
	}
	k, err := m.open(listeners)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	for _, c := range m.listeners {
		c.Checker = boundCheck{k, *c.Listener}
	}
	g.Go(func() error {
		defer k.Close()
		return k.watch(ctx, func(e socketEvent) { m.socketGone(k, e) })
	})
	return nil
}

// socketGone takes the kernel's word that a socket on a watched port was destroyed. If it was the last one, its service is
// down now; if others serve on, the service's own checks tell at once whether it still works.
func (m *Monitor) socketGone(k kernel, e socketEvent) {
	m.metrics.event(e)
	for _, c := range m.listeners {
		if !e.concerns(*c.Listener) {
			continue
		}
		bound, err := k.bound(*c.Listener)
		m.update(func() { m.sawGone(c, bound, err, e) })
	}
}

func (m *Monitor) sawGone(c *check, bound bool, err error, e socketEvent) {
	switch {
	case err != nil:
		c.run() // the table could not be read: look again
	case bound:
		c.service.kickActive()
	default:
		c.restart() // a look begun before must not bring it back
		m.record(c, gone(*c.Listener, e), e.at)
		c.run() // and look often from now on
	}
}

func gone(l Listener, e socketEvent) error {
	if e.lost {
		return fmt.Errorf("no %s", l.describe())
	}
	return fmt.Errorf("last %s destroyed", l.describe())
}

// follow makes the active checks of a service follow the fate of its socket. Gone: what they have seen is worthless, even
// if another process answers soon. Back: they need not wait for their next turn.
func (m *Monitor) follow(listener *check) {
	s := listener.service
	if listener.counter.state == Up {
		s.kickActive()
		return
	}
	for _, c := range s.checks {
		if c.Listener == nil && !c.Remote {
			c.forget(listener.since)
			m.metrics.state(c)
		}
	}
}
