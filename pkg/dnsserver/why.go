package dnsserver

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// A Question is what a Reason is asked for.
type Question struct {
	Name   string       // fully qualified, in any case
	Type   string       // such as AAAA
	Client netip.Addr   // where the query comes from
	Subnet netip.Prefix // of the client subnet option that comes with it; not valid: none
}

// A Reason is what would be answered over TCP, and why.
type Reason struct {
	Name, Type string // as they were understood
	Zone, View string // empty: none
	Rcode      string
	Answer     []string // records as in a zone file
	Text       string   // in words
	// Standing is the service of the name as the client sees it; nil: there is none.
	Standing *Standing
	// Picked are the addresses in the answer.
	Picked []netip.Addr
	// Family is the one that is asked for; -1: both may be.
	Family steering.Family
}

// Standing is a service as it is answered now.
type Standing struct {
	steering.Service                        // not to be changed
	Panic            [2]string              // by steering.Family: why it panics; empty: it does not
	Stale            string                 // why what is known of it may be old; empty: it is not
	Shares           map[netip.Addr]float64 // of the answers of each family that begin with an address; by hash, of clients
}

// State is a server as a whole.
type State struct {
	Synced   bool
	Changed  time.Time
	Services []Standing // by name; their Shares are nil
}

// State returns what is answered now.
func (s *Server) State() State {
	now := s.current.Load()
	if now == nil {
		return State{}
	}
	st := State{Synced: now.synced, Changed: time.Unix(0, now.made.Load())}
	for _, c := range now.services {
		st.Services = append(st.Services, c.standing(c.load(), false))
	}
	slices.SortFunc(st.Services, func(a, b Standing) int { return strings.Compare(a.Name, b.Name) })
	return st
}

// Standing returns a service as those clients see it that no view narrows; false: there is none of that name.
func (s *Server) Standing(name string) (Standing, bool) {
	now := s.current.Load()
	if now == nil || now.services[dns.CanonicalName(name)] == nil {
		return Standing{}, false
	}
	c := now.services[dns.CanonicalName(name)]
	return c.standing(c.load(), true), true
}

// standing is that of a service of the cell as a view has it.
func (c *cell) standing(s *service, shares bool) Standing {
	st := Standing{Service: s.Service, Stale: c.stale.Load().words()}
	for f, p := range s.pickers {
		st.Panic[f] = p.Panic()
		if !shares {
			continue
		}
		if st.Shares == nil {
			st.Shares = make(map[netip.Addr]float64)
		}
		for a, share := range p.Shares() {
			st.Shares[a] = share
		}
	}
	return st
}

// Why tells what would be answered now. Nobody's turn is taken.
func (s *Server) Why(q Question) (Reason, error) {
	now := s.current.Load()
	if now == nil {
		return Reason{}, errNoContent
	}
	name, qtype := dns.CanonicalName(q.Name), dns.StringToType[strings.ToUpper(q.Type)]
	if _, ok := dns.IsDomainName(name); !ok {
		return Reason{}, fmt.Errorf("name %q: is no domain name", q.Name)
	}
	if qtype == 0 {
		return Reason{}, fmt.Errorf("type %q: is no type, such as AAAA", q.Type)
	}
	c := &client{address: q.Client, options: options{subnet: newSubnet(q.Subnet)}, peek: true}
	m := now.ask(name, qtype, c)
	return now.reason(m, name, qtype, c), nil
}

// ask answers a question with all that can be told.
func (s *snapshot) ask(name string, qtype uint16, c *client) *dns.Msg {
	q := &dns.Msg{Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}}}
	q.SetEdns0(dns.MaxMsgSize, false)
	return s.message(q, q.IsEdns0(), dns.MaxMsgSize, c)
}

func newSubnet(p netip.Prefix) subnet {
	if !p.IsValid() {
		return subnet{}
	}
	p = p.Masked()
	s := subnet{present: true, family: 2, source: uint8(p.Bits()), addr: p.Addr()}
	if p.Addr().Is4() {
		s.family = 1
	}
	return s
}

// reason tells of an answer.
func (s *snapshot) reason(m *dns.Msg, name string, qtype uint16, c *client) Reason {
	r := Reason{Name: name, Type: dns.Type(qtype).String(), View: s.access.viewName(c.view), Rcode: dns.RcodeToString[m.Rcode], Family: -1}
	n, z := s.find(name, c.view), s.zoneFor(name, qtype)
	if z != nil {
		r.Zone = z.name
	}
	for _, rr := range m.Answer {
		r.Answer = append(r.Answer, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	for _, rr := range append(slices.Clone(m.Answer), m.Extra...) {
		for _, a := range addressesIn(rr) {
			if !slices.Contains(r.Picked, a) { // it may be in a hint and in the additional section
				r.Picked = append(r.Picked, a)
			}
		}
	}
	switch qtype {
	case dns.TypeAAAA:
		r.Family = steering.IPv6
	case dns.TypeA:
		r.Family = steering.IPv4
	}
	if n != nil && n.cell != nil && s.access.of(c.address).mayAsk(z, n) {
		if sv := n.cell.load().in(c.view); sv != nil {
			st := n.cell.standing(sv, true)
			r.Standing = &st
		}
	}
	r.Text = s.words(m, &r, n, z, c)
	return r
}

// addressesIn returns the addresses that a record tells, those of hints too.
func addressesIn(rr dns.RR) (all []netip.Addr) {
	add := func(list ...net.IP) {
		for _, ip := range list {
			if a, ok := netip.AddrFromSlice(ip); ok {
				all = append(all, a.Unmap())
			}
		}
	}
	var values []dns.SVCBKeyValue
	switch rr := rr.(type) {
	case *dns.AAAA:
		add(rr.AAAA)
	case *dns.A:
		add(rr.A)
	case *dns.SVCB:
		values = rr.Value
	case *dns.HTTPS:
		values = rr.Value
	}
	for _, v := range values {
		switch v := v.(type) {
		case *dns.SVCBIPv4Hint:
			add(v.Hint...)
		case *dns.SVCBIPv6Hint:
			add(v.Hint...)
		}
	}
	return all
}

// words tells why in words.
func (s *snapshot) words(m *dns.Msg, r *Reason, n *node, z *zone, c *client) string {
	may := s.access.of(c.address)
	switch {
	case m.Rcode == dns.RcodeRefused && r.Zone == "" && !may.refused:
		return "the name lies in none of the zones"
	case m.Rcode == dns.RcodeRefused && may.refused && s.access.viewless(may):
		return "no view is this client's"
	case m.Rcode == dns.RcodeRefused && may.refused:
		return "acl: the client may not ask"
	case m.Rcode == dns.RcodeRefused && !may.mayAsk(z, n):
		return "the acl of the zone: the client may not ask in it"
	case m.Rcode == dns.RcodeRefused && n != nil && n.kind == explained:
		return "explain.allow: the client is not told why"
	case m.Rcode == dns.RcodeRefused:
		return "not for anybody"
	case m.Rcode == dns.RcodeServerFailure:
		return "not every endpoint was checked yet"
	case m.Rcode == dns.RcodeNameError:
		return "there is no such name in the zone"
	case n.cell != nil && r.Standing == nil:
		return "the client's view does not have the service"
	case n.kind == steered && r.Family >= 0:
		return r.picking()
	case len(m.Answer) == 0:
		return "the name has no record of this type"
	case r.Standing != nil && slices.Contains([]string{"SRV", "HTTPS", "SVCB"}, r.Type):
		return r.picking()
	case n.kind == pod:
		return "the pod that the name stands for, up or not"
	case n.kind == healthName:
		return "the addresses of the zone's name servers: its sources are synced"
	default:
		return "as it is configured"
	}
}

// viewless tells that a client is refused because no view is its.
func (a *access) viewless(c *class) bool {
	return a != nil && len(a.source.Views) > 0 && c.view == noView
}

// picking tells of addresses that were picked, in one family or in both.
func (r *Reason) picking() string {
	asked := func(f steering.Family) bool { return r.Family < 0 || r.Family == f }
	candidates, panics := 0, ""
	for _, e := range r.Standing.Endpoints {
		if asked(familyOf(e.Address)) {
			candidates++
		}
	}
	for f, why := range r.Standing.Panic {
		if asked(steering.Family(f)) {
			panics = cmp.Or(panics, why)
		}
	}
	switch {
	case panics != "":
		return "panic: " + panics
	case candidates == 0:
		return fmt.Sprintf("the service has no %s endpoint", familyName(r.Family))
	default:
		return fmt.Sprintf("picked %d of %d endpoints by %s", len(r.Picked), candidates, r.Standing.Policy)
	}
}

// explainPrefix begins the names that tell of services.
const explainPrefix = "_explain."

// explainLines is how many endpoints are told of at most.
const explainLines = 100

// explanation tells a client that may know it what it would be answered, and of whom: a record of the whole, then one for
// each endpoint. Nobody's turn is taken.
func (s *snapshot) explanation(n *node, q dns.Question, c *client) []dns.RR {
	sv := n.cell.load().in(c.view)
	if sv == nil {
		return nil
	}
	whole := []string{"site=" + s.site, "service=" + sv.Name, "policy=" + sv.Policy.String(), "answers=" + strconv.Itoa(sv.AnswerSize())}
	if view := s.access.viewName(c.view); view != "" {
		whole = append(whole, "view="+view)
	}
	if stale := n.stale().words(); stale != "" {
		whole = append(whole, "stale="+stale)
	}
	name := strings.TrimPrefix(dns.CanonicalName(q.Name), explainPrefix) // not the service's: it may state another policy
	picked := make(map[netip.Addr]bool)
	peeking := *c
	peeking.peek = true
	for f := range sv.pickers {
		qtype := []uint16{steering.IPv6: dns.TypeAAAA, steering.IPv4: dns.TypeA}[f]
		r := s.reason(s.ask(name, qtype, &peeking), name, qtype, &peeking)
		whole = append(whole, strings.ToLower(familyName(steering.Family(f)))+"="+r.Text)
		for _, a := range r.Picked {
			picked[a] = true
		}
	}
	c.used = peeking.used
	rrs := []dns.RR{txt(q.Name, whole...)}
	shares := n.cell.standing(sv, true).Shares
	for i, e := range sv.Endpoints {
		if i == explainLines {
			return append(rrs, txt(q.Name, fmt.Sprintf("and %d more", len(sv.Endpoints)-i)))
		}
		rrs = append(rrs, txt(q.Name, endpointWords(e, shares[e.Address.Unmap()], picked[e.Address.Unmap()])...))
	}
	return rrs
}

func endpointWords(e steering.Endpoint, share float64, picked bool) []string {
	words := []string{
		e.Address.Unmap().String(), "state=" + e.State.String(), "weight=" + strconv.FormatFloat(e.Weight(), 'g', 4, 64),
		"share=" + strconv.FormatFloat(share, 'f', 3, 64),
	}
	if e.Port != 0 {
		words = append(words, "port="+strconv.Itoa(int(e.Port)))
	}
	if e.Draining {
		words = append(words, "draining")
	}
	if picked {
		words = append(words, "picked")
	}
	return words
}

// txt is not to be kept: it tells of now.
func txt(name string, words ...string) dns.RR {
	for i, w := range words {
		words[i] = text(w[:min(len(w), 255)])
	}
	return &dns.TXT{Hdr: header(name, dns.TypeTXT, 0), Txt: words}
}
