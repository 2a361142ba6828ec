package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// udpSize is the largest UDP answer that is asked for: what passes any IPv6 path unfragmented (DNS flag day 2020).
const udpSize = 1232

// Check makes one attempt that remembers nothing of others: see dnsClient.
func (c DNS) Check(ctx context.Context) error { return (&dnsClient{DNS: c}).Check(ctx) }

// match returns the message in b if it answers query, nil if it belongs to something else, and an error if it carries
// the query's id but cannot be read.
func match(b []byte, query *dns.Msg) (*dns.Msg, error) {
	if len(b) < 2 || uint16(b[0])<<8|uint16(b[1]) != query.Id {
		return nil, nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		return nil, fmt.Errorf("malformed answer: %w", err)
	}
	if !m.Response || !sameQuestion(m.Question, query.Question[0]) {
		return nil, nil
	}
	if got, sent := cookieOf(m), cookieOf(query); got != "" && sent != "" && foreign(got, sent) {
		return nil, nil // RFC 7873 section 5.3
	}
	return m, nil
}

// sameQuestion accepts an answer without a question: servers that cannot parse a query send such (RFC 1035, FORMERR).
func sameQuestion(got []dns.Question, want dns.Question) bool {
	if len(got) == 0 {
		return true
	}
	return got[0].Qtype == want.Qtype && got[0].Qclass == want.Qclass && strings.EqualFold(got[0].Name, want.Name)
}

func judge(m *dns.Msg, q dns.Question) error {
	switch {
	case m.Rcode != dns.RcodeSuccess:
		return fmt.Errorf("answered %s%s", rcode(m.Rcode), extendedErrors(m))
	case len(m.Answer) == 0 && m.Truncated:
		return errors.New("answered truncated, without a record")
	case len(m.Answer) == 0:
		return fmt.Errorf("answered NOERROR without a record%s", extendedErrors(m))
	case !slices.ContainsFunc(m.Answer, func(rr dns.RR) bool { return about(rr, q) }):
		return errors.New("answered NOERROR with records of something else")
	default:
		return nil
	}
}

// about tells that a record says something about the question: one of its type, or that the name is another's alias.
// Servers answer ANY with what they like (RFC 8482).
func about(rr dns.RR, q dns.Question) bool {
	h := rr.Header()
	return h.Class == q.Qclass && strings.EqualFold(h.Name, q.Name) &&
		(h.Rrtype == q.Qtype || h.Rrtype == dns.TypeCNAME || q.Qtype == dns.TypeANY)
}

func rcode(code int) string {
	if name, ok := dns.RcodeToString[code]; ok {
		return name
	}
	return fmt.Sprintf("rcode %d", code)
}

// extendedErrors renders the answer's extended DNS errors, RFC 8914, with a space in front; empty when it has none.
// The text is the server's: it is quoted, for it may end in a log.
func extendedErrors(m *dns.Msg) string {
	opt := m.IsEdns0()
	if opt == nil {
		return ""
	}
	var b strings.Builder
	for _, o := range opt.Option {
		ede, ok := o.(*dns.EDNS0_EDE)
		if !ok {
			continue
		}
		fmt.Fprintf(&b, " (EDE %d", ede.InfoCode)
		if name, ok := dns.ExtendedErrorCodeToString[ede.InfoCode]; ok {
			fmt.Fprintf(&b, " %s", name)
		}
		if ede.ExtraText != "" {
			fmt.Fprintf(&b, ": %q", ede.ExtraText)
		}
		b.WriteByte(')')
	}
	return b.String()
}
