package dnsserver

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// Names that state what is picked, beside the plain name of a service: semantic names (source S1) are
// APP.APPNS.SERVICE.SERVICENS.INSTANCE.POLICY.ZONE. INSTANCE is "any", and POLICY one of semanticPolicies; or it is the number of an
// instance, and POLICY "none".

const (
	anyInstance = "any"
	noPolicy    = "none"
)

// semanticPolicies are the policies of semantic names by their labels.
var semanticPolicies = [...]struct {
	label  string
	policy steering.Policy
}{
	{"rr", steering.RoundRobin}, {"closest", steering.Closest}, {"hc", steering.Capacity}, {"closesthc", steering.ClosestCapacity},
}

// semanticCells are the places of a service among the names that state a policy, by its index in semanticPolicies.
type semanticCells [len(semanticPolicies)]*cell

// semanticName is that of any instance below zone.
func semanticName(s steering.Semantic, policy, zone string) string {
	return strings.Join([]string{s.App, s.AppNS, s.Service, s.ServiceNS, anyInstance, policy, ""}, ".") + strings.TrimPrefix(zone, ".")
}

// SemanticNames are the names that a service has in a zone by its semantic name, but for those of its instances.
func SemanticNames(m steering.Semantic, zone string) []string {
	var all []string
	for _, p := range semanticPolicies {
		all = append(all, semanticName(m, p.label, zone))
	}
	return all
}

// StatesPolicy tells whether a name is, or could become, one of those that semantic names stand for in a zone: no service
// that comes later should have it.
func StatesPolicy(name, zone string) bool {
	if dns.IsSubDomain(below(noPolicy, zone), name) {
		return true
	}
	for _, p := range semanticPolicies {
		if top := below(anyInstance, below(p.label, zone)); dns.IsSubDomain(top, name) {
			return true
		}
	}
	return false
}

// addSemantic adds the semantic names of a service but those of its instances, which are found on the way: they come and go.
func (s *snapshot) addSemantic(c *cell, sv steering.Service, old *snapshot, start func() uint64) error {
	if !sv.Semantic.Complete() {
		return nil
	}
	m := sv.Semantic
	for _, label := range []string{m.App, m.AppNS, m.Service, m.ServiceNS} {
		if strings.ContainsAny(label, `.\`) {
			return fmt.Errorf("%q of its semantic name is not one label", label)
		}
	}
	for i, p := range semanticPolicies {
		name := semanticName(sv.Semantic, p.label, c.zone.name)
		if err := checkName(name); err != nil {
			return err
		}
		v := &cell{zone: c.zone, rank: c.rank}
		v.now.Store(newService(by(p.policy, sv), old.semantic(sv.Name, i), s.access, start))
		c.semantic[i] = v
		if err := s.addNode(name, &node{zone: c.zone, kind: steered, cell: v}); err != nil {
			return err
		}
	}
	return s.addInstances(c, m)
}

// addInstances enters the service where the names of its instances are looked for: at each of the names above them.
func (s *snapshot) addInstances(c *cell, m steering.Semantic) error {
	top := below(noPolicy, c.zone.name)
	switch n := s.nodes[top]; {
	case n == nil:
		if err := s.addNode(top, &node{zone: c.zone, kind: instances, semantic: make(map[string]*cell)}); err != nil {
			return err
		}
	case n.kind != instances:
		return fmt.Errorf("%s has another meaning already: rename one of the two", top)
	}
	known := s.nodes[top].semantic
	known[m.ServiceNS+"."], known[m.Service+"."+m.ServiceNS+"."] = nil, nil
	known[m.AppNS+"."+m.Service+"."+m.ServiceNS+"."] = nil
	whole := strings.Join([]string{m.App, m.AppNS, m.Service, m.ServiceNS, ""}, ".")
	if known[whole] != nil {
		return fmt.Errorf("%s is the semantic name of another service already", strings.TrimSuffix(whole, "."))
	}
	known[whole] = c
	return nil
}

// below is a name of one label more.
func below(label, name string) string { return label + "." + strings.TrimPrefix(name, ".") }

// by is the service as it is answered by a policy.
func by(p steering.Policy, sv steering.Service) steering.Service {
	sv.Policy = p
	return sv
}

// semantic returns what is known of a service by a policy of semanticPolicies, nil when nothing is; s may be nil.
func (s *snapshot) semantic(name string, i int) *service {
	if s == nil || s.services[name] == nil || s.services[name].semantic[i] == nil {
		return nil
	}
	return s.services[name].semantic[i].load()
}

// store replaces what is known of the service, by all the names that it has.
func (c *cell) store(next *service) {
	c.now.Store(next)
	for i, v := range c.semantic {
		if v != nil {
			v.now.Store(newService(by(semanticPolicies[i].policy, next.Service), v.load(), next.access, rand.Uint64))
		}
	}
}

// findInstance returns what exists at a name below top, which is of kind instances: an instance, or a name above one.
func (top *node) findInstance(name, topName string, view int) *node {
	rest := strings.TrimSuffix(name, "."+topName)
	labels, number := "", rest
	if i := strings.LastIndexByte(rest, '.'); i >= 0 {
		labels, number = rest[:i+1], rest[i+1:]
	}
	if !isNumber(number) {
		return nil
	}
	c, known := top.semantic[labels]
	switch {
	case labels == "" || known && c == nil:
		return &node{zone: top.zone}
	case !known:
		return nil
	}
	sv := c.load().in(view)
	if sv == nil {
		return nil
	}
	return c.pod(sv, func(e *steering.Endpoint) bool { return e.Instance == number })
}

// isNumber tells whether s is the number of an instance: one way to write each.
func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}

// firstLabel splits a name.
func firstLabel(name string) (label, rest string) {
	i, end := dns.NextLabel(name, 0)
	if end {
		return strings.TrimSuffix(name, "."), "."
	}
	return name[:i-1], name[i:]
}
