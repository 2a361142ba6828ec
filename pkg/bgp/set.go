package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Set makes ads the whole wanted set: what is no longer in it is withdrawn, then what is new is announced, each in one
// batch. It returns as soon as GoBGP took the change; that the UPDATEs left is told by Config.OnReport (which may be
// called for this generation before Set returns) and by Wait. A set equal to the last one changes nothing and returns
// its generation.
//
// A prefix outside Config.Allowed is an error and nothing is applied. When GoBGP refuses a change, Set returns the
// generation and the error, and the speaker goes on trying.
func (s *Speaker) Set(ctx context.Context, ads ...Advertisement) (generation uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	wanted := make(map[netip.Prefix]bool, len(ads))
	for _, ad := range ads {
		if !s.allowed[ad.Prefix] {
			return 0, fmt.Errorf("prefix %s: is not among the allowed ones, add it to the configuration", ad.Prefix)
		}
		wanted[ad.Prefix] = true
	}
	s.apply.Lock()
	defer s.apply.Unlock()
	if s.server == nil {
		return 0, errNotRunning
	}
	generation, changed := s.ledger.set(time.Now(), wanted)
	if len(changed) == 0 {
		return generation, nil
	}
	s.metrics.wanted(len(wanted))
	defer signal(s.kick) // reports of the ledger, the watch for late ones, and the retry
	if err := s.applyWanted(wanted, changed); err != nil {
		return generation, fmt.Errorf("bgp: not all changes were taken, trying again: %w", err)
	}
	return generation, nil
}

// applyWanted makes GoBGP's table equal to wanted, withdrawals first; changed is where the last wanted set differed. The
// caller holds s.apply.
func (s *Speaker) applyWanted(wanted map[netip.Prefix]bool, changed []netip.Prefix) error {
	add, del := s.toApply(wanted, changed)
	s.unsure = true
	if err := deletePaths(s.server, del); err != nil {
		return fmt.Errorf("withdraw %v: %w", del, err)
	}
	for _, p := range del {
		delete(s.applied, p)
	}
	for _, p := range add {
		s.applied[p] = false // a batch that fails may have been taken in part
	}
	if err := addPaths(s.server, add); err != nil {
		return fmt.Errorf("announce %v: %w", add, err)
	}
	for _, p := range add {
		s.applied[p] = true
	}
	s.unsure = false
	return nil
}

// toApply looks at what changed, and after a failure at everything.
func (s *Speaker) toApply(wanted map[netip.Prefix]bool, changed []netip.Prefix) (add, del []netip.Prefix) {
	if s.unsure {
		changed = nil
		for p := range wanted {
			changed = append(changed, p)
		}
		for p := range s.applied {
			changed = append(changed, p)
		}
		slices.SortFunc(changed, netip.Prefix.Compare)
		changed = slices.Compact(changed)
	}
	for _, p := range changed {
		sure, there := s.applied[p]
		switch {
		case wanted[p] && !sure:
			add = append(add, p)
		case !wanted[p] && there:
			del = append(del, p)
		}
	}
	return add, del
}

// Wait blocks until every neighbor whose session is established was written the generation, or ctx is done. With no
// session established it returns at once: nobody is there to be told.
func (s *Speaker) Wait(ctx context.Context, generation uint64) error {
	for {
		progress := s.ledger.waiting(generation)
		if progress == nil {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return fmt.Errorf("bgp: generation %d not yet written to every neighbor: %w", generation, ctx.Err())
		}
	}
}
