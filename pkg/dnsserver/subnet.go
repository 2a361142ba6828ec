package dnsserver

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// How much of an address tells clients apart: a site, and what RFC 7871 section 11.1 lets resolvers tell.
const (
	clientBits6 = 56
	clientBits4 = 24
)

// A client is who asked, and what its query says beside the question.
type client struct {
	address  netip.Addr
	proto    proto
	patience time.Duration // of TCP: how long the connection may be idle
	options
	used bool // the answer hangs on prefix
	view int  // that it has
	peek bool // it only wants to know: nobody's turn is taken

	// What becomes of its question, as in an exchange:
	place, picked uint16
	prohibited    bool
	why           string
	stale         *staleness
}

// note keeps whose endpoints the answer holds.
func (c *client) note(n *cell, sv *service, none bool) {
	if !none {
		c.picked, c.why = n.number, sv.Policy.String()
	}
}

// pick appends what is picked for the client: it takes a turn, or looks whose it is.
func (c *client) pick(p *steering.Picker, dst []netip.Addr) []netip.Addr {
	var from netip.Prefix
	if p.Policy() == steering.Hash && !p.Empty() {
		from = c.prefix()
	}
	if c.peek {
		return p.Peek(dst, from)
	}
	return p.Pick(dst, from)
}

// subnet is a client subnet option (RFC 7871): for whom a resolver asks.
type subnet struct {
	present bool
	source  uint8
	family  uint16
	addr    netip.Addr // not valid in family 0
}

// prefix is what answers by Hash go by: the resolver's client where the resolver tells it, else the resolver.
func (c *client) prefix() netip.Prefix {
	c.used = true
	if c.subnet.present && c.subnet.source > 0 {
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

// answeredScope is the SCOPE of the answer. 0: it is for everybody (RFC 7871 section 7.2.1).
func (c *client) answeredScope() uint8 {
	if !c.used {
		return 0
	}
	return c.subnet.scope()
}

// octets is how many the option's address has: as many as its prefix needs.
func (s *subnet) octets() int { return (int(s.source) + 7) / 8 }

// option is the answer to the option.
func (s *subnet) option(b []byte, scope uint8) []byte {
	b = binary.BigEndian.AppendUint16(b, dns.EDNS0SUBNET)
	b = binary.BigEndian.AppendUint16(b, uint16(4+s.octets()))
	b = binary.BigEndian.AppendUint16(b, s.family)
	b = append(b, s.source, scope)
	if s.family == 0 {
		return b
	}
	a := s.addr.As16()
	begin := 0
	if s.family == 1 {
		begin = 12
	}
	return append(b, a[begin:begin+s.octets()]...)
}

// read reads the option's data (RFC 7871 section 6): the address has exactly as many octets as it needs, none of its bits
// after the prefix is set, and there is one option at most.
func (s *subnet) read(b []byte) fault {
	if s.present || len(b) < 4 || b[3] != 0 {
		return malformed
	}
	n := subnet{present: true, source: b[2], family: binary.BigEndian.Uint16(b)}
	var full [16]byte
	size := 0
	switch n.family {
	case 0:
	case 1:
		size = 4
	case 2:
		size = 16
	default:
		return unfamiliar
	}
	if int(n.source) > 8*size || len(b)-4 != n.octets() {
		return malformed
	}
	copy(full[:], b[4:])
	switch size {
	case 4:
		n.addr = netip.AddrFrom4([4]byte(full[:4]))
	case 16:
		n.addr = netip.AddrFrom16(full)
	}
	if p, err := n.addr.Prefix(int(n.source)); size > 0 && (err != nil || p.Addr() != n.addr) {
		return malformed
	}
	*s = n
	return faultless
}
