package announce

import (
	"net/netip"
	"slices"

	"github.com/anyedge/anyedge/pkg/bgp"
)

// A plan is what a set of VIPs may ever want, in an order that makes the whole wanted set a single pass: with 10,000
// prefixes it stands between a failure and its UPDATE.
type plan struct {
	addresses []netip.Prefix // of all VIPs; wanted as long as the agent runs
	prefixes  []planned      // sorted by prefix, each once
	vips      []netip.Prefix // the address of each VIP
}

// planned is one prefix and the VIPs that it announces.
type planned struct {
	prefix netip.Prefix
	when   When
	vips   []int
}

func newPlan(vips []vipOf) plan {
	var p plan
	at := make(map[netip.Prefix]*planned)
	for i, v := range vips {
		p.vips = append(p.vips, v.Address)
		if at[v.Announce] == nil {
			at[v.Announce] = &planned{prefix: v.Announce}
		}
		at[v.Announce].add(i, v.When)
	}
	for _, one := range at {
		p.prefixes = append(p.prefixes, *one)
	}
	slices.SortFunc(p.prefixes, func(a, b planned) int { return a.prefix.Compare(b.prefix) })
	p.addresses = slices.SortedFunc(slices.Values(p.vips), netip.Prefix.Compare)
	p.addresses = slices.Compact(p.addresses)
	return p
}

// add notes one more VIP. Should two of them disagree, the careful one holds.
func (p *planned) add(vip int, when When) {
	p.vips = append(p.vips, vip)
	p.when = max(p.when, when)
}

// A level is how good an announcement is; better ones are greater.
type level int

const (
	nothing level = iota
	marked        // de-preferred, by a sick host
	worse         // de-preferred
	plainly
)

// String returns the name for people; empty: not announced.
func (l level) String() string { return [...]string{"", "marked", "de-preferred", "plain"}[l] }

func (s State) level() level {
	switch s.announcement() {
	case Announce:
		return plainly
	case Deprefer:
		if s.marked() {
			return marked
		}
		return worse
	default:
		return nothing
	}
}

// wanted tells how the prefix is to be announced: as the best of its VIPs, or when all must be served as the worst.
func (p planned) wanted(memory []Memory) level {
	wanted := memory[p.vips[0]].State.level()
	for _, i := range p.vips[1:] {
		if p.when == All {
			wanted = min(wanted, memory[i].State.level())
		} else {
			wanted = max(wanted, memory[i].State.level())
		}
	}
	return wanted
}

// sickAttributes are those of what a sick host announces.
func sickAttributes() bgp.Attributes { return bgp.Depreferred(Mark) }

// advertisements returns every advertisement that the memories ask for, sorted.
func (p plan) advertisements(memory []Memory) []bgp.Advertisement {
	attributes := [...]bgp.Attributes{marked: sickAttributes(), worse: bgp.Depreferred(), plainly: {}}
	ads := make([]bgp.Advertisement, 0, len(p.prefixes))
	for _, one := range p.prefixes {
		if level := one.wanted(memory); level != nothing {
			ads = append(ads, bgp.Advertisement{Prefix: one.prefix, Attributes: attributes[level]})
		}
	}
	return ads
}

// bridges returns every bridge that the memories ask for, in the order of the VIPs.
func (p plan) bridges(memory []Memory) []Bridging {
	var all []Bridging
	for i, m := range memory {
		if len(m.Targets) > 0 {
			all = append(all, Bridging{VIP: p.vips[i], Targets: m.Targets})
		}
	}
	return all
}

func sameBridges(a, b []Bridging) bool {
	return slices.EqualFunc(a, b, func(a, b Bridging) bool { return a.VIP == b.VIP && slices.Equal(a.Targets, b.Targets) })
}

// changed tells whether an action moved a prefix: to plainly announced for Announce, to de-preferred for Deprefer, to not
// announced for Withdraw. A covering prefix that another VIP still holds up has not moved.
func changed(prefix netip.Prefix, a Action, before, after []bgp.Advertisement) bool {
	is := placed(after, prefix)
	return is == a && placed(before, prefix) != is
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

func find(sorted []bgp.Advertisement, p netip.Prefix) (bgp.Advertisement, bool) {
	i, ok := slices.BinarySearchFunc(sorted, p, func(a bgp.Advertisement, p netip.Prefix) int { return a.Prefix.Compare(p) })
	if !ok {
		return bgp.Advertisement{}, false
	}
	return sorted[i], true
}
