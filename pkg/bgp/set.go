package bgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"
)

// Set makes ads the whole wanted set: what is no longer in it is withdrawn, then what is new is announced, each in one
// batch. It returns as soon as GoBGP took the change; that the UPDATEs left is told by Config.OnReport (which may be
// called for this generation before Set returns) and by Wait. A set equal to the last one changes nothing and returns
// its generation.
//
// A prefix that is told of once more with other attributes is replaced in one UPDATE, without a withdrawal between.
//
// A prefix outside Config.Allowed that is no single address of Config.Pools is an error and nothing is applied. When GoBGP
// refuses a change, Set returns the generation and the error, and the speaker goes on trying.
func (s *Speaker) Set(ctx context.Context, ads ...Advertisement) (generation uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.apply.Lock()
	defer s.apply.Unlock()
	if s.server == nil {
		return 0, errNotRunning
	}
	wanted := make(advertised, len(ads))
	for _, ad := range ads {
		if err := s.valid(ad, wanted); err != nil {
			return 0, err
		}
		wanted[ad.Prefix] = ad.Attributes
	}
	if err := s.allow(ctx, ads); err != nil {
		return 0, fmt.Errorf("bgp: addresses of a pool are not let out: %w", err)
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

// valid says what is wrong with one advertisement among others.
func (s *Speaker) valid(ad Advertisement, others advertised) error {
	if !s.allowed[ad.Prefix] && !s.pooled(ad.Prefix) {
		return fmt.Errorf("prefix %s: is not among the allowed ones, add it to the configuration", ad.Prefix)
	}
	if ad.Prepend > MaxPrepend {
		return fmt.Errorf("prefix %s: %d prepends, at most %d are possible", ad.Prefix, ad.Prepend, MaxPrepend)
	}
	if other, ok := others[ad.Prefix]; ok && other != ad.Attributes {
		return fmt.Errorf("prefix %s: is wanted twice with different attributes", ad.Prefix)
	}
	return nil
}

// pooled tells whether a prefix is a single address of a pool.
func (s *Speaker) pooled(p netip.Prefix) bool {
	return p.IsSingleIP() && slices.ContainsFunc(s.config.Pools, func(pool netip.Prefix) bool { return pool.Contains(p.Addr()) })
}

// allow lets addresses of a pool out that nobody asked for before, in their exact length as all others are: withdrawAgain
// closes the policy for one of them alone. They stay allowed. The caller holds s.apply.
func (s *Speaker) allow(ctx context.Context, ads []Advertisement) error {
	var fresh []netip.Prefix
	for _, ad := range ads {
		if !s.allowed[ad.Prefix] {
			fresh = append(fresh, ad.Prefix)
		}
	}
	p4, p6 := byFamily(fresh)
	for name, prefixes := range map[string][]netip.Prefix{allowed4: p4, allowed6: p6} {
		if len(prefixes) == 0 {
			continue
		}
		if err := s.server.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: prefixSet(name, prefixes...)}); err != nil {
			return err
		}
	}
	for _, p := range fresh {
		s.allowed[p] = true
	}
	return nil
}

// An entry is one prefix in GoBGP's table. Not sure: a batch that failed may have left it there.
type entry struct {
	Attributes
	sure bool
}

// applyWanted makes GoBGP's table equal to wanted, withdrawals first; changed is where the last wanted set differed. The
// caller holds s.apply.
func (s *Speaker) applyWanted(wanted advertised, changed []netip.Prefix) error {
	add, del := s.toApply(wanted, changed)
	s.unsure = true
	if err := deletePaths(s.server, del); err != nil {
		return fmt.Errorf("withdraw %v: %w", del, err)
	}
	for _, p := range del {
		delete(s.applied, p)
	}
	ads := make([]Advertisement, 0, len(add))
	for _, p := range add {
		s.applied[p] = entry{} // a batch that fails may have been taken in part
		ads = append(ads, Advertisement{p, wanted[p]})
	}
	if err := addPaths(s.server, s.config.ASN, ads...); err != nil {
		return fmt.Errorf("announce %v: %w", add, err)
	}
	for _, ad := range ads {
		s.applied[ad.Prefix] = entry{ad.Attributes, true}
	}
	s.unsure = false
	return nil
}

// toApply looks at what changed, and after a failure at everything.
func (s *Speaker) toApply(wanted advertised, changed []netip.Prefix) (add, del []netip.Prefix) {
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
		has, there := s.applied[p]
		switch want, ok := wanted[p]; {
		case ok && has != entry{want, true}:
			add = append(add, p)
		case !ok && there:
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
