package main

import (
	"cmp"
	"context"
	"net/netip"
	"time"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bfd"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/session"
)

// announcer is the speaker as the controller knows it. The speaker's one signal is followed here and passed on.
type announcer struct {
	*bgp.Speaker
	changed chan struct{} // capacity 1
}

// Changed implements announce.Speaker.
func (a announcer) Changed() <-chan struct{} { return a.changed }

// openSessions makes what watches neighbors by BFD.
func (a *agent) openSessions(cfg config.Agent) (err error) {
	if len(cfg.BFD) == 0 {
		return nil
	}
	var watched []session.Neighbor
	bearable := a.bearable(bfd.SelfTest)
	for _, b := range cfg.BFD {
		b.Interval = bearable(b.Config)
		watched = append(watched, session.Neighbor{Config: b.Config, Strict: b.Strict})
	}
	if a.sessions, err = session.New(a.log, a.speaker, a.noteSession, watched...); err != nil {
		return err
	}
	a.registry.MustRegister(a.sessions)
	return nil
}

// usualInterval needs no proof: any machine sends so punctually.
const usualInterval = 50 * time.Millisecond

// pace is how fast BFD is to be.
type pace struct {
	interval   time.Duration
	multiplier uint8
}

// bearable returns what tells the interval for a session: the one that is asked for, or the usual one where this machine is
// not punctual enough for it: false failures would be worse than late ones. Each pace is tested once, which takes a second.
func (a *agent) bearable(test func(context.Context, time.Duration, uint8) (time.Duration, bool)) func(bfd.Config) time.Duration {
	known := make(map[pace]time.Duration)
	return func(c bfd.Config) time.Duration {
		p := pace{c.Interval, c.Multiplier}
		if c.Interval >= usualInterval {
			return c.Interval
		}
		if interval, ok := known[p]; ok {
			return interval
		}
		worst, ok := test(context.Background(), c.Interval, c.Multiplier)
		log := a.log.With("interval", c.Interval, "multiplier", c.Multiplier, "worst", worst)
		if ok {
			known[p] = c.Interval
			log.Info("bfd self-test passed")
			return c.Interval
		}
		known[p] = usualInterval
		log.Warn("bfd self-test failed: this machine sends too late for the interval, the usual one is used; see docs/bfd.md for real-time scheduling",
			"used", usualInterval)
		return usualInterval
	}
}

// noteSession tells the journal, and whoever watches, what BFD says of a neighbor.
func (a *agent) noteSession(e session.Event) {
	a.journal.Session(announce.SessionChange{
		Time: e.Time, Protocol: "bfd", Neighbor: e.Neighbor, State: e.BFD.State.String(), Reason: cmp.Or(e.Held, e.BFD.Reason),
	})
	a.api.Notify()
}

// followSessions tells the journal what becomes of the sessions; the speaker itself tells the log.
func (a *agent) followSessions(ctx context.Context) error {
	established := make(map[netip.Addr]bool)
	for {
		select {
		case a.announcer.changed <- struct{}{}: // first: counters of sessions are read from GoBGP's loop
		default:
		}
		for _, n := range a.speaker.Neighbors() {
			if n.Established != established[n.Address] {
				a.journal.Session(announce.SessionChange{Time: n.Since, Protocol: "bgp", Neighbor: n.Address, State: n.State, Reason: n.Reason})
			}
			established[n.Address] = n.Established
		}
		a.api.Notify()
		select {
		case <-ctx.Done():
			return nil
		case <-a.speaker.Changed():
		}
	}
}
