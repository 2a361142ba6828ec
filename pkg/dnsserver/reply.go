package dnsserver

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

const (
	headerSize = 12
	// udpPayload is what fits into one packet on every path: DNS Flag Day 2020, RFC 9715 section 3.
	udpPayload = 1232
)

// proto is the transport of a query.
type proto int

const (
	udp proto = iota
	tcp
)

// String returns "udp" or "tcp".
func (p proto) String() string {
	if p == tcp {
		return "tcp"
	}
	return "udp"
}

// An exchange is what is to be told of one query: either dropped, for a reason, or answered.
type exchange struct {
	rcode      int
	qtype      uint16
	place      uint16 // zone and view, as numbers has them
	picked     uint16 // the service whose endpoints were picked, as numbers has it; 0: none were
	dropped    dropReason
	prohibited bool   // because of who asks
	why        string // for the query log; empty: nothing to tell
}

// dropReason tells why a message got no answer.
type dropReason uint8

const (
	answered dropReason = iota
	notAQuery
	tooShort
	noPort
	limited
	broken
)

// reply makes the answer to one message from the wire, nil when none must be sent. It may use buf for it. The options of the query
// have been read into c.
func (s *snapshot) reply(buf, query []byte, c *client) ([]byte, exchange) {
	c.place, c.picked, c.prohibited, c.why, c.stale = 0, 0, false, "", nil // of the query before
	switch {
	case len(query) < headerSize:
		return nil, exchange{dropped: tooShort}
	case query[2]&0x80 != 0:
		// Answering an answer could go on for ever (RFC 1035 section 7.3).
		return nil, exchange{dropped: notAQuery}
	case query[2]>>3&0xf != dns.OpcodeQuery:
		return c.bare(buf, query, dns.RcodeNotImplemented)
	case c.fault == unversed:
		return c.otherVersion(buf, query)
	case c.cookie.sealed && onlyOPT(query):
		return c.cookieAlone(buf, query)
	case binary.BigEndian.Uint16(query[4:]) != 1 || c.fault == malformed:
		return c.bare(buf, query, dns.RcodeFormatError)
	}
	q, opt := parse(query)
	if q == nil {
		return c.bare(buf, query, dns.RcodeFormatError)
	}
	m := s.message(q, opt, room(opt, c.proto), c)
	x := exchange{qtype: q.Question[0].Qtype, rcode: m.Rcode, place: c.place, picked: c.picked, prohibited: c.prohibited, why: c.why}
	out, err := m.PackBuffer(buf)
	if err != nil {
		return c.bare(buf, query, dns.RcodeServerFailure)
	}
	return out, x
}

// bare answers with nothing but a header, to what could not or should not be read, and with an OPT record where one was seen (RFC 6891
// section 6.1.1). It cannot be seen behind something that cannot be read: then a client may take it that we do not know of EDNS, and asks without.
func (c *client) bare(buf, query []byte, rcode int) ([]byte, exchange) {
	q := question{client: *c}
	return q.brief(buf, query, rcode, false), exchange{rcode: rcode}
}

// otherVersion tells that this server speaks EDNS of version 0 alone (RFC 6891 section 6.1.3), whatever else is in the query. Its
// question comes back.
func (c *client) otherVersion(buf, query []byte) ([]byte, exchange) {
	q := question{client: *c}
	q.readAlone(query)
	return q.brief(buf, query, dns.RcodeBadVers, false), exchange{qtype: q.qtype, rcode: dns.RcodeBadVers}
}

// parse reads a query with one question, and its OPT record, nil when it has none. Of what is malformed it returns nil.
func parse(query []byte) (*dns.Msg, *dns.OPT) {
	q := new(dns.Msg)
	if !wholeQuestion(query) || q.Unpack(unread(query)) != nil || !complete(q, query) {
		return nil, nil
	}
	opt, ok := onlyOption(q)
	if !ok {
		return nil, nil
	}
	return q, opt
}

// wholeQuestion tells that the first question is all there. Its name is the first in the message: there is nothing that
// it could be compressed with. (Unpack would let a question end early.)
func wholeQuestion(query []byte) bool {
	for i := headerSize; i < len(query); {
		switch label := int(query[i]); {
		case label == 0:
			return len(query) >= i+1+4
		case label > 63:
			return false
		default:
			i += 1 + label
		}
	}
	return false
}

// complete tells that q has as many records as its header says. (Unpack would let a message end early.)
func complete(q *dns.Msg, query []byte) bool {
	for i, n := range []int{len(q.Question), len(q.Answer), len(q.Ns), len(q.Extra)} {
		if int(binary.BigEndian.Uint16(query[4+2*i:])) != n {
			return false
		}
	}
	return true
}

// onlyOption returns the query's OPT record, nil when it has none. Two are a format error, as is one that is not the
// root's (RFC 6891 section 6.1.1).
func onlyOption(q *dns.Msg) (opt *dns.OPT, ok bool) {
	for _, rr := range q.Extra {
		if o, is := rr.(*dns.OPT); is {
			if opt != nil || o.Hdr.Name != "." {
				return nil, false
			}
			opt = o
		}
	}
	return opt, true
}

// room returns how long the answer may be.
func room(opt *dns.OPT, p proto) int {
	switch {
	case p == tcp:
		return dns.MaxMsgSize
	case opt == nil:
		return dns.MinMsgSize
	default:
		return min(max(int(opt.UDPSize()), dns.MinMsgSize), udpPayload)
	}
}

// message answers a well-formed query.
func (s *snapshot) message(q *dns.Msg, opt *dns.OPT, limit int, c *client) *dns.Msg {
	m := &dns.Msg{Question: q.Question, Compress: true}
	m.Id, m.Response, m.RecursionDesired = q.Id, true, q.RecursionDesired
	if opt == nil {
		s.answer(m, c)
		return fit(m, limit)
	}
	o := &dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
	o.SetUDPSize(udpPayload)
	if opt.Do() {
		o.SetDo()
	}
	var why *dns.EDNS0_EDE
	if c.fault == unfamiliar {
		m.Rcode = dns.RcodeRefused
	} else {
		why = s.answer(m, c)
	}
	o.Option = c.answered(s.site, why)
	// Glue is shared by all answers: it must not be appended to.
	m.Extra = append(m.Extra[:len(m.Extra):len(m.Extra)], o)
	return fit(m, limit)
}

// fit leaves out what is not needed and then cuts, with TC set, until m has at most limit octets.
func fit(m *dns.Msg, limit int) *dns.Msg {
	if m.Len() <= limit {
		return m
	}
	opt := m.IsEdns0()
	m.Extra = nil // glue that does not fit is not a truncation (RFC 9471 speaks of referrals only)
	if opt != nil {
		m.Extra = []dns.RR{opt}
		silence(opt)
	}
	if m.Len() > limit {
		m.Truncate(limit)
	}
	return m
}

// silence leaves out the texts of extended errors; their codes stay.
func silence(opt *dns.OPT) {
	for _, o := range opt.Option {
		if ede, ok := o.(*dns.EDNS0_EDE); ok {
			ede.ExtraText = ""
		}
	}
}
