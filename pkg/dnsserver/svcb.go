package dnsserver

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// Service bindings (RFC 9460) tell in one answer what a client needs to reach a pod itself: its address and its port.

// isHTTP tells whether a client may use HTTPS with the service: its endpoints say so by a protocol of it.
func isHTTP(s steering.Service) bool {
	return slices.ContainsFunc(s.ALPN, func(id string) bool { return id == "h2" || id == "h3" || id == "http/1.1" })
}

// schemes are the scheme labels below a service (RFC 9460 section 2.3), each with the type of record that belongs there. http has none
// of its own: its clients ask for HTTPS records (section 9.1).
func schemes(s steering.Service) map[string]uint16 {
	all := make(map[string]uint16)
	if s.PortName != "" && s.PortName != "http" && s.PortName != "https" {
		all["_"+s.PortName+"."+s.Name] = dns.TypeSVCB
	}
	if isHTTP(s) {
		all["_https."+s.Name] = dns.TypeHTTPS
	}
	return all
}

// addSchemes adds the scheme labels of a service. The labels of ports below them are found when they are asked for: they come and go with
// endpoints.
func (s *snapshot) addSchemes(c *cell, sv steering.Service) error {
	for name, rrtype := range schemes(sv) {
		if err := checkName("_65535." + name); err != nil {
			return err
		}
		if err := s.addNode(name, &node{zone: c.zone, kind: scheme, cell: c, rrtype: rrtype}); err != nil {
			return err
		}
	}
	return nil
}

// ofPort returns what exists for a view at _PORT below a scheme label, nil when no endpoint has the port. HTTPS records of port 443 are at the
// service's own name (RFC 9460 section 9.1).
func (n *node) ofPort(label string, view int) *node {
	port, err := strconv.ParseUint(strings.TrimPrefix(label, "_"), 10, 16)
	if err != nil || label != "_"+strconv.FormatUint(port, 10) || n.rrtype == dns.TypeHTTPS && port == 443 {
		return nil
	}
	sv := n.cell.load().in(view)
	if sv == nil || !slices.ContainsFunc(sv.Endpoints, func(e steering.Endpoint) bool { return port != 0 && uint64(e.Port) == port }) {
		return nil
	}
	return &node{zone: n.zone, kind: schemePort, cell: n.cell, rrtype: n.rrtype}
}

// binds tells whether the name has service bindings of a type.
func (n *node) binds(qtype uint16) bool {
	switch n.kind {
	case steered:
		return qtype == dns.TypeHTTPS && isHTTP(n.cell.load().Service)
	case scheme:
		return qtype == dns.TypeSVCB && n.rrtype == qtype
	case schemePort:
		return n.rrtype == qtype
	default:
		return false
	}
}

// A binding is what clients are told of a service by service bindings whatever is picked.
type binding struct {
	port   uint16 // that all endpoints have; 0: they differ
	params []byte // on the wire, of a record of all endpoints, before the hints
}

func newBinding(s steering.Service) (b binding) {
	for i, e := range s.Endpoints {
		if e.Port == 0 || i > 0 && e.Port != b.port {
			return binding{}
		}
		b.port = e.Port
	}
	param := func(key dns.SVCBKey, value []byte) {
		b.params = binary.BigEndian.AppendUint16(b.params, uint16(key))
		b.params = binary.BigEndian.AppendUint16(b.params, uint16(len(value)))
		b.params = append(b.params, value...)
	}
	var ids []byte
	for _, id := range s.ALPN {
		ids = append(append(ids, byte(len(id))), id...)
	}
	if len(ids) > 0 {
		param(dns.SVCB_ALPN, ids)
	}
	if noDefaultALPN(s) {
		param(dns.SVCB_NO_DEFAULT_ALPN, nil)
	}
	param(dns.SVCB_PORT, binary.BigEndian.AppendUint16(nil, b.port))
	return b
}

// noDefaultALPN tells that the endpoints do not speak what every HTTPS record promises (RFC 9460 section 7.1.2).
func noDefaultALPN(s steering.Service) bool { return isHTTP(s) && !slices.Contains(s.ALPN, "http/1.1") }

// bindings answers with the pods picked for this answer: in one record when they share a port, else in one for each. They are of equal
// priority, which clients choose among at random (RFC 9460 section 2.4.1); by Hash the client's first pod comes first.
func (n *node) bindings(m *dns.Msg, q dns.Question, c *client) *dns.EDNS0_EDE {
	sv := n.cell.load().in(c.view)
	if sv == nil {
		return nil
	}
	ttl, why := sv.ttl(n.zone)
	var room6, room4 [maxAnswers]netip.Addr
	v6, v4 := c.pick(sv.pickers[steering.IPv6], room6[:0]), c.pick(sv.pickers[steering.IPv4], room4[:0])
	if sv.binding.port != 0 {
		if len(v6)+len(v4) > 0 {
			m.Answer = []dns.RR{sv.record(q, ttl, 1, ".", sv.binding.port, v6, v4)}
			m.Extra = appendAddresses(appendAddresses(nil, q.Name, ttl, v6, steering.IPv6), q.Name, ttl, v4, steering.IPv4)
		}
		c.note(n.cell, sv, len(m.Answer) == 0)
		return why
	}
	for f, addrs := range [][]netip.Addr{steering.IPv6: v6, steering.IPv4: v4} {
		for rank, a := range addrs {
			sv.bindOne(m, q, ttl, rank, a, steering.Family(f))
		}
	}
	c.note(n.cell, sv, len(m.Answer) == 0)
	return sv.withoutPorts(m, why)
}

// bindOne adds the record of one pod; one without a port, such as a fallback, has none.
func (s *service) bindOne(m *dns.Msg, q dns.Question, ttl uint32, rank int, a netip.Addr, f steering.Family) {
	i := slices.IndexFunc(s.Endpoints, func(e steering.Endpoint) bool { return e.Address.Unmap() == a && e.Port != 0 })
	if i < 0 {
		return
	}
	priority := 1
	if s.Policy == steering.Hash {
		priority += rank
	}
	var hints [2][]netip.Addr // by steering.Family
	hints[f] = []netip.Addr{a}
	m.Answer = append(m.Answer, s.record(q, ttl, priority, s.podName(a), s.Endpoints[i].Port, hints[steering.IPv6], hints[steering.IPv4]))
	m.Extra = append(m.Extra, addressRecord(s.podName(a), ttl, a))
}

// record is a service binding, never an alias. Its parameters are in the order of their keys.
func (s *service) record(q dns.Question, ttl uint32, priority int, target string, port uint16, v6, v4 []netip.Addr) dns.RR {
	r := dns.SVCB{Hdr: header(q.Name, q.Qtype, ttl), Priority: uint16(priority), Target: target}
	if len(s.ALPN) > 0 {
		r.Value = append(r.Value, &dns.SVCBAlpn{Alpn: s.ALPN})
	}
	if noDefaultALPN(s.Service) {
		r.Value = append(r.Value, &dns.SVCBNoDefaultAlpn{})
	}
	r.Value = append(r.Value, &dns.SVCBPort{Port: port})
	if len(v4) > 0 {
		r.Value = append(r.Value, &dns.SVCBIPv4Hint{Hint: ips(v4)})
	}
	if len(v6) > 0 {
		r.Value = append(r.Value, &dns.SVCBIPv6Hint{Hint: ips(v6)})
	}
	if q.Qtype == dns.TypeHTTPS {
		return &dns.HTTPS{SVCB: r}
	}
	return &r
}

func ips(addrs []netip.Addr) (all []net.IP) {
	for _, a := range addrs {
		all = append(all, a.AsSlice())
	}
	return all
}

// hotBindings is bindings for a service whose endpoints share a port.
func (n *node) hotBindings(out, query []byte, q *question) ([]byte, exchange) {
	sv, stale := n.cell.load().in(q.view), n.stale()
	if sv == nil {
		return n.zone.hotNothing(out, query, q, dns.RcodeSuccess, stale)
	}
	if sv.binding.port == 0 || sv.pickers[steering.IPv6].Panic() != "" || sv.pickers[steering.IPv4].Panic() != "" {
		return nil, exchange{}
	}
	n6, n4 := sv.pickers[steering.IPv6].Size(), sv.pickers[steering.IPv4].Size()
	if n6+n4 == 0 {
		return n.zone.hotNothing(out, query, q, dns.RcodeSuccess, stale)
	}
	rdata := 2 + 1 + len(sv.binding.params) + hintSize(n6, 16) + hintSize(n4, 4)
	if !q.fit(recordHead+rdata+n6*addressSize(steering.IPv6)+n4*addressSize(steering.IPv4), n.zone, stale) {
		return nil, exchange{} // before a turn is taken: the full path takes one
	}
	var room6, room4 [maxAnswers]netip.Addr
	v6, v4 := q.pick(sv.pickers[steering.IPv6], room6[:0]), q.pick(sv.pickers[steering.IPv4], room4[:0])
	ttl, _ := sv.ttl(n.zone)
	out = q.begin(out, query, dns.RcodeSuccess, 1, 0)
	out = q.record(out, q.qtype, ttl, rdata)
	out = append(out, 0, 1, 0) // priority 1, target: the owner
	out = append(out, sv.binding.params...)
	out = appendHint(out, dns.SVCB_IPV4HINT, v4, 4)
	out = appendHint(out, dns.SVCB_IPV6HINT, v6, 16)
	out = q.addresses(out, dns.TypeAAAA, ttl, v6)
	out = q.addresses(out, dns.TypeA, ttl, v4)
	out = q.finish(out, n.zone.nsid, stale.wire())
	out[11] += byte(len(v6) + len(v4))
	return out, exchange{qtype: q.qtype, rcode: dns.RcodeSuccess, picked: n.cell.number, why: sv.Policy.String()}
}

// hintSize is that of a hint of n addresses.
func hintSize(n, size int) int {
	if n == 0 {
		return 0
	}
	return 4 + size*n
}

func appendHint(out []byte, key dns.SVCBKey, addrs []netip.Addr, size int) []byte {
	if len(addrs) == 0 {
		return out
	}
	out = binary.BigEndian.AppendUint16(out, uint16(key))
	out = binary.BigEndian.AppendUint16(out, uint16(size*len(addrs)))
	for _, a := range addrs {
		b := a.As16()
		out = append(out, b[16-size:]...)
	}
	return out
}
