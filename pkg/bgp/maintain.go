package bgp

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
)

const (
	patience = 1 * time.Second        // for an UPDATE to leave, before it is sent again
	retry    = 200 * time.Millisecond // between tries of what GoBGP refused
	soon     = 1 * time.Millisecond   // between looks whether GoBGP's state has followed its event
)

var errNotYet = errors.New("session is not ready yet")

// maintain does all that is off the path of a failover: it hands out reports, opens the export policy for sessions
// that take IPv4 over IPv6, sends again what did not leave, and retries what GoBGP refused.
func (s *Speaker) maintain(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.deliver()
			return
		case <-s.kick:
		case <-timer.C:
		}
		if next := s.maintainOnce(ctx, time.Now()); next > 0 {
			timer.Reset(next)
		} else {
			timer.Stop()
		}
	}
}

// maintainOnce returns when to come again; zero: not before the next kick.
func (s *Speaker) maintainOnce(ctx context.Context, now time.Time) (next time.Duration) {
	s.deliver()
	s.revive(ctx)
	if !s.reapply() {
		next = retry
	}
	next = shortest(next, s.openPolicies(ctx))
	late, wait := s.ledger.overdue(now, patience)
	for _, l := range late {
		s.log.Warn("bgp update not written in time, sending again", "neighbor", l.address, "announce", l.announce, "withdraw", l.withdraw)
		s.repair(ctx, l)
	}
	s.deliver()
	return shortest(next, wait)
}

// deliver hands out the reports of the ledger.
func (s *Speaker) deliver() {
	for _, o := range s.ledger.takeReports() {
		s.metrics.report(o)
		r := o.Report
		if r.Err != nil {
			s.log.Info("bgp announcement incomplete", "generation", r.Generation, "reason", r.Err)
		}
		if s.config.OnReport != nil {
			s.config.OnReport(r)
		}
	}
}

// reapply retries what GoBGP refused; false: not all was taken.
func (s *Speaker) reapply() bool {
	s.apply.Lock()
	defer s.apply.Unlock()
	if !s.unsure {
		return true
	}
	if err := s.applyWanted(s.ledger.wantedNow(), nil); err != nil {
		s.log.Warn("bgp change refused, trying again", "error", err)
		return false
	}
	return true
}

// revive replaces sessions that were lost, and are not held, by fresh ones.
func (s *Speaker) revive(ctx context.Context) {
	s.mu.Lock()
	ended := s.ended
	s.ended = nil
	s.mu.Unlock()
	s.sessions.Lock()
	defer s.sessions.Unlock()
	for _, n := range s.config.Neighbors {
		if !slices.Contains(ended, n.Address) || s.isHeld(n.Address) {
			continue
		}
		if err := s.replace(ctx, n); err != nil {
			s.log.Warn("bgp session not replaced, it will come back by itself", "neighbor", n.Address, "error", err)
		}
	}
}

// openPolicies lets IPv4 out to IPv6 neighbors that negotiated extended next hop, and no longer to those that left. It
// returns when to come again; zero: all is done.
func (s *Speaker) openPolicies(ctx context.Context) (next time.Duration) {
	s.mu.Lock()
	todo := s.policy
	s.policy = make(map[netip.Addr]bool)
	s.mu.Unlock()
	for addr, open := range todo {
		switch err := s.setPolicy(ctx, addr, open); {
		case errors.Is(err, errNotYet):
			s.putBack(addr, open)
			next = shortest(next, soon)
		case err != nil:
			s.log.Warn("bgp export policy not changed, trying again", "neighbor", addr, "error", err)
			s.putBack(addr, open)
			next = shortest(next, retry)
		}
	}
	return next
}

// putBack keeps what is to be done for a neighbor unless an event has overtaken it.
func (s *Speaker) putBack(addr netip.Addr, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, newer := s.policy[addr]; !newer {
		s.policy[addr] = open
	}
}

func (s *Speaker) setPolicy(ctx context.Context, addr netip.Addr, open bool) error {
	if open && !s.established(ctx, addr) {
		return errNotYet
	}
	s.apply.Lock()
	defer s.apply.Unlock()
	set := neighborSet(host(addr))
	// Removed first: the set is a list that would grow with every session.
	if err := s.server.DeleteDefinedSet(ctx, &api.DeleteDefinedSetRequest{DefinedSet: set}); err != nil || !open {
		return err
	}
	if err := s.server.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: set}); err != nil {
		return err
	}
	for p := range s.applied {
		if p.Addr().Is4() { // held back until now
			return s.resend(ctx, addr)
		}
	}
	return nil
}

// established tells whether GoBGP's own state is, which follows the event of the session by a moment. Before that
// GoBGP silently skips the neighbor.
func (s *Speaker) established(ctx context.Context, addr netip.Addr) (up bool) {
	_ = s.server.ListPeer(ctx, &api.ListPeerRequest{Address: addr.String()}, func(p *api.Peer) { // fails only when stopped
		up = p.GetState().GetSessionState() == api.PeerState_SESSION_STATE_ESTABLISHED
	})
	return up
}

// resend makes GoBGP send the whole Adj-RIB-Out of a neighbor again.
func (s *Speaker) resend(ctx context.Context, addr netip.Addr) error {
	return s.server.ResetPeer(ctx, &api.ResetPeerRequest{Address: addr.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT})
}

// repair sends again what did not leave for a neighbor. GoBGP loses a change that falls between the first table of a
// new session and the session's state: needToAdvertise is still false then, and the change is in neither.
func (s *Speaker) repair(ctx context.Context, l lateSession) {
	s.apply.Lock()
	defer s.apply.Unlock()
	if err := s.withdrawAgain(ctx, l.withdraw); err != nil {
		s.log.Warn("bgp withdrawal not sent again", "neighbor", l.address, "error", err)
	}
	if len(l.announce) == 0 {
		return
	}
	if err := s.resend(ctx, l.address); err != nil {
		s.log.Warn("bgp announcement not sent again", "neighbor", l.address, "error", err)
	}
}

// withdrawAgain makes GoBGP withdraw prefixes that are gone from its table but not from a neighbor's. It withdraws only
// what is there: so they are put back behind a closed export policy, where no neighbor sees them, and taken out, which
// the policy does not stop. The caller holds s.apply: nothing can want them meanwhile.
func (s *Speaker) withdrawAgain(ctx context.Context, prefixes []netip.Prefix) (err error) {
	v4, v6 := byFamily(slices.DeleteFunc(prefixes, func(p netip.Prefix) bool {
		_, back := s.applied[p]
		return back
	}))
	return errors.Join(s.behindPolicy(ctx, allowed4, v4), s.behindPolicy(ctx, allowed6, v6))
}

func (s *Speaker) behindPolicy(ctx context.Context, name string, gone []netip.Prefix) error {
	if len(gone) == 0 {
		return nil
	}
	set := prefixSet(name, gone...)
	if err := s.server.DeleteDefinedSet(ctx, &api.DeleteDefinedSetRequest{DefinedSet: set}); err != nil {
		return err
	}
	ads := make([]Advertisement, 0, len(gone))
	for _, p := range gone {
		ads = append(ads, Advertisement{Prefix: p})
	}
	err := addPaths(s.server, s.config.ASN, ads...)
	if e := deletePaths(s.server, gone); err == nil {
		err = e
	}
	return errors.Join(err, s.server.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: set}))
}
