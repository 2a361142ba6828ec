package kube

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
)

// A VIP is an address of a Service that has one, and whether this node is to announce it.
type VIP struct {
	Name    string // NAMESPACE/NAME/ipv6, or .../ipv4
	Service string // NAMESPACE/NAME
	Address netip.Addr

	Why    string // this node is to announce it, or is not; for people
	Wanted bool   // it is to
	AtOnce bool   // it is not, and nothing here serves any more: a drain would only lose packets

	Probe Probe
}

// A Probe is how this node finds out whether its own endpoints of a VIP work. Of the others the API's word counts.
type Probe struct {
	Targets []netip.AddrPort // of this node, sorted
	Kind    ProbeKind
	Path    string // of HTTP
	Local   bool   // without targets this node cannot serve
}

// ProbeKind is how endpoints are asked. The zero value asks none.
type ProbeKind int

// The kinds of probes.
const (
	NoProbe ProbeKind = iota
	ProbeTCP
	ProbeHTTP
)

// An Address is what a Service has.
type Address struct {
	Address netip.Addr
	From    string // where it comes from, for people
	Held    string // why it is not among the VIPs, for people; empty: it is
}

// A Verdict is what there is to say of a Service that asks for addresses.
type Verdict struct {
	Service   string // NAMESPACE/NAME
	Addresses []Address
	Problems  []string // for people
}

// balancing are the rules of a balance.
type balancing struct {
	class    string
	node     string // that this runs on
	pools    []Pool
	reserved map[netip.Addr]string // addresses that are others', and whose
}

// A balance is what the API tells of Services with addresses of ours. It knows no clock and no network: what follows from it is
// a function of the objects, whatever the order in which they came, but that a Service whose status was emptied keeps what it
// had.
type balance struct {
	rules    balancing
	services table[*service] // those that ask for addresses, or did so
	slices   table[*local]
	sliced   map[key]map[key]*local // by Service
	nodes    table[*node]
}

func newBalance(r balancing) *balance {
	return &balance{
		rules: r, services: make(table[*service]), slices: make(table[*local]),
		sliced: make(map[key]map[key]*local), nodes: make(table[*node]),
	}
}

// put takes an object as it is now.
func (b *balance) put(o object) {
	switch o := o.(type) {
	case *service:
		b.putService(o)
	case *slice:
		b.drop(o, o.key)
		l := localOf(o, b.rules.node)
		b.slices.put(o.key, l)
		add2(b.sliced, l.service, o.key, l)
	case *node:
		b.nodes.put(o.key, o)
	}
}

// putService keeps what asks for addresses, or did so. Nobody takes an address away by emptying a status: that happens when a
// cluster is restored, or by mistake, and the one that was there is written again.
func (b *balance) putService(s *service) {
	old := b.services.get(s.key)
	b.services.drop(s.key)
	if s.balanced == nil {
		return
	}
	if old != nil && old.uid == s.uid && len(s.balanced.status) == 0 && s.balanced.class == old.balanced.class {
		kept := *s.balanced
		kept.held = old.balanced.held
		s.balanced = &kept
	}
	b.services.put(s.key, s)
}

// drop forgets an object of the kind that like is of.
func (b *balance) drop(like object, k key) {
	switch like.(type) {
	case *service:
		b.services.drop(k)
	case *slice:
		if l := b.slices.get(k); l != nil {
			b.slices.drop(k)
			drop2(b.sliced, l.service, k)
		}
	case *node:
		b.nodes.drop(k)
	}
}

// held are the objects of the kind that like is of.
func (b *balance) held(like object) held {
	switch like.(type) {
	case *service:
		return holding[*service]{b.services}
	case *slice:
		return holding[*local]{b.slices}
	default:
		return holding[*node]{b.nodes}
	}
}

// ours returns the Services that ask for addresses, in order.
func (b *balance) ours() (all []*service) {
	for _, k := range b.services.sorted() {
		if s := b.services.get(k); s.balanced.class == b.rules.class {
			all = append(all, s)
		}
	}
	return all
}

// grants says who has which address.
func (b *balance) grants() map[key]*grant {
	var all []claimant
	trouble := make(map[key][]problem)
	for _, s := range b.ours() {
		c, bad := claimantOf(s)
		all, trouble[c.key] = append(all, c), bad
	}
	grants := assign(b.rules.pools, b.rules.reserved, all)
	for k, g := range grants {
		g.trouble = append(trouble[k], g.trouble...)
		_, bad := b.services.get(k).probe()
		g.trouble = append(g.trouble, bad...)
	}
	return grants
}

// vips returns every address that this node may be asked to announce, by service and family, and what there is to say of the
// Services. What a status does not say yet is nobody's.
func (b *balance) vips() (vips []VIP, verdicts []Verdict) {
	grants := b.grants()
	for _, s := range b.ours() {
		g := grants[s.key]
		v := Verdict{Service: s.key.String()}
		for _, one := range g.final {
			v.Addresses = append(v.Addresses, Address{one.address, one.from, g.held(one)})
		}
		for _, p := range g.trouble {
			v.Problems = append(v.Problems, p.reason+": "+p.message)
		}
		verdicts = append(verdicts, v)
		for _, one := range g.kept {
			if !one.stray {
				vips = append(vips, b.vip(s, one.address))
			}
		}
	}
	slices.SortFunc(vips, func(a, b VIP) int { return strings.Compare(a.Name, b.Name) })
	return vips, verdicts
}

// held says why an address is not announced by any node.
func (g *grant) held(one given) string {
	switch {
	case one.stray:
		return "in no pool of this agent"
	case !slices.Contains(g.kept, one):
		return "not written in its status yet"
	default:
		return ""
	}
}

// vip says whether this node is to announce an address of a Service.
func (b *balance) vip(s *service, address netip.Addr) VIP {
	v := VIP{Name: s.key.String() + "/" + strings.ToLower(string(familyOf(address))), Service: s.key.String(), Address: address}
	p := b.presence(s.key, address.Is6())
	v.Probe, _ = s.probe()
	v.Probe.Local = s.balanced.local
	if v.Probe.Kind != NoProbe {
		v.Probe.Targets = p.targets(s)
	}
	switch elsewhere := len(p.elsewhere) > 0 && !s.balanced.local; {
	case p.ready > 0:
		v.Wanted, v.Why = true, fmt.Sprintf("%s on this node", count(p.ready, "ready endpoint"))
	case elsewhere:
		v.Wanted, v.Why = true, "ready endpoints on other nodes"
	case p.draining > 0 || p.drainingElsewhere && !s.balanced.local:
		v.Why = "its endpoints terminate"
	case s.balanced.local:
		v.Why, v.AtOnce = "no ready endpoint on this node", true
	default:
		v.Why, v.AtOnce = "no ready endpoint on any node", true
	}
	b.consider(&v, s, p)
	return v
}

// consider has the state of this node speak: one that is about to go lets others announce, if there are any.
func (b *balance) consider(v *VIP, s *service, p presence) {
	unfit := b.unfit(b.rules.node)
	switch {
	case !v.Wanted || unfit == "":
	case b.others(s, p):
		v.Wanted, v.Why = false, "this node "+unfit
	default:
		v.Why += "; this node " + unfit + ", but no other one could take over"
	}
}

// unfit says why a node may not take traffic; empty: it may.
func (b *balance) unfit(name string) string {
	if n := b.nodes.get(key{name: name}); n != nil {
		return n.unfit
	}
	return "is not known to the API"
}

// others tells whether another node could announce.
func (b *balance) others(s *service, p presence) bool {
	if s.balanced.local {
		return slices.ContainsFunc(p.elsewhere, func(n unique.Handle[string]) bool { return b.unfit(n.Value()) == "" })
	}
	for k := range b.nodes.keys("") {
		if k.name != b.rules.node && b.unfit(k.name) == "" {
			return true
		}
	}
	return false
}

// presence is where the endpoints of a family are.
type presence struct {
	here              []*local
	ready, draining   int // on this node
	elsewhere         []unique.Handle[string]
	drainingElsewhere bool
}

func (b *balance) presence(of key, six bool) (p presence) {
	for _, k := range sorted(b.sliced[of], key.compare) {
		l := b.slices.get(k)
		if l.six != six {
			continue
		}
		p.here = append(p.here, l)
		p.elsewhere = append(p.elsewhere, l.ready...)
		p.drainingElsewhere = p.drainingElsewhere || l.draining
		for i := range l.here {
			switch (candidate{endpoint: &l.here[i]}).rank() {
			case 3:
				p.ready++
			case 2:
				p.draining++
			}
		}
	}
	return p
}

// targets are the endpoints of this node at the port that is to be asked; those that are ready alone.
func (p presence) targets(s *service) (all []netip.AddrPort) {
	port, _ := s.probePort()
	for _, l := range p.here {
		number, serves := (&slice{ports: l.ports}).port(port)
		for i := range l.here {
			if serves && (candidate{endpoint: &l.here[i]}).rank() == 3 {
				all = append(all, netip.AddrPortFrom(l.here[i].address(), number))
			}
		}
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all)
}

// probe reads how a Service wants its endpoints asked: by TCP, unless it has no port of TCP.
func (s *service) probe() (p Probe, trouble []problem) {
	bad := func(note, format string, args ...any) {
		trouble = append(trouble, problem{reasonAnnotation, prefix + note + ": " + fmt.Sprintf(format, args...)})
	}
	_, there := s.probePort()
	kind := cmp.Or(s.notes[noteCheck], "tcp")
	path := s.notes[noteCheckPath]
	switch {
	case kind == "none":
	case kind != "tcp" && kind != "http":
		bad(noteCheck, "must be tcp, http or none, not %q", kind)
		p.Kind = ProbeTCP
	case kind == "http":
		p.Kind, p.Path = ProbeHTTP, cmp.Or(path, "/")
	default:
		p.Kind = ProbeTCP
	}
	if path != "" && (kind != "http" || path[0] != '/' || strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f })) {
		bad(noteCheckPath, "must be a path that begins with /, and goes with %s%s: http", prefix, noteCheck)
		if p.Path != "" {
			p.Path = "/"
		}
	}
	if !there && p.Kind != NoProbe {
		if s.notes[noteCheck] != "" || s.notes[noteCheckPort] != "" {
			bad(noteCheckPort, "there is no such port of TCP")
		}
		return Probe{}, trouble
	}
	return p, trouble
}

// probePort is the port that is asked: the one that is named, by name or number, else the first one of TCP.
func (s *service) probePort() (port, bool) {
	wanted := s.notes[noteCheckPort]
	for _, p := range s.ports {
		if (p.protocol == corev1.ProtocolTCP || p.protocol == "") && (wanted == "" || wanted == p.name || wanted == strconv.Itoa(int(p.number))) {
			return p, true
		}
	}
	return port{}, false
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
