package dnsserver

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// A staleness is why what is known of a service may be old, as answers tell it (RFC 8914 section 4.4). It is never changed.
type staleness struct {
	text   string
	option []byte // on the wire
}

// Stale replaces that of the content: why what is known of services may be old, by name. It costs nothing but to tell so: turns and whatever
// else is known stay. Safe for concurrent use.
func (s *Server) Stale(why map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.current.Load(); now != nil {
		now.doubt(why)
	}
}

// doubt sets why each service may be old. All that are for the same reason share it.
func (s *snapshot) doubt(why map[string]string) {
	shared := map[string]*staleness{"": nil}
	for name, c := range s.services {
		text := why[name]
		one, known := shared[text]
		if !known {
			one = &staleness{text, errorOption(dns.ExtendedErrorCodeStaleAnswer, text)}
			shared[text] = one
		}
		c.stale.Store(one)
		for _, v := range c.semantic {
			if v != nil {
				v.stale.Store(one)
			}
		}
	}
}

// stale tells why what is known of the name may be old; nil: it is not.
func (n *node) stale() *staleness {
	switch {
	case n.cell != nil:
		return n.cell.stale.Load()
	case n.owner != nil:
		return n.owner.stale.Load()
	default:
		return nil
	}
}

// words may be asked of nil.
func (s *staleness) words() string {
	if s == nil {
		return ""
	}
	return s.text
}

// wire may be asked of nil.
func (s *staleness) wire() []byte {
	if s == nil {
		return nil
	}
	return s.option
}

// errorOption is an extended error (RFC 8914 section 2) on the wire.
func errorOption(code uint16, text string) []byte {
	b := binary.BigEndian.AppendUint16(nil, dns.EDNS0EDE)
	b = binary.BigEndian.AppendUint16(b, uint16(2+len(text)))
	b = binary.BigEndian.AppendUint16(b, code)
	return append(b, text...)
}
