package peers

import (
	"cmp"
	"slices"
	"time"
)

// A candidate is a peer that may be a target.
type candidate struct {
	name, site string
	rtt        time.Duration
	headroom   int
}

// A choice is what was made of the candidates. It is never changed, only replaced.
type choice struct {
	site    string // whose hosts they are
	targets []Target
}

// choose picks the hosts of this site, else those of the nearest site, weighted by headroom. The choice before stands
// while what speaks against it may be noise: every change moves connections, and breaks those.
func choose(own string, candidates []candidate, before choice) choice {
	site, ok := chooseSite(own, candidates, before.site)
	if !ok {
		return choice{}
	}
	now := choice{site: site}
	for _, c := range candidates {
		if c.site == site {
			now.targets = append(now.targets, Target{c.name, weigh(c, before.targets)})
		}
	}
	return now
}

// chooseSite returns false when there is no candidate. This site is the best, whatever the RTT says; of the others it is
// the nearest, which is as far as its nearest host.
func chooseSite(own string, candidates []candidate, before string) (site string, ok bool) {
	if len(candidates) == 0 {
		return "", false
	}
	distance := make(map[string]time.Duration)
	for _, c := range candidates {
		if d, known := distance[c.site]; !known || c.rtt < d {
			distance[c.site] = c.rtt
		}
	}
	if _, here := distance[own]; here {
		return own, true
	}
	nearest := slices.MinFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rtt, b.rtt), cmp.Compare(a.site, b.site))
	}).site
	if d, still := distance[before]; still && !clearlyNearer(distance[nearest], d) {
		return before, true
	}
	return nearest, true
}

// clearlyNearer tells whether a is so much nearer than b that it is no noise: by an eighth, and by a millisecond. A least
// RTT has little noise; the farther of two that joined at once must not stay because its answer came first.
func clearlyNearer(a, b time.Duration) bool {
	return b-a >= time.Millisecond && b-a >= b/8
}

// weigh returns the headroom, or the weight before while the two are not far from each other: by half as much, and by 5.
// A host without any headroom keeps the least weight: it serves, and the others may have none either.
func weigh(c candidate, before []Target) int {
	weight := max(c.headroom, 1)
	i := slices.IndexFunc(before, func(t Target) bool { return t.Peer == c.name })
	if i < 0 {
		return weight
	}
	least, most := min(weight, before[i].Weight), max(weight, before[i].Weight)
	if 2*most < 3*least || most-least < 5 {
		return before[i].Weight
	}
	return weight
}
