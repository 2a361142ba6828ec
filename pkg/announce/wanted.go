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

func (p planned) wanted(services []Memory) bool {
	up := func(i int) bool { return services[i].State == Up }
	if p.when == All {
		return !slices.ContainsFunc(p.services, func(i int) bool { return !up(i) })
	}
	return slices.ContainsFunc(p.services, up)
}

// wanted returns every advertisement that the states of the services ask for, sorted.
func (p plan) wanted(services []Memory) []bgp.Advertisement {
	ads := make([]bgp.Advertisement, 0, len(p.prefixes))
	for _, one := range p.prefixes {
		if one.wanted(services) {
			ads = append(ads, bgp.Advertisement{Prefix: one.prefix})
		}
	}
	return ads
}

// changed returns the prefixes of s that a decision moved: wanted after but not before for Announce, the reverse for
// Withdraw. A covering prefix that another VIP still holds up is not among them.
func changed(s Service, a Action, before, after []bgp.Advertisement) []netip.Prefix {
	moved := []netip.Prefix{}
	for _, v := range s.VIPs {
		was, is := has(before, v.Announce), has(after, v.Announce)
		if (a == Announce && is && !was || a == Withdraw && was && !is) && !slices.Contains(moved, v.Announce) {
			moved = append(moved, v.Announce)
		}
	}
	return moved
}

func has(sorted []bgp.Advertisement, p netip.Prefix) bool {
	_, ok := slices.BinarySearchFunc(sorted, p, func(a bgp.Advertisement, p netip.Prefix) int { return a.Prefix.Compare(p) })
	return ok
}
