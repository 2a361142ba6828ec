package dnsserver

import (
	"encoding/binary"
	"net/netip"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// How much of an address tells clients apart: a site, and what RFC 7871 section 11.1 lets resolvers tell.
const (
	clientBits6 = 56
	clientBits4 = 24
)

// A client is who asked.
type client struct {
	address netip.Addr
	subnet  *subnet // nil: the query has no client subnet option
	used    bool    // the answer hangs on prefix
	view    int     // that it has
	peek    bool    // it only wants to know: nobody's turn is taken
}

// pick takes a turn, or looks whose it is.
func (c *client) pick(p *steering.Picker, dst []netip.Addr, from netip.Prefix) []netip.Addr {
	if c.peek {
		return p.Peek(dst, from)
	}
	return p.Pick(dst, from)
}

// subnet is a client subnet option (RFC 7871): for whom a resolver asks.
type subnet struct {
	family uint16
	source uint8
	addr   netip.Addr // not valid in family 0
}

// prefix is what answers by Hash go by: the resolver's client where the resolver tells it, else the resolver.
func (c *client) prefix() netip.Prefix {
	c.used = true
	if c.subnet != nil && c.subnet.source > 0 {
		p, _ := c.subnet.addr.Prefix(int(c.subnet.scope()))
		return p
	}
	a := c.address.Unmap()
	p, _ := a.WithZone("").Prefix(clientBits(a))
	return p
}

// scope is how many of the bits that were told an answer by Hash hangs on.
func (s *subnet) scope() uint8 {
	if s.source == 0 {
		return 0
	}
	return min(s.source, uint8(clientBits(s.addr)))
}

func clientBits(a netip.Addr) int {
	if a.Is4() {
		return clientBits4
	}
	return clientBits6
}

// option is the answer to the client subnet option. SCOPE 0: the answer is for everybody (RFC 7871 section 7.2.1).
func (c *client) option() *dns.EDNS0_SUBNET {
	o := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: c.subnet.family, SourceNetmask: c.subnet.source, Address: c.subnet.addr.AsSlice()}
	if c.used {
		o.SourceScope = c.subnet.scope()
	}
	return o
}

// subnetOf reads the client subnet option of a query that the library took; nil: it has none. The library is lenient with
// it, RFC 7871 section 7.1.1 is not: ok is false when it is malformed, or there twice.
func subnetOf(query []byte, opt *dns.OPT) (s *subnet, ok bool) {
	n := 0
	if opt != nil {
		for _, o := range opt.Option {
			if o.Option() == dns.EDNS0SUBNET {
				n++
			}
		}
	}
	switch n {
	case 0:
		return nil, true
	case 1:
		return readSubnet(optionData(query, dns.EDNS0SUBNET))
	default:
		return nil, false
	}
}

// readSubnet reads the option's data (RFC 7871 section 6): the address has exactly as many octets as it needs, and none of
// its bits after the prefix is set.
func readSubnet(b []byte) (*subnet, bool) {
	if len(b) < 4 || b[3] != 0 {
		return nil, false
	}
	s := &subnet{family: binary.BigEndian.Uint16(b), source: b[2]}
	size := map[uint16]int{1: 4, 2: 16}[s.family]
	if int(s.source) > 8*size || len(b)-4 != (int(s.source)+7)/8 {
		return nil, false
	}
	if s.family == 0 {
		return s, true
	}
	full := make([]byte, size)
	copy(full, b[4:])
	s.addr, _ = netip.AddrFromSlice(full)
	p, err := s.addr.Prefix(int(s.source))
	return s, err == nil && p.Addr() == s.addr
}

// optionData returns the data of the first option with that code, as it came; the query is well-formed.
func optionData(query []byte, code uint16) []byte {
	at, records := headerSize, 0
	for i := range 4 {
		records += int(binary.BigEndian.Uint16(query[4+2*i:]))
	}
	for i := range records {
		_, next, err := dns.UnpackDomainName(query, at)
		if err != nil {
			return nil
		}
		if i == 0 { // the question
			at = next + 4
			continue
		}
		if len(query) < next+10 {
			return nil
		}
		data := query[next+10:]
		length := int(binary.BigEndian.Uint16(query[next+8:]))
		if length > len(data) {
			return nil
		}
		if binary.BigEndian.Uint16(query[next:]) == dns.TypeOPT {
			return option(data[:length], code)
		}
		at = next + 10 + length
	}
	return nil
}

func option(options []byte, code uint16) []byte {
	for len(options) >= 4 {
		length := int(binary.BigEndian.Uint16(options[2:]))
		if len(options) < 4+length {
			return nil
		}
		if binary.BigEndian.Uint16(options) == code {
			return options[4 : 4+length]
		}
		options = options[4+length:]
	}
	return nil
}
