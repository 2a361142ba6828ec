package main

import (
	"context"
	"net/netip"
)

// followSessions tells the journal what becomes of the sessions; the speaker itself tells the log.
func (a *agent) followSessions(ctx context.Context) error {
	established := make(map[netip.Addr]bool)
	for {
		for _, n := range a.speaker.Neighbors() {
			if n.Established != established[n.Address] {
				a.journal.Session(n)
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
