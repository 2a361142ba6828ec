package announce

import (
	"net/netip"
	"slices"

	"github.com/anyedge/anyedge/pkg/bgp"
)

// A plan is what a set of services may ever want, in an order that makes the whole wanted set a single pass: with 10,000
// prefixes it stands between a failure and its UPDATE.
type plan struct {
	addresses []netip.Prefix // of all services; wanted as long as the agent runs
	prefixes  []planned      // sorted by prefix, each once
}

// planned is one prefix and the services of the VIPs that it announces.
type planned struct {
	prefix   netip.Prefix
	when     When
	services []int // one for each VIP
}

func newPlan(services []Service) plan {
	var p plan
	at := make(map[netip.Prefix]*planned)
	for i, s := range services {
		for _, v := range s.VIPs {
			p.addresses = append(p.addresses, v.Address)
			if at[v.Announce] == nil {
				at[v.Announce] = &planned{prefix: v.Announce}
			}
			at[v.Announce].add(i, v.When)
		}
	}
	for _, one := range at {
		p.prefixes = append(p.prefixes, *one)
	}
	slices.SortFunc(p.prefixes, func(a, b planned) int { return a.prefix.Compare(b.prefix) })
	slices.SortFunc(p.addresses, netip.Prefix.Compare)
	p.addresses = slices.Compact(p.addresses)
	return p
}

// add notes one more VIP. Should two of them disagree, the careful one holds.
func (p *planned) add(service int, when When) {
	p.services = append(p.services, service)
	p.when = max(p.when, when)
}

// wanted tells whether the prefix is to be announced, and if so whether de-preferred. One of the services that hold it up
// must be Up for a plain announcement; when all VIPs must be served, all of them.
func (p planned) wanted(services []Memory) (announced, depreferred bool) {
	var plain, worse int
	for _, i := range p.services {
		switch services[i].State.announcement() {
		case Announce:
			plain++
		case Deprefer:
			worse++
		}
	}
	if p.when == All {
		return plain+worse == len(p.services), worse > 0
	}
	return plain+worse > 0, plain == 0
}

// wanted returns every advertisement that the states of the services ask for, sorted.
func (p plan) wanted(services []Memory) []bgp.Advertisement {
	worse := bgp.Depreferred()
	ads := make([]bgp.Advertisement, 0, len(p.prefixes))
	for _, one := range p.prefixes {
		announced, depreferred := one.wanted(services)
		if !announced {
			continue
		}
		ad := bgp.Advertisement{Prefix: one.prefix}
		if depreferred {
			ad.Attributes = worse
		}
		ads = append(ads, ad)
	}
	return ads
}

// changed returns the prefixes of s that a decision moved: to plainly announced for Announce, to de-preferred for Deprefer,
// to not announced for Withdraw. A covering prefix that another VIP still holds up is not among them.
func changed(s Service, a Action, before, after []bgp.Advertisement) []netip.Prefix {
	moved := []netip.Prefix{}
	for _, v := range s.VIPs {
		was, is := placed(before, v.Announce), placed(after, v.Announce)
		if was != is && is == a && !slices.Contains(moved, v.Announce) {
			moved = append(moved, v.Announce)
		}
	}
	return moved
}

// placed tells which action leads to what a sorted wanted set says of a prefix.
func placed(sorted []bgp.Advertisement, p netip.Prefix) Action {
	ad, ok := find(sorted, p)
	switch {
	case !ok:
		return Withdraw
	case ad.Attributes != bgp.Attributes{}:
		return Deprefer
	default:
		return Announce
	}
}

func has(sorted []bgp.Advertisement, p netip.Prefix) bool {
	_, ok := find(sorted, p)
	return ok
}

func find(sorted []bgp.Advertisement, p netip.Prefix) (bgp.Advertisement, bool) {
	i, ok := slices.BinarySearchFunc(sorted, p, func(a bgp.Advertisement, p netip.Prefix) int { return a.Prefix.Compare(p) })
	if !ok {
		return bgp.Advertisement{}, false
	}
	return sorted[i], true
}
