package dnsserver

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// keepaliveUnit is that of the timeout of edns-tcp-keepalive (RFC 7828 section 3.1).
const keepaliveUnit = 100 * time.Millisecond

// options are what an answer hangs on of a query's OPT record. Both paths read them here, from the wire: the library would
// refuse what it does not know, and allocates. All other options are nobody's business (RFC 6891 section 6.1.2).
type options struct {
	edns      bool // there is an OPT record
	do        bool // DNSSEC OK, which goes back as it came (RFC 3225 section 3)
	fault     fault
	nsid      bool // asked for (RFC 5001)
	keepalive bool // asked for (RFC 7828)
	subnet    subnet
	cookie    cookie
}

// fault is what is wrong with options.
type fault uint8

const (
	faultless  fault = iota
	malformed        // FORMERR
	unfamiliar       // a client subnet of a family that is not ours: REFUSED (RFC 7871 section 7.1.2)
	unversed         // of another version than 0, so that nobody here knows what they mean: BADVERS (RFC 6891 section 6.1.3)
)

// read reads the options of an OPT record.
func (o *options) read(b []byte) {
	for len(b) > 0 && o.fault != malformed {
		if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint16(b[2:])) {
			o.fault = malformed
			return
		}
		end := 4 + int(binary.BigEndian.Uint16(b[2:]))
		o.readOne(binary.BigEndian.Uint16(b), b[4:end])
		b = b[end:]
	}
}

func (o *options) readOne(code uint16, data []byte) {
	switch code {
	case dns.EDNS0NSID:
		o.nsid = true
	case dns.EDNS0TCPKEEPALIVE:
		o.keepalive = true
	case dns.EDNS0SUBNET:
		if f := o.subnet.read(data); f != faultless {
			o.fault = f
		}
	case dns.EDNS0COOKIE:
		if !o.cookie.read(data) {
			o.fault = malformed
		}
	}
}

// scan reads the options of a message of any kind, which may be broken: it then finds what it can.
func (o *options) scan(query []byte) {
	*o = options{}
	if begin, end := findOPT(query); end > 0 {
		o.edns, o.do = true, query[begin-4]&0x80 != 0
		if query[begin-5] != 0 {
			o.fault = unversed
			return
		}
		o.read(query[begin:end])
	}
}

// findOPT returns where the options of the first OPT record of the additional section are; end is 0 when there is none.
func findOPT(query []byte) (begin, end int) {
	if len(query) < headerSize {
		return 0, 0
	}
	at, before := headerSize, 0 // records before the additional section
	for i := range 3 {
		before += int(binary.BigEndian.Uint16(query[4+2*i:]))
	}
	questions := int(binary.BigEndian.Uint16(query[4:]))
	for i := range before + int(binary.BigEndian.Uint16(query[10:])) {
		if at = skipName(query, at); at == 0 {
			return 0, 0
		}
		if i < questions {
			at += 4
			continue
		}
		if len(query) < at+10 {
			return 0, 0
		}
		begin, end = at+10, at+10+int(binary.BigEndian.Uint16(query[at+8:]))
		switch {
		case len(query) < end:
			return 0, 0
		case i >= before && binary.BigEndian.Uint16(query[at:]) == dns.TypeOPT:
			return begin, end
		}
		at = end
	}
	return 0, 0
}

// skipName returns where a name ends; 0: it does not.
func skipName(b []byte, at int) int {
	for at < len(b) {
		switch label := int(b[at]); {
		case label == 0:
			return at + 1
		case label >= pointer16>>8:
			return at + 2
		case label > 63:
			return 0
		default:
			at += 1 + label
		}
	}
	return 0
}

// unread is the query as the library may read it: with options that mean nothing to it. There is no sense in its opinion of what we
// read ourselves or ignore.
func unread(query []byte) []byte {
	begin, end := findOPT(query)
	if begin == end {
		return query
	}
	query = slices.Clone(query)
	for at := begin; at+4 <= end; at += 4 + int(binary.BigEndian.Uint16(query[at+2:])) {
		binary.BigEndian.PutUint16(query[at:], dns.EDNS0LOCALSTART)
	}
	return query
}

// answered are the options of an answer, for the library.
func (c *client) answered(site string, why *dns.EDNS0_EDE) (all []dns.EDNS0) {
	if c.nsid {
		all = append(all, &dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte(site))})
	}
	if why != nil {
		all = append(all, why)
	}
	if c.stale != nil {
		all = append(all, extended(dns.ExtendedErrorCodeStaleAnswer, c.stale.text))
	}
	if c.subnet.present {
		all = append(all, &dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: c.subnet.option(nil, c.answeredScope())[4:]})
	}
	if c.cookie.sealed {
		all = append(all, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(c.cookie.back[:])})
	}
	if c.keepalive && c.patience > 0 {
		all = append(all, &dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE, Timeout: uint16(c.patience / keepaliveUnit)})
	}
	return all
}
