package dnsserver

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// podPrefix makes the label of an address a host name, which an IPv6 address alone is not: it may begin with a hyphen.
const podPrefix = "ip-"

// podLabel is the name of an endpoint below its service: ip-2001-db8-1--10 or ip-10-1-0-10.
func podLabel(a netip.Addr) string {
	label := podPrefix + strings.NewReplacer(":", "-", ".", "-").Replace(a.String())
	if strings.HasSuffix(label, "-") {
		label += "0" // a host name does not end with a hyphen; 2001:db8::0 is 2001:db8::
	}
	return label
}

// podAddress is the address that label was made of.
func podAddress(label string) (netip.Addr, bool) {
	rest, is := strings.CutPrefix(label, podPrefix)
	if !is {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(strings.ReplaceAll(rest, "-", "."))
	if err != nil {
		a, err = netip.ParseAddr(strings.ReplaceAll(rest, "-", ":"))
	}
	return a, err == nil && podLabel(a) == label // one name for one address
}

// find returns what exists at name, nil when nothing does. The names of pods are made when they are asked for: there may
// be a million.
func (s *snapshot) find(name string) *node {
	if n := s.nodes[name]; n != nil {
		return n
	}
	above := s.nodes[parent(name)]
	if above == nil || above.kind != steered {
		return nil
	}
	a, ok := podAddress(strings.TrimSuffix(strings.TrimSuffix(name, parent(name)), "."))
	if !ok || !above.service.has(a) {
		return nil
	}
	return &node{zone: above.zone, kind: pod, addresses: []netip.Addr{a}}
}

// checkPods refuses a name that is also that of a pod: SRV and PTR records would lead astray.
func (s *snapshot) checkPods() error {
	for name := range s.nodes {
		above := s.nodes[parent(name)]
		if above == nil || above.kind != steered || !strings.HasPrefix(name, podPrefix) {
			continue
		}
		if a, ok := podAddress(strings.TrimSuffix(strings.TrimSuffix(name, parent(name)), ".")); ok && above.service.has(a) {
			return fmt.Errorf("%s is the name of endpoint %s of service %s: rename it", name, a, above.service.Name)
		}
	}
	return nil
}

func (s *service) has(a netip.Addr) bool {
	return slices.ContainsFunc(s.Endpoints, func(e steering.Endpoint) bool { return e.Address.Unmap() == a })
}

// podName is the full name of an endpoint.
func (s *service) podName(a netip.Addr) string { return podLabel(a) + "." + s.Name }

// srvName is where the SRV records of a service are (RFC 2782).
func srvName(s steering.Service) string {
	protocol := s.Protocol
	if protocol == "" {
		protocol = "tcp"
	}
	return "_" + s.PortName + "._" + protocol + "." + s.Name
}

// A target is an endpoint as an SRV record tells of it.
type target struct {
	address netip.Addr
	port    uint16
	weight  uint16
}

// newTargets are the endpoints of both families that may answer now and have a port.
func newTargets(s steering.Service) []target {
	v6, _, _ := s.Eligible(steering.IPv6)
	v4, _, _ := s.Eligible(steering.IPv4)
	eligible := make(map[netip.Addr]bool)
	for _, a := range append(v6, v4...) {
		eligible[a] = true
	}
	var all []target
	var weights []float64
	for _, e := range s.Endpoints {
		if a := e.Address.Unmap(); e.Port != 0 && eligible[a] {
			all = append(all, target{address: a, port: e.Port})
			weights = append(weights, e.Weight())
		}
	}
	for i, w := range srvWeights(s.Policy, weights) {
		all[i].weight = w
	}
	return all
}

// srvWeights turns capacities into the weights of RFC 2782: as they are when they are whole numbers with room, else in
// proportion to the largest one.
func srvWeights(p steering.Policy, capacities []float64) []uint16 {
	weights := make([]uint16, len(capacities))
	if len(capacities) == 0 {
		return weights
	}
	scale, largest := 1.0, slices.Max(capacities)
	if largest > math.MaxUint16 || slices.ContainsFunc(capacities, func(c float64) bool { return c != math.Trunc(c) }) {
		scale = math.MaxUint16
	}
	for i, c := range capacities {
		switch {
		case p == steering.RoundRobin:
			weights[i] = 1
		case scale == 1:
			weights[i] = uint16(c)
		default:
			weights[i] = uint16(max(1, math.Round(c/largest*scale)))
		}
	}
	return weights
}

// serviceRecords answers with at most maxAnswers targets: those of the client, the best one first, by Hash; else all in turn, for
// their weights to decide.
func (n *node) serviceRecords(m *dns.Msg, q dns.Question, c *client) *dns.EDNS0_EDE {
	ttl, why := n.service.ttl(n.zone.ttl)
	add := func(t target, priority int) {
		name := n.service.podName(t.address)
		m.Answer = append(m.Answer, &dns.SRV{
			Hdr: header(q.Name, dns.TypeSRV, ttl), Priority: uint16(priority), Weight: t.weight, Port: t.port, Target: name,
		})
		m.Extra = append(m.Extra, addressRecord(name, ttl, t.address))
	}
	targets := n.service.targets
	if n.service.Policy != steering.Hash {
		first := n.service.turn.Add(1) - 1
		for i := range uint64(min(len(targets), maxAnswers)) {
			add(targets[(first+i)%uint64(len(targets))], 0)
		}
		return why
	}
	for _, p := range n.service.pickers {
		var room [maxAnswers]netip.Addr
		for rank, a := range p.Pick(room[:0], c.prefix()) {
			if i := slices.IndexFunc(targets, func(t target) bool { return t.address == a }); i >= 0 {
				add(targets[i], rank)
			}
		}
	}
	return why
}

// ttl is that of what may change with the endpoints of either family, and why it is short.
func (s *service) ttl(normal uint32) (uint32, *dns.EDNS0_EDE) {
	for _, p := range s.pickers {
		if reason := p.Panic(); reason != "" {
			return panicTTL, extended(dns.ExtendedErrorCodeOther, reason)
		}
	}
	return normal, nil
}

// addNames adds the names that a service brings along: that of its SRV records, and in reverse zones those of its pods.
func (s *snapshot) addNames(c *service, z *zone) error {
	if c.PortName != "" {
		name := srvName(c.Service)
		if err := checkName(name); err != nil {
			return err
		}
		for _, e := range c.Endpoints {
			if err := checkName(c.podName(e.Address.Unmap())); err != nil {
				return err
			}
		}
		if err := s.addNode(name, &node{zone: z, kind: srv, service: c}); err != nil {
			return err
		}
	}
	if s.reverse {
		s.addPointers(c)
	}
	return nil
}

// addPointers adds PTR records where a zone has room for them; of several services at one address the first is told.
func (s *snapshot) addPointers(c *service) {
	for _, e := range c.Endpoints {
		a := e.Address.Unmap()
		name, err := dns.ReverseAddr(a.String())
		if err != nil || s.nodes[name] != nil || checkName(c.podName(a)) != nil {
			continue
		}
		if z := s.zoneOf(name); z != nil {
			s.nodes[name] = &node{zone: z, kind: pointer, target: c.podName(a)}
		}
	}
}
