package main

import (
	"cmp"
	"context"
	"net/netip"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/announce"
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
	for _, b := range cfg.BFD {
		watched = append(watched, session.Neighbor{Config: b.Config, Strict: b.Strict})
	}
	if a.sessions, err = session.New(a.log, a.speaker, a.noteSession, watched...); err != nil {
		return err
	}
	a.registry.MustRegister(a.sessions)
	return nil
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
