package dnsserver

import (
	"cmp"
	"math"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// srvName is where the SRV records of a service are (RFC 2782).
func srvName(s steering.Service) string { return srvLabels(s) + s.Name }

// srvLabels are those before the name.
func srvLabels(s steering.Service) string {
	protocol := s.Protocol
	if protocol == "" {
		protocol = "tcp"
	}
	return "_" + s.PortName + "._" + protocol + "."
}

// A target is an endpoint as an SRV record tells of it.
type target struct {
	endpoint         int32 // index in service.Endpoints
	priority, weight uint16
}

// newTargets are the endpoints of s that have a port and may answer now, by priority; parts tell who may of each family. By Closest those that
// are farther than others have a higher priority value: clients keep to the lowest that they can reach (RFC 2782).
func newTargets(s steering.Service, parts [2]*service) []target {
	if s.PortName == "" {
		return nil
	}
	var eligible [len(parts)][]netip.Addr
	for f, part := range parts {
		eligible[f], _, _ = part.Eligible(steering.Family(f))
		slices.SortFunc(eligible[f], netip.Addr.Compare)
	}
	all := make([]target, 0, len(s.Endpoints))
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if _, may := slices.BinarySearchFunc(eligible[familyOf(e.Address)], e.Address.Unmap(), netip.Addr.Compare); may && e.Port != 0 {
			all = append(all, target{endpoint: int32(i)})
		}
	}
	if s.Policy == steering.Closest || s.Policy == steering.ClosestCapacity {
		nearestFirst(s, all)
	}
	weigh(s, all)
	return all
}

// nearestFirst sorts targets by their distance, and has it decide about their priority. Places of which nothing is up come last: in panic
// addresses pass them over, too.
func nearestFirst(s steering.Service, all []target) {
	class := func(t target) int64 { return s.Endpoints[t.endpoint].Class() }
	dead := make(map[int64]int)
	for _, t := range all {
		dead[class(t)] = 1
	}
	for _, t := range all {
		if s.Endpoints[t.endpoint].State == steering.Up {
			dead[class(t)] = 0
		}
	}
	compare := func(a, b target) int {
		return cmp.Or(cmp.Compare(dead[class(a)], dead[class(b)]), cmp.Compare(class(a), class(b)))
	}
	slices.SortStableFunc(all, compare)
	for i := 1; i < len(all); i++ {
		all[i].priority = all[i-1].priority
		if compare(all[i-1], all[i]) != 0 {
			all[i].priority++
		}
	}
}

// samePriority returns those at the front that have the priority of the first.
func samePriority(targets []target) []target {
	n := 0
	for n < len(targets) && targets[n].priority == targets[0].priority {
		n++
	}
	return targets[:n]
}

// weigh gives targets the weights that the policy goes by, among those of their priority.
func weigh(s steering.Service, all []target) {
	weights := make([]float64, len(all))
	for i, t := range all {
		weights[i] = 1
		if s.Policy != steering.RoundRobin && s.Policy != steering.Closest {
			weights[i] = s.Endpoints[t.endpoint].Weight()
		}
	}
	if s.Spill > 0 {
		spill(s, all, weights)
	}
	for len(all) > 0 {
		tier := samePriority(all)
		for i, w := range srvWeights(weights[:len(tier)]) {
			tier[i].weight = w
		}
		all, weights = all[len(tier):], weights[len(tier):]
	}
}

// spill has those of the second priority share the first, with the part of all weight there that spills. Nothing does where none of them is up.
func spill(s steering.Service, all []target, weights []float64) {
	near := len(samePriority(all))
	next := len(samePriority(all[near:]))
	if !slices.ContainsFunc(all[near:near+next], func(t target) bool { return s.Endpoints[t.endpoint].State == steering.Up }) {
		return
	}
	scale(weights[:near], 1-s.Spill)
	scale(weights[near:near+next], s.Spill)
	for i := range all[near:] {
		all[near+i].priority--
	}
}

// scale has weights add up to sum.
func scale(weights []float64, sum float64) {
	all := 0.0
	for _, w := range weights {
		all += w
	}
	for i := range weights {
		weights[i] *= sum / all
	}
}

// srvWeights turns capacities into the weights of RFC 2782: as they are when they are whole numbers with room, else in
// proportion to the largest one.
func srvWeights(capacities []float64) []uint16 {
	weights := make([]uint16, len(capacities))
	scale, largest := 1.0, slices.Max(capacities)
	if largest > math.MaxUint16 || slices.ContainsFunc(capacities, func(c float64) bool { return c != math.Trunc(c) }) {
		scale = math.MaxUint16 / largest
	}
	for i, c := range capacities {
		weights[i] = uint16(max(1, math.Round(c*scale)))
	}
	return weights
}

// serviceRecords answers with at most maxAnswers targets: those of the client, the best one first, by Hash; else those of the lowest priority
// values, all in turn, for their weights to decide.
func (n *node) serviceRecords(m *dns.Msg, q dns.Question, c *client) *dns.EDNS0_EDE {
	sv := n.cell.load().in(c.view)
	if sv == nil {
		return nil
	}
	ttl, why := sv.ttl(n.zone)
	record := func(t target, port uint16, name string, addrs ...netip.Addr) {
		m.Answer = append(m.Answer, &dns.SRV{Hdr: header(q.Name, dns.TypeSRV, ttl), Priority: t.priority, Weight: t.weight, Port: port, Target: name})
		for _, a := range addrs {
			m.Extra = append(m.Extra, addressRecord(name, ttl, a))
		}
	}
	for _, t := range sv.targetsFor(c) {
		e := &sv.Endpoints[t.endpoint]
		record(t, e.Port, sv.podName(e.Address.Unmap()), e.Address.Unmap())
	}
	if away := sv.pickAway(c); len(away) > 0 && sv.binding.port != 0 {
		record(target{weight: 1}, sv.binding.port, parent(parent(q.Name)), away...)
	}
	c.note(n.cell, sv, len(m.Answer) == 0)
	return sv.withoutPorts(m, why)
}

// targetsFor returns those that a client is told of.
func (s *service) targetsFor(c *client) (list []target) {
	if s.Policy == steering.Hash {
		return s.targetsByHash(c)
	}
	first := s.nextTarget(c)
	for rest := s.targets; len(rest) > 0 && len(list) < maxAnswers; {
		tier := samePriority(rest)
		for i := range min(len(tier), maxAnswers-len(list)) {
			list = append(list, tier[(first+uint64(i))%uint64(len(tier))])
		}
		rest = rest[len(tier):]
	}
	return list
}

// targetsByHash are those of a client, the best one of each family first.
func (s *service) targetsByHash(c *client) (list []target) {
	for _, p := range s.pickers {
		var room [maxAnswers]netip.Addr
		for rank, a := range c.pick(p, room[:0]) {
			i := slices.IndexFunc(s.targets, func(t target) bool { return s.Endpoints[t.endpoint].Address.Unmap() == a })
			if i >= 0 {
				list = append(list, target{s.targets[i].endpoint, uint16(rank), s.targets[i].weight})
			}
		}
	}
	return list
}

// nextTarget takes a turn, or looks whose it is.
func (s *service) nextTarget(c *client) uint64 {
	if c.peek {
		return s.turn.Load()
	}
	return s.turn.Add(1) - 1
}

// away tells that another site answers for a family (PanicOther). The ports there are taken to be those of the endpoints, where these
// have one port alone: nothing else tells of them.
func (s *service) away(f steering.Family) bool {
	return s.Panic.Mode == steering.PanicOther && s.pickers[f].Panic() != "" &&
		slices.ContainsFunc(s.Panic.Fallback, func(a netip.Addr) bool { return familyOf(a) == f })
}

// pickAway picks from other sites.
func (s *service) pickAway(c *client) (addrs []netip.Addr) {
	for f, p := range s.pickers {
		if s.away(steering.Family(f)) {
			addrs = c.pick(p, addrs)
		}
	}
	return addrs
}

// withoutPorts has an extended error tell when there are addresses elsewhere, but nothing to tell of their ports.
func (s *service) withoutPorts(m *dns.Msg, why *dns.EDNS0_EDE) *dns.EDNS0_EDE {
	if len(m.Answer) == 0 && (s.away(steering.IPv6) || s.away(steering.IPv4)) {
		why.ExtraText += ", whose ports are not known"
	}
	return why
}

// ttl is that of what may change with the endpoints of either family, and why it is short.
func (s *service) ttl(z *zone) (ttl uint32, why *dns.EDNS0_EDE) {
	ttl = z.ttl
	for _, p := range s.pickers {
		if reason := p.Panic(); reason != "" {
			return z.keep(p), extended(dns.ExtendedErrorCodeOther, reason)
		}
		ttl = min(ttl, z.keep(p))
	}
	return ttl, nil
}
