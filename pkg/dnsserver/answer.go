package dnsserver

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// maxAnswers is how many picked addresses find room without a second allocation.
const maxAnswers = 16

// answer fills m, which has its question, with what is known of it. The extended error (RFC 8914), if any, is for
// clients that speak EDNS.
func (s *snapshot) answer(m *dns.Msg, c *client) *dns.EDNS0_EDE {
	why := s.decide(m, c)
	if why != nil {
		c.why = cmp.Or(why.ExtraText, dns.ExtendedErrorCodeToString[why.InfoCode])
	}
	return why
}

// decide is answer.
func (s *snapshot) decide(m *dns.Msg, c *client) *dns.EDNS0_EDE {
	q, may := m.Question[0], s.access.of(c.address)
	name := dns.CanonicalName(q.Name)
	n, z := s.find(name, may.view), s.zoneFor(name, q.Qtype)
	c.view, c.place = may.view, s.placeOf(z, may.view)
	switch {
	case !may.mayAsk(z, n):
		return c.prohibit(m)
	case q.Qclass == dns.ClassCHAOS:
		return s.chaos(m, q)
	case q.Qclass != dns.ClassINET:
		return refuse(m, dns.ExtendedErrorCodeNotSupported, "only class IN is served")
	case q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR:
		return refuse(m, dns.ExtendedErrorCodeProhibited, "no zone transfers")
	}
	switch {
	case z == nil:
		return refuse(m, dns.ExtendedErrorCodeNotAuthoritative, "")
	case n != nil && n.kind == explained && !may.explain:
		return c.prohibit(m)
	case !s.synced && !n.firm():
		// Not even NXDOMAIN: who is unsure must not say that something does not exist.
		m.Rcode = dns.RcodeServerFailure
		return extended(dns.ExtendedErrorCodeNotReady, "not every endpoint was checked yet")
	}
	m.Authoritative = true
	if n == nil {
		m.Rcode = dns.RcodeNameError
		m.Ns = []dns.RR{z.authority.Load().soa}
		return nil
	}
	why := s.records(m, n, q, c)
	c.stale = n.stale()
	switch nothing := z.authority.Load(); {
	case len(m.Answer) > 0:
	case why != nil: // panic
		m.Ns = []dns.RR{nothing.brief}
	default:
		m.Ns = []dns.RR{nothing.soa}
	}
	return why
}

// records adds the records of the name that q asks for.
func (s *snapshot) records(m *dns.Msg, n *node, q dns.Question, c *client) *dns.EDNS0_EDE {
	switch {
	case n.kind == empty:
	case q.Qtype == dns.TypeANY:
		// RFC 8482 section 4.2: no type to ask for, and nothing to amplify.
		m.Answer = []dns.RR{&dns.HINFO{Hdr: header(q.Name, dns.TypeHINFO, n.zone.ttl), Cpu: "RFC8482"}}
	case n.kind == apex && q.Qtype == dns.TypeSOA:
		m.Answer = owned(q.Name, n.zone.authority.Load().soa)
	case n.kind == apex && q.Qtype == dns.TypeNS:
		m.Answer, m.Extra = owned(q.Name, n.zone.ns...), n.zone.glue
	case q.Qtype == dns.TypeAAAA:
		return n.addressRecords(m, q, steering.IPv6, c)
	case q.Qtype == dns.TypeA:
		return n.addressRecords(m, q, steering.IPv4, c)
	case n.kind == steered && q.Qtype == dns.TypeTXT:
		if sv := n.cell.load().in(c.view); sv != nil {
			m.Answer = []dns.RR{&dns.TXT{Hdr: header(q.Name, dns.TypeTXT, n.zone.ttl), Txt: s.about(sv)}}
		}
	case n.kind == explained && q.Qtype == dns.TypeTXT:
		m.Answer = s.explanation(n, q, c)
	case n.kind == srv && q.Qtype == dns.TypeSRV:
		return n.serviceRecords(m, q, c)
	case n.binds(q.Qtype):
		return n.bindings(m, q, c)
	case n.kind == pointer && q.Qtype == dns.TypePTR:
		m.Answer = []dns.RR{&dns.PTR{Hdr: header(q.Name, dns.TypePTR, n.zone.ttl), Ptr: n.target}}
	}
	return nil
}

func (n *node) addressRecords(m *dns.Msg, q dns.Question, f steering.Family, c *client) *dns.EDNS0_EDE {
	switch n.kind {
	case nameServer:
		m.Answer = appendAddresses(nil, q.Name, n.zone.ttl, n.addresses, f)
	case healthName:
		m.Answer = appendAddresses(nil, q.Name, n.zone.ttl, n.zone.addresses, f)
	case steered, pod:
		return n.pick(m, q, f, c)
	}
	return nil
}

// pick answers with the endpoints whose turn it is.
func (n *node) pick(m *dns.Msg, q dns.Question, f steering.Family, c *client) *dns.EDNS0_EDE {
	var room [maxAnswers]netip.Addr
	sv := n.cell.load().in(c.view)
	if sv == nil {
		return nil
	}
	p := sv.pickers[f]
	ttl, why := n.zone.keep(p), (*dns.EDNS0_EDE)(nil)
	if reason := p.Panic(); reason != "" {
		why = extended(dns.ExtendedErrorCodeOther, reason)
	}
	if n.kind == steered { // nothing is picked where a pod is named
		c.note(n.cell, sv, p.Empty())
	}
	m.Answer = appendAddresses(nil, q.Name, ttl, c.pick(p, room[:0]), f)
	return why
}

// keep is how long an answer of p may be kept, in seconds.
func (z *zone) keep(p *steering.Picker) uint32 {
	return uint32(p.TTL(time.Duration(z.minTTL)*time.Second, time.Duration(z.ttl)*time.Second) / time.Second)
}

// about tells strangers who answers and how it picks; what it picks from is none of their business.
func (s *snapshot) about(c *service) []string {
	return []string{"site=" + text(s.site), "policy=" + c.Policy.String()}
}

// text escapes s as the library wants it.
func text(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

// chaos answers who this is (RFC 4892), and keeps to itself what it runs.
func (s *snapshot) chaos(m *dns.Msg, q dns.Question) *dns.EDNS0_EDE {
	name := dns.CanonicalName(q.Name)
	if name != "id.server." && name != "hostname.bind." {
		return refuse(m, dns.ExtendedErrorCodeProhibited, "")
	}
	m.Authoritative = true
	if q.Qtype == dns.TypeTXT || q.Qtype == dns.TypeANY {
		txt := &dns.TXT{Hdr: header(q.Name, dns.TypeTXT, 0), Txt: []string{text(s.site)}}
		txt.Hdr.Class = dns.ClassCHAOS
		m.Answer = []dns.RR{txt}
	}
	return nil
}

// owned copies records of the zone to the name as it was asked: upper and lower case come back as they came.
func owned(name string, shared ...dns.RR) []dns.RR {
	rrs := make([]dns.RR, len(shared))
	for i, rr := range shared {
		rrs[i] = dns.Copy(rr)
		rrs[i].Header().Name = name
	}
	return rrs
}

func refuse(m *dns.Msg, code uint16, text string) *dns.EDNS0_EDE {
	m.Rcode = dns.RcodeRefused
	return extended(code, text)
}

func extended(code uint16, text string) *dns.EDNS0_EDE {
	return &dns.EDNS0_EDE{InfoCode: code, ExtraText: text}
}

func appendAddresses(rrs []dns.RR, name string, ttl uint32, addrs []netip.Addr, f steering.Family) []dns.RR {
	for _, a := range addrs {
		if a.Is4() == (f == steering.IPv4) {
			rrs = append(rrs, addressRecord(name, ttl, a))
		}
	}
	return rrs
}

func addressRecord(name string, ttl uint32, a netip.Addr) dns.RR {
	if a.Is4() {
		return &dns.A{Hdr: header(name, dns.TypeA, ttl), A: a.AsSlice()}
	}
	return &dns.AAAA{Hdr: header(name, dns.TypeAAAA, ttl), AAAA: a.AsSlice()}
}

func header(name string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}
