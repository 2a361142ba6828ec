package dnsserver

import (
	"fmt"
	"math"
	"math/rand/v2"
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

// find returns what exists at name for a view, nil when nothing does. The names of pods are made when they are asked for: there may
// be a million.
func (s *snapshot) find(name string, view int) *node {
	if n := s.nodes[name]; n != nil {
		return n
	}
	label, rest := firstLabel(name)
	above := s.nodes[rest]
	if above != nil && above.kind == scheme {
		return above.ofPort(label, view)
	}
	if above == nil || above.kind != steered {
		return s.findFar(name, view)
	}
	if strings.HasPrefix(name, explainPrefix) && s.access.explains() {
		return &node{zone: above.zone, kind: explained, cell: above.cell}
	}
	if n := above.findPlace("", label, view); n != nil {
		return n
	}
	a, ok := podAddress(label)
	sv := above.cell.load().in(view)
	if !ok || sv == nil {
		return nil
	}
	return above.cell.pod(sv, func(e *steering.Endpoint) bool { return e.Address.Unmap() == a })
}

// pod is the name of one: sv, which is the service of the cell for a view, with the endpoints that are it and nothing else, up or not. Nil:
// there is none.
func (c *cell) pod(sv *service, is func(*steering.Endpoint) bool) *node {
	one := sv.Service
	one.Policy, one.Answers, one.Panic, one.Endpoints = steering.RoundRobin, 1, steering.Panic{Mode: steering.PanicAll}, nil
	for i := range sv.Endpoints {
		if e := &sv.Endpoints[i]; is(e) {
			one.Endpoints = append(one.Endpoints, *e)
		}
	}
	if one.Endpoints == nil {
		return nil
	}
	return c.found(pod, newService(one, nil, nil, rand.Uint64))
}

// findPointer returns what exists at the name of an address. A view that hides something is told of no name on the way to
// one: it could find all of them label by label.
func (s *snapshot) findPointer(name string, view int) *node {
	z := s.zoneOf(name)
	n := s.pointers.find(name, z, view)
	if z != nil && z.reverse && s.access.narrow(view) && (n == nil || n.kind != pointer) {
		return &node{zone: z}
	}
	return n
}

// findFar returns what exists at a name whose parent is no service: a place, an instance, or an address.
func (s *snapshot) findFar(name string, view int) *node {
	z := s.zoneOf(name)
	if z == nil {
		return nil
	}
	label, rest := firstLabel(name)
	word, rest := firstLabel(rest)
	if far := s.nodes[rest]; far != nil && far.kind == steered {
		if n := far.findPlace(label, word, view); n != nil {
			return n
		}
	}
	if top := below(noPolicy, z.name); s.nodes[top] != nil && s.nodes[top].kind == instances && dns.IsSubDomain(top, name) {
		return s.nodes[top].findInstance(name, top, view)
	}
	return s.findPointer(name, view)
}

// checkPods refuses a name that is also that of a pod: SRV and PTR records would lead astray.
func (s *snapshot) checkPods() error {
	for name := range s.nodes {
		above := s.nodes[parent(name)]
		if above == nil || above.kind != steered || !strings.HasPrefix(name, podPrefix) {
			continue
		}
		a, ok := podAddress(strings.TrimSuffix(strings.TrimSuffix(name, parent(name)), "."))
		if !ok {
			continue
		}
		if sv := above.cell.load(); sv.has(a) {
			return fmt.Errorf("%s is the name of endpoint %s of service %s: rename it", name, a, sv.Name)
		}
		above.cell.taken = append(above.cell.taken, a)
	}
	return nil
}

// checkPodNames refuses a service with a port if a target of its SRV records would have no name.
func checkPodNames(sv steering.Service) error {
	const longest = len(podPrefix + "ffff-ffff-ffff-ffff-ffff-ffff-255-255-255-255")
	if sv.PortName == "" && len(sv.ALPN) == 0 || longest+1+len(sv.Name) <= maxName {
		return nil
	}
	for _, e := range sv.Endpoints {
		if err := checkName(podLabel(e.Address.Unmap()) + "." + sv.Name); err != nil {
			return err
		}
	}
	return nil
}

// familyOf is that of an address.
func familyOf(a netip.Addr) steering.Family {
	if a.Unmap().Is4() {
		return steering.IPv4
	}
	return steering.IPv6
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
	endpoint int32 // index in service.Endpoints
	weight   uint16
}

// newTargets are the endpoints of both families that may answer now and have a port.
func newTargets(s steering.Service) []target {
	if s.PortName == "" {
		return nil
	}
	var eligible [2][]netip.Addr // by steering.Family
	for f := range eligible {
		eligible[f], _, _ = s.Eligible(steering.Family(f))
		slices.SortFunc(eligible[f], netip.Addr.Compare)
	}
	all, weights := make([]target, 0, len(s.Endpoints)), make([]float64, 0, len(s.Endpoints))
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if _, may := slices.BinarySearchFunc(eligible[familyOf(e.Address)], e.Address.Unmap(), netip.Addr.Compare); may && e.Port != 0 {
			all, weights = append(all, target{endpoint: int32(i)}), append(weights, e.Weight())
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
	sv := n.cell.load().in(c.view)
	if sv == nil {
		return nil
	}
	ttl, why := sv.ttl(n.zone)
	add := func(t target, priority int) {
		a := sv.addressOf(t)
		name := sv.podName(a)
		m.Answer = append(m.Answer, &dns.SRV{
			Hdr: header(q.Name, dns.TypeSRV, ttl), Priority: uint16(priority), Weight: t.weight, Port: sv.Endpoints[t.endpoint].Port, Target: name,
		})
		m.Extra = append(m.Extra, addressRecord(name, ttl, a))
	}
	targets := sv.targets
	c.note(n.cell, sv, len(targets) == 0)
	if sv.Policy != steering.Hash {
		first := sv.nextTarget(c)
		for i := range uint64(min(len(targets), maxAnswers)) {
			add(targets[(first+i)%uint64(len(targets))], 0)
		}
		return why
	}
	for _, p := range sv.pickers {
		var room [maxAnswers]netip.Addr
		for rank, a := range c.pick(p, room[:0]) {
			if i := slices.IndexFunc(targets, func(t target) bool { return sv.addressOf(t) == a }); i >= 0 {
				add(targets[i], rank)
			}
		}
	}
	return why
}

func (s *service) addressOf(t target) netip.Addr { return s.Endpoints[t.endpoint].Address.Unmap() }

// nextTarget takes a turn, or looks whose it is.
func (s *service) nextTarget(c *client) uint64 {
	if c.peek {
		return s.turn.Load()
	}
	return s.turn.Add(1) - 1
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

// addNames adds the names that a service brings along: that of its SRV records, and in reverse zones those of its pods.
func (s *snapshot) addNames(c *cell, sv steering.Service) error {
	if sv.PortName != "" {
		name := srvName(sv)
		if err := checkName(name); err != nil {
			return err
		}
		if err := checkPodNames(sv); err != nil {
			return err
		}
		if err := s.addNode(name, &node{zone: c.zone, kind: srv, cell: c}); err != nil {
			return err
		}
	}
	if err := s.addSchemes(c, sv); err != nil {
		return err
	}
	s.pointers.move(c, nil, sv.Endpoints)
	return nil
}
