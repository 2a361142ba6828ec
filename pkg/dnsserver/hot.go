package dnsserver

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// The hot path answers what nearly everybody asks - addresses of services, and names or types that do not exist - from octets
// to octets, without the library, a lock or an allocation. What it does not understand, or what needs words, is the full
// path's; for what both can answer they answer the same (FuzzPaths).

const (
	optSize    = 11
	recordHead = 12 // of a record whose name is a pointer, before its data
	pointer16  = 0xc000
)

// hot answers a query, of which q was read, into out, which has room for udpPayload octets. Nil: the full path has to answer.
func (s *snapshot) hot(out, query []byte, q *question) ([]byte, exchange) {
	if !s.synced || q.qtype == dns.TypeAXFR || q.qtype == dns.TypeIXFR {
		return nil, exchange{}
	}
	n, c := s.wire.find(q.name[:q.size]), s.access.of(q.address)
	q.view = c.view
	if n == nil {
		return s.hotMissing(out, query, q, c)
	}
	out, x := n.hotKnown(out, query, q, c)
	x.place = s.placeOf(n.zone, c.view)
	return out, x
}

// hotKnown answers for a name that exists.
func (n *node) hotKnown(out, query []byte, q *question, c *class) ([]byte, exchange) {
	switch {
	case q.qtype == dns.TypeDS && n.kind == apex:
		return nil, exchange{} // perhaps it is for the zone above
	case !c.mayAsk(n.zone, n):
		return n.zone.hotRefused(out, query, q)
	case q.qtype == dns.TypeAAAA:
		return n.hotAddresses(out, query, q, steering.IPv6)
	case q.qtype == dns.TypeA:
		return n.hotAddresses(out, query, q, steering.IPv4)
	case n.binds(q.qtype):
		return n.hotBindings(out, query, q)
	case n.kind == steered && (q.qtype == dns.TypeHTTPS || q.qtype == dns.TypeSVCB):
		return n.zone.hotNothing(out, query, q, dns.RcodeSuccess, n.stale())
	default:
		return nil, exchange{}
	}
}

// hotMissing answers NXDOMAIN, but not for what may be the name of a pod, its pointer, an instance, a place, what tells of one of these (such
// as _http._tcp.LABEL.pin.NAME), or a port: those are not in the table.
func (s *snapshot) hotMissing(out, query []byte, q *question, c *class) ([]byte, exchange) {
	rest := q.name[:q.size]
	for depth := 1; len(rest) > 1; depth++ {
		label := rest[1 : 1+int(rest[0])]
		rest = rest[1+int(rest[0]):]
		n := s.wire.find(rest)
		switch {
		case n == nil:
		case !c.mayAsk(n.zone, nil):
			out, x := n.zone.hotRefused(out, query, q)
			x.place = s.placeOf(n.zone, c.view)
			return out, x
		case n.kind == steered && (depth == 1 || depth == 2 && isPlaceWord(label) || depth <= 4 && q.name[1] == '_'), n.kind == instances, n.kind == scheme, n.zone.reverse:
			return nil, exchange{}
		default:
			out, x := n.zone.hotNothing(out, query, q, dns.RcodeNameError, nil)
			x.place = s.placeOf(n.zone, c.view)
			return out, x
		}
	}
	return nil, exchange{}
}

// hotAddresses answers with addresses of a family, and with the zone's SOA record where there are none.
func (n *node) hotAddresses(out, query []byte, q *question, f steering.Family) ([]byte, exchange) {
	var room [maxAnswers]netip.Addr
	addrs, ttl, x := room[:0], n.zone.ttl, exchange{qtype: q.qtype, rcode: dns.RcodeSuccess}
	stale := n.stale()
	switch n.kind {
	case steered:
		sv := n.cell.load().in(q.view)
		if sv == nil {
			break
		}
		p := sv.pickers[f]
		if p.Panic() != "" || !q.fit(p.Size()*addressSize(f), n.zone, stale) {
			return nil, exchange{} // before a turn is taken: the full path takes one
		}
		addrs, ttl = q.pick(p, addrs), n.zone.keep(p)
		x.picked, x.why = n.cell.number, p.Policy().String()
	case healthName:
		addrs = ofFamily(addrs, n.zone.addresses, f)
	case nameServer:
		addrs = ofFamily(addrs, n.addresses, f)
	default:
		return nil, exchange{}
	}
	switch {
	case len(addrs) == 0:
		return n.zone.hotNothing(out, query, q, dns.RcodeSuccess, stale)
	case n.kind != steered && !q.fit(len(addrs)*addressSize(f), n.zone, stale):
		return nil, exchange{}
	}
	out = q.begin(out, query, dns.RcodeSuccess, len(addrs), 0)
	out = q.addresses(out, q.qtype, ttl, addrs)
	return q.finish(out, n.zone.nsid, stale.wire()), x
}

// addressSize is that of an address record under a name that was there before.
func addressSize(f steering.Family) int {
	if f == steering.IPv4 {
		return recordHead + 4
	}
	return recordHead + 16
}

// fit tells whether records of a size fit behind the question, with the OPT record.
func (q *question) fit(records int, z *zone, stale *staleness) bool {
	return q.end+records+q.optLength(z.nsid, stale.wire()) <= q.limit
}

// addresses appends a record for each of addrs under the name that is asked for.
func (q *question) addresses(out []byte, rrtype uint16, ttl uint32, addrs []netip.Addr) []byte {
	rdata := 16
	if rrtype == dns.TypeA {
		rdata = 4
	}
	begin := len(out)
	for i, a := range addrs {
		if i == 0 {
			out = q.record(out, rrtype, ttl, rdata)
		} else {
			out = append(out, out[begin:begin+recordHead]...) // they begin alike
		}
		b := a.As16()
		out = append(out, b[16-rdata:]...)
	}
	return out
}

// record appends the beginning of a record under the name that is asked for.
func (q *question) record(out []byte, rrtype uint16, ttl uint32, rdata int) []byte {
	out = binary.BigEndian.AppendUint16(out, pointer16|headerSize)
	out = binary.BigEndian.AppendUint16(out, rrtype)
	out = binary.BigEndian.AppendUint16(out, dns.ClassINET)
	out = binary.BigEndian.AppendUint32(out, ttl)
	return binary.BigEndian.AppendUint16(out, uint16(rdata))
}

func ofFamily(dst, addrs []netip.Addr, f steering.Family) []netip.Addr {
	for _, a := range addrs {
		if a.Is4() == (f == steering.IPv4) {
			dst = append(dst, a)
		}
	}
	return dst
}

// hotNothing answers that there is nothing of the kind, for as long as the zone's SOA record says.
func (z *zone) hotNothing(out, query []byte, q *question, rcode int, stale *staleness) ([]byte, exchange) {
	a := z.authority.Load()
	if !q.fit(len(a.wire), z, stale) {
		return nil, exchange{}
	}
	out = q.begin(out, query, rcode, 0, 1)
	begin := len(out)
	out = append(out, a.wire...)
	// The zone's name is the end of the question's.
	apex := uint16(pointer16 | headerSize + q.size - z.wireSize)
	for _, at := range a.pointers {
		binary.BigEndian.PutUint16(out[begin+at:], apex)
	}
	return q.finish(out, z.nsid, stale.wire()), exchange{qtype: q.qtype, rcode: rcode}
}

// begin writes the header and the question, whose case comes back as it came.
func (q *question) begin(out, query []byte, rcode, answers, authorities int) []byte {
	out = append(out[:0], query[:q.end]...)
	out[2] = 0x84 | query[2]&1 // QR, AA, and the query's RD
	out[3] = byte(rcode)
	out[7], out[9], out[11] = byte(answers), byte(authorities), 0
	return out
}

// finish appends the OPT record for clients that sent one; its options are in the full path's order. why is an extended error, nil for
// none.
func (q *question) finish(out, nsid, why []byte) []byte {
	if !q.edns {
		return out
	}
	out[11] = 1
	var flags byte
	if q.do {
		flags = 0x80
	}
	out = append(out, 0, 0, byte(dns.TypeOPT), udpPayload>>8, udpPayload&0xff, 0, 0, flags, 0, 0, 0)
	begin := len(out)
	if q.nsid {
		out = append(out, nsid...)
	}
	out = append(out, why...)
	if q.subnet.present {
		out = q.subnet.option(out, q.answeredScope())
	}
	if q.cookie.sealed {
		out = q.cookie.option(out)
	}
	binary.BigEndian.PutUint16(out[begin-2:], uint16(len(out)-begin))
	return out
}

// optLength is how many octets finish appends.
func (q *question) optLength(nsid, why []byte) int {
	if !q.edns {
		return 0
	}
	n := optSize + len(why)
	if q.nsid {
		n += len(nsid)
	}
	if q.subnet.present {
		n += 8 + q.subnet.octets()
	}
	if q.cookie.sealed {
		n += 4 + cookieSize
	}
	return n
}

// compileWire prepares a zone for the hot path.
func (z *zone) compileWire(site string, serial uint32) {
	z.wireSize = len(wireName(z.name))
	z.nsid = binary.BigEndian.AppendUint16(nil, dns.EDNS0NSID)
	z.nsid = binary.BigEndian.AppendUint16(z.nsid, uint16(len(site)))
	z.nsid = append(z.nsid, site...)
	z.authority.Store(z.newAuthority(serial))
}

// newAuthority makes the SOA record. On the wire it is as it comes after a question that ends with the zone's name;
// pointers tell where that name is to be pointed to.
func (z *zone) newAuthority(serial uint32) *authority {
	negative := min(z.ttl, uint32(negativeTTL/time.Second))
	a := &authority{soa: &dns.SOA{
		Hdr: header(z.name, dns.TypeSOA, negative), Ns: z.ns[0].(*dns.NS).Ns, Mbox: z.mailbox(), Serial: serial,
		Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: negative,
	}}
	brief := *a.soa
	brief.Hdr.Ttl, brief.Minttl = min(negative, briefTTL), min(negative, briefTTL) // resolvers take the smaller one (RFC 2308 section 5)
	a.brief = &brief
	a.appendName(z, z.name)
	a.wire = binary.BigEndian.AppendUint16(a.wire, dns.TypeSOA)
	a.wire = binary.BigEndian.AppendUint16(a.wire, dns.ClassINET)
	a.wire = binary.BigEndian.AppendUint32(a.wire, a.soa.Hdr.Ttl)
	length := len(a.wire)
	a.wire = append(a.wire, 0, 0)
	a.appendName(z, a.soa.Ns)
	a.appendName(z, a.soa.Mbox)
	for _, n := range []uint32{a.soa.Serial, a.soa.Refresh, a.soa.Retry, a.soa.Expire, a.soa.Minttl} {
		a.wire = binary.BigEndian.AppendUint32(a.wire, n)
	}
	binary.BigEndian.PutUint16(a.wire[length:], uint16(len(a.wire)-length-2))
	return a
}

// appendName appends a name whose end, if it is the zone's, is a pointer that is set with each answer.
func (a *authority) appendName(z *zone, name string) {
	wire := wireName(name)
	if z.wireSize == 1 || !dns.IsSubDomain(z.name, name) {
		a.wire = append(a.wire, wire...)
		return
	}
	a.wire = append(a.wire, wire[:len(wire)-z.wireSize]...)
	a.pointers = append(a.pointers, len(a.wire))
	a.wire = append(a.wire, 0, 0)
}

// wireName is a valid name as on the wire, in the case that it has.
func wireName(name string) []byte {
	b := make([]byte, maxWireName)
	n, err := dns.PackDomainName(name, b, 0, nil, false)
	if err != nil {
		panic("dnsserver: " + name + " was not checked") // checkName precedes
	}
	return b[:n]
}
