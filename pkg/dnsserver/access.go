package dnsserver

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// Access says which clients may ask, and what they see. A client is the address that a packet comes from; the client subnet
// option, which anybody can write, never counts here.
type Access struct {
	ACL     ACL
	Zones   map[string]ACL // by the zone's name; who may ask in a zone, of those who may ask at all
	Views   []View         // none: everybody sees everything. Else a client of no view is refused
	Explain []netip.Prefix // clients that are told why, by _explain names; none: there are no such names
}

// An ACL is decided by the longest prefix that holds a client. A client of none may ask if Allow is empty. Prefixes have no
// host bits, and each stands in one of the lists, once.
type ACL struct{ Allow, Deny []netip.Prefix }

// A View is what some clients see: the longest prefix among those of all views decides which one is a client's.
type View struct {
	Name      string
	Clients   []netip.Prefix
	Namespace string                  // of a cluster, where the clients are: they see what they may from there; empty: all
	Services  []string                // names that are seen, and all below them; nil: all
	Endpoints []netip.Prefix          // of which endpoints are seen; nil: all
	Instead   map[string][]netip.Addr // by service: what is seen instead of its endpoints
}

// mayNotAsk is the text of a refusal.
const mayNotAsk = "this client may not ask for this"

// access is Access compiled: one lookup tells all that hangs on the client.
type access struct {
	source  *Access
	zones   map[string]int // index in class.zones
	classes prefixTable[*class]
	rest    *class // of who is in no prefix
}

// A class is what all clients of some prefixes have in common. It is never changed.
type class struct {
	refused bool
	view    int // index in Access.Views; noView: all is seen
	explain bool
	zones   string // 'x' for each zone that refuses
}

const noView = -1

// everybody is the class of all clients where no access is configured.
var everybody = &class{view: noView}

// compileAccess returns nil when everybody may do everything. What is the same as before is taken from old, which may be nil.
func compileAccess(source *Access, old *access) *access {
	switch {
	case source == nil || reflect.DeepEqual(*source, Access{}):
		return nil
	case old != nil && (old.source == source || reflect.DeepEqual(old.source, source)):
		return old
	}
	a := &access{source: source, zones: make(map[string]int)}
	lists := newLists(source, a.zones)
	known := make(map[class]*class)
	classes := make(map[netip.Prefix]*class)
	for p := range lists.all {
		c := lists.class(p)
		if known[c] == nil {
			known[c] = &c
		}
		classes[p] = known[c]
	}
	a.classes = newPrefixTable(classes)
	rest := lists.class(netip.Prefix{})
	a.rest = &rest
	return a
}

// accessOf may be asked of nil.
func (s *snapshot) accessOf() *access {
	if s == nil {
		return nil
	}
	return s.access
}

// of returns a client's class; a may be nil.
func (a *access) of(client netip.Addr) *class {
	if a == nil {
		return everybody
	}
	if c := a.classes.find(client); c != nil {
		return c
	}
	return a.rest
}

// explains tells whether there are _explain names; a may be nil.
func (a *access) explains() bool { return a != nil && len(a.source.Explain) > 0 }

// zoneIndex is a zone's in class.zones, -1 when it has no ACL of its own; a may be nil.
func (a *access) zoneIndex(name string) int {
	if a == nil {
		return -1
	}
	if i, ok := a.zones[name]; ok {
		return i
	}
	return -1
}

// viewName is for people and labels; a may be nil.
func (a *access) viewName(view int) string {
	if a == nil || view == noView {
		return ""
	}
	return a.source.Views[view].Name
}

// mayAsk tells whether a name of a zone is for the client. Checks may ask for the health name wherever they come from: it
// tells nothing but name servers, and a refusal would take the site away.
func (c *class) mayAsk(z *zone, n *node) bool {
	if !c.refused && (z == nil || z.acl < 0 || c.zones[z.acl] != 'x') {
		return true
	}
	return n != nil && n.kind == healthName
}

// lists are the prefixes of an Access, each list for itself.
type lists struct {
	all          map[netip.Prefix]bool
	acl, explain map[netip.Prefix]bool
	zones        []map[netip.Prefix]bool
	views        map[netip.Prefix]int
	zonesOpen    []bool // who is in no prefix of zones may ask
	aclOpen      bool
}

func newLists(source *Access, index map[string]int) *lists {
	l := &lists{all: make(map[netip.Prefix]bool), explain: make(map[netip.Prefix]bool), aclOpen: len(source.ACL.Allow) == 0}
	l.acl = l.add(source.ACL)
	var names []string
	for name := range source.Zones {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		index[name] = i
		l.zones = append(l.zones, l.add(source.Zones[name]))
		l.zonesOpen = append(l.zonesOpen, len(source.Zones[name].Allow) == 0)
	}
	if len(source.Views) > 0 {
		l.views = make(map[netip.Prefix]int)
	}
	for i, v := range source.Views {
		for _, p := range v.Clients {
			l.views[p], l.all[p] = i, true
		}
	}
	for _, p := range source.Explain {
		l.explain[p], l.all[p] = true, true
	}
	return l
}

func (l *lists) add(a ACL) map[netip.Prefix]bool {
	verdicts := make(map[netip.Prefix]bool)
	for may, prefixes := range map[bool][]netip.Prefix{true: a.Allow, false: a.Deny} {
		for _, p := range prefixes {
			verdicts[p], l.all[p] = may, true
		}
	}
	return verdicts
}

// class is that of the clients whose longest prefix is p; the zero prefix: of those who have none.
func (l *lists) class(p netip.Prefix) class {
	c := class{view: noView}
	c.refused = !longest(l.acl, p, l.aclOpen)
	if l.views != nil {
		if c.view = longest(l.views, p, noView); c.view == noView {
			c.refused = true
		}
	}
	c.explain = longest(l.explain, p, false)
	var zones strings.Builder
	for i, z := range l.zones {
		if longest(z, p, l.zonesOpen[i]) {
			zones.WriteByte('.')
		} else {
			zones.WriteByte('x')
		}
	}
	c.zones = zones.String()
	return c
}

// longest returns what the longest prefix that holds all of p has in a list, or the preset.
func longest[T any](list map[netip.Prefix]T, p netip.Prefix, preset T) T {
	for bits := p.Bits(); bits >= 0; bits-- {
		outer, err := p.Addr().Prefix(bits)
		if err != nil {
			break
		}
		if v, ok := list[outer]; ok {
			return v
		}
	}
	return preset
}

// sees returns the service as a view has it; false: the view does not have it.
func (v *View) sees(s steering.Service) (steering.Service, bool) {
	if v.Namespace != "" && !s.SeenFrom(v.Namespace) {
		return s, false
	}
	if v.Services != nil && !slices.ContainsFunc(v.Services, func(name string) bool { return dns.IsSubDomain(name, s.Name) }) {
		return s, false
	}
	if addrs, ok := v.Instead[s.Name]; ok {
		s.Endpoints, s.Policy, s.Panic = nil, steering.RoundRobin, steering.Panic{}
		for _, a := range addrs {
			s.Endpoints = append(s.Endpoints, steering.Endpoint{Address: a, State: steering.Up})
		}
		return s, true
	}
	if v.Endpoints != nil {
		s = s.Clone()
		s.Endpoints = slices.DeleteFunc(s.Endpoints, func(e steering.Endpoint) bool { return !v.has(e.Address) })
		s.Panic.Fallback = slices.DeleteFunc(s.Panic.Fallback, func(a netip.Addr) bool { return !v.has(a) })
	}
	return s, true
}

// has tells whether an endpoint is seen.
func (v *View) has(a netip.Addr) bool {
	return slices.ContainsFunc(v.Endpoints, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

// narrow tells that a view hides something; a may be nil.
func (a *access) narrow(view int) bool {
	if a == nil || view == noView {
		return false
	}
	v := a.source.Views[view]
	return v.Namespace != "" || v.Services != nil || v.Endpoints != nil || len(v.Instead) > 0
}

// prohibit refuses because of who asks.
func (c *client) prohibit(m *dns.Msg) *dns.EDNS0_EDE {
	c.prohibited = true
	return refuse(m, dns.ExtendedErrorCodeProhibited, mayNotAsk)
}

// prohibited is the option that goes with a refusal (RFC 8914).
var prohibited = errorOption(dns.ExtendedErrorCodeProhibited, mayNotAsk)

// hotRefused refuses a question on the hot path: who may not ask must not cost more than who may.
func (z *zone) hotRefused(out, query []byte, q *question) ([]byte, exchange) {
	if q.end+q.optLength(z.nsid, prohibited) > q.limit {
		return nil, exchange{}
	}
	out = q.begin(out, query, dns.RcodeRefused, 0, 0)
	out[2] &^= 0x04 // AA
	out = q.finish(out, z.nsid, prohibited)
	return out, exchange{qtype: q.qtype, rcode: dns.RcodeRefused, prohibited: true, why: mayNotAsk}
}
