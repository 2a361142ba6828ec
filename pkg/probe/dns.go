package probe

import (
	crand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// udpSize is the answer that queries allow, in bytes: what passes every path unfragmented (DNS flag day 2020).
const udpSize = 1232

// A Question is what DNS queries ask, in class IN.
type Question struct {
	Name string // absolute or not: the root is appended
	Type string // e.g. AAAA
}

// message returns a query with EDNS(0) that asks for the site by NSID (RFC 5001).
func (q Question) message() (*dns.Msg, error) {
	kind, ok := dns.StringToType[strings.ToUpper(q.Type)]
	if !ok || kind == dns.TypeOPT {
		return nil, fmt.Errorf("DNS type %q: unknown: want one as AAAA, A, SOA, TXT", q.Type)
	}
	if _, ok := dns.IsDomainName(q.Name); !ok || q.Name == "" {
		return nil, fmt.Errorf("DNS name %q: not a domain name", q.Name)
	}
	m := new(dns.Msg).SetQuestion(dns.Fqdn(q.Name), kind)
	m.RecursionDesired = false // the service is authoritative
	m.SetEdns0(udpSize, false)
	opt := m.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
	return m, nil
}

// queries is DNS as a protocol. Ids count on from a random one: id n answers the newest probe that can have it.
type queries struct {
	question dns.Question
	wire     []byte // of a query; its first two bytes are the id
	base     uint16 // id of probe 0
	site     []byte
}

var _ protocol = (*queries)(nil)

func newQueries(q Question) (*queries, error) {
	m, err := q.message()
	if err != nil {
		return nil, err
	}
	wire, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("DNS name %q: %w", q.Name, err)
	}
	var base [2]byte
	_, _ = crand.Read(base[:]) // never fails
	return &queries{question: m.Question[0], wire: wire, base: binary.BigEndian.Uint16(base[:])}, nil
}

func (q *queries) encode(buf []byte, seq uint64, _ int64) []byte {
	buf = append(buf[:0], q.wire...)
	binary.BigEndian.PutUint16(buf, q.base+uint16(seq))
	return buf
}

func (q *queries) decode(packet []byte, newest uint64) (answer, bool) {
	var m dns.Msg
	if m.Unpack(packet) != nil || !answers(&m, q.question) {
		return answer{}, false
	}
	age := uint64(uint16(newest) - (m.Id - q.base)) // how many probes ago, modulo the ids
	if age > newest {
		return answer{}, false
	}
	q.site = append(q.site[:0], messageSite(&m)...)
	return answer{seq: newest - age, site: q.site, failed: !successful(&m)}, true
}

// answers tells whether a message is a response to the question.
func answers(m *dns.Msg, q dns.Question) bool {
	return m.Response && m.Opcode == dns.OpcodeQuery && len(m.Question) == 1 &&
		m.Question[0].Qtype == q.Qtype && m.Question[0].Qclass == q.Qclass &&
		strings.EqualFold(m.Question[0].Name, q.Name)
}

// successful tells whether a response carries what was asked for.
func successful(m *dns.Msg) bool { return m.Rcode == dns.RcodeSuccess && len(m.Answer) > 0 }

// messageSite returns the site that a response names by NSID.
func messageSite(m *dns.Msg) string {
	if opt := m.IsEdns0(); opt != nil {
		for _, option := range opt.Option {
			if id, ok := option.(*dns.EDNS0_NSID); ok {
				nsid, _ := hex.DecodeString(id.Nsid) // miekg/dns wrote it
				return nsidSite(nsid)
			}
		}
	}
	return noSite
}
