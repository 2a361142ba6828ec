package dnsserver

import (
	"encoding/hex"
	"net/netip"

	"github.com/miekg/dns"
)

// A reply under construction.
type reply struct {
	site     string
	snapshot *Snapshot
	req      *dns.Msg
	msg      *dns.Msg
	opt      *dns.OPT // of the reply; nil when the client does not speak EDNS
}

// answer makes the answer to one query. Over UDP it fits what the client takes, or is truncated (TC). It returns nil for
// what must not be answered: a response (two servers could send it back and forth for ever).
func (s *Snapshot) answer(req *dns.Msg, site string, udp bool) *dns.Msg {
	if req.Response {
		return nil
	}
	r := &reply{site: site, snapshot: s, req: req, msg: new(dns.Msg)}
	r.msg.SetReply(req)
	r.msg.Compress = true
	size := r.edns()
	if r.msg.Rcode == dns.RcodeSuccess {
		r.resolve()
	}
	if r.opt != nil {
		r.msg.Extra = append(r.msg.Extra, r.opt)
	}
	if udp {
		r.msg.Truncate(size)
	}
	return r.msg
}

// edns reads the client's OPT record (RFC 6891) and prepares ours. It returns how much the client takes over UDP.
func (r *reply) edns() (size int) {
	var opt *dns.OPT
	for _, rr := range r.req.Extra {
		o, ok := rr.(*dns.OPT)
		if ok && opt != nil {
			r.msg.Rcode = dns.RcodeFormatError // section 6.1.1: more than one
			return minUDP
		}
		if ok {
			opt = o
		}
	}
	if opt == nil {
		return minUDP
	}
	r.opt = &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	r.opt.SetUDPSize(maxUDP)
	if opt.Do() {
		r.opt.SetDo()
	}
	if opt.Version() != 0 {
		r.msg.Rcode = dns.RcodeBadVers
		return maxUDP
	}
	r.nsid(opt)
	return min(max(int(opt.UDPSize()), minUDP), maxUDP)
}

// nsid names the site to those who ask, RFC 5001.
func (r *reply) nsid(asked *dns.OPT) {
	for _, o := range asked.Option {
		if o.Option() == dns.EDNS0NSID {
			r.opt.Option = append(r.opt.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte(r.site))})
			return
		}
	}
}

// explain adds an extended error (RFC 8914) for clients that speak EDNS.
func (r *reply) explain(code uint16, text string) {
	if r.opt != nil {
		r.opt.Option = append(r.opt.Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: text})
	}
}

// resolve fills in what is answered.
func (r *reply) resolve() {
	if r.req.Opcode != dns.OpcodeQuery {
		r.msg.Rcode = dns.RcodeNotImplemented
		return
	}
	if len(r.req.Question) != 1 {
		r.msg.Rcode = dns.RcodeFormatError
		return
	}
	switch q := r.req.Question[0]; {
	case q.Qclass == dns.ClassCHAOS:
		r.chaos(q)
	case q.Qclass != dns.ClassINET, q.Qtype == dns.TypeAXFR, q.Qtype == dns.TypeIXFR:
		r.msg.Rcode = dns.RcodeRefused
	default:
		r.internet(q)
	}
}

// chaos tells who answers: RFC 4892. The version is nobody's business.
func (r *reply) chaos(q dns.Question) {
	name := lower(q.Name)
	if (name != "id.server." && name != "hostname.bind.") || (q.Qtype != dns.TypeTXT && q.Qtype != dns.TypeANY) {
		r.msg.Rcode = dns.RcodeRefused
		return
	}
	r.msg.Answer = []dns.RR{&dns.TXT{
		Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS}, Txt: []string{r.site},
	}}
}

func (r *reply) internet(q dns.Question) {
	full := lower(q.Name)
	n := r.snapshot.names[full]
	var z *zone
	if n != nil {
		z = n.zone
	} else if z = r.snapshot.zoneOf(full); z == nil {
		r.msg.Rcode = dns.RcodeRefused
		r.explain(dns.ExtendedErrorCodeNotAuthoritative, "")
		return
	}
	r.msg.Authoritative = true
	switch {
	case n == nil:
		r.msg.Rcode = dns.RcodeNameError
	case n.unsure:
		r.msg.Authoritative = false
		r.msg.Rcode = dns.RcodeServerFailure
		r.explain(dns.ExtendedErrorCodeNotReady, "the endpoints' first checks are under way")
		return
	default:
		r.records(q, n)
	}
	if len(r.msg.Answer) == 0 {
		r.msg.Ns = []dns.RR{z.negative}
	}
}

// records answers for a name that exists; without a record of the type asked for the answer stays empty (NODATA).
func (r *reply) records(q dns.Question, n *name) {
	apex := lower(q.Name) == n.zone.name
	switch {
	case q.Qtype == dns.TypeANY: // RFC 8482 section 4.2
		r.msg.Answer = []dns.RR{&dns.HINFO{Hdr: header(q.Name, dns.TypeHINFO, n.zone.ttl), Cpu: "RFC8482"}}
	case q.Qtype == dns.TypeSOA && apex:
		r.msg.Answer = []dns.RR{n.zone.soa}
	case q.Qtype == dns.TypeNS && apex:
		r.msg.Answer = n.zone.ns
		r.msg.Extra = append(r.msg.Extra, n.zone.glue...)
	case q.Qtype == dns.TypeA, q.Qtype == dns.TypeAAAA:
		r.addresses(q, n)
	}
}

func (r *reply) addresses(q dns.Question, n *name) {
	for _, a := range n.addresses {
		if a.Is4() == (q.Qtype == dns.TypeA) {
			r.msg.Answer = append(r.msg.Answer, addressRecord(q.Name, a, n.zone.ttl))
		}
	}
	p := n.pickers[q.Qtype]
	if p == nil {
		return
	}
	ttl := n.zone.ttl
	if why := p.Panic(); why != "" {
		ttl = min(ttl, seconds(panicTTL))
		r.explain(dns.ExtendedErrorCodeOther, why)
	}
	var buf [16]netip.Addr
	for _, a := range p.Pick(buf[:0]) {
		r.msg.Answer = append(r.msg.Answer, addressRecord(q.Name, a, ttl))
	}
}
