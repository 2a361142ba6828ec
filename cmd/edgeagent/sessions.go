package main

import (
	"context"
	"net/netip"

	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bgp"
)

// announcer is the speaker as the controller knows it. The speaker's one signal is followed here and passed on.
type announcer struct {
	*bgp.Speaker
	changed chan struct{} // capacity 1
}

// Changed implements announce.Speaker.
func (a announcer) Changed() <-chan struct{} { return a.changed }

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
