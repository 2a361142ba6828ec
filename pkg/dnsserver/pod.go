package dnsserver

import (
	"fmt"
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

// find returns what exists at name for a view, nil when nothing does.
func (s *snapshot) find(name string, view int) *node {
	n := s.findHost(name, view)
	if n == nil && strings.HasPrefix(name, "_") {
		n = s.findAbout(name, view)
	}
	return n
}

// findHost is find for names that say nothing of others. The names of pods are made when they are asked for: there may be a million.
func (s *snapshot) findHost(name string, view int) *node {
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

// findAbout returns what exists at a name that tells of another one: its explanation, and where that is not the service's own, which are in the
// table, its SRV records and the name above these.
func (s *snapshot) findAbout(name string, view int) *node {
	label, host := firstLabel(name)
	switch n := s.findHost(host, view); {
	case n == nil:
	case n.kind == steered && label+"." == explainPrefix && s.access.explains():
		return &node{zone: n.zone, kind: explained, cell: n.cell}
	case n.hasTargets() && parent(srvLabels(n.cell.load().Service)) == label+".":
		return &node{zone: n.zone}
	}
	_, host = firstLabel(host)
	if n := s.findHost(host, view); n.hasTargets() && srvLabels(n.cell.load().Service)+host == name {
		return &node{zone: n.zone, kind: srv, cell: n.cell}
	}
	return nil
}

// hasTargets tells that a name stands for endpoints of which SRV records tell; it may be asked of nil.
func (n *node) hasTargets() bool {
	return n != nil && (n.kind == steered || n.kind == pod) && n.cell.load().PortName != ""
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
			return &ServiceError{sv.Name, fmt.Errorf("%s is the name of its endpoint %s: rename one of the two", name, a)}
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
