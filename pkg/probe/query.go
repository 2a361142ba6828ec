package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// A Reply is the answer to one DNS query.
type Reply struct {
	Server  string   `json:"server"`
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Rcode   string   `json:"rcode"`
	Site    string   `json:"site"` // from NSID; "unknown" without
	Answers []Record `json:"answers"`
	RTTMs   float64  `json:"rtt_ms"`
}

// A Record is a resource record of an answer.
type Record struct {
	Name  string `json:"name"`
	TTL   uint32 `json:"ttl"` // seconds
	Type  string `json:"type"`
	Value string `json:"value"` // in presentation format
}

// Query asks a DNS server once over UDP, with NSID, and waits for the answer until ctx is done.
func Query(ctx context.Context, server netip.AddrPort, q Question) (Reply, error) {
	m, err := q.message()
	if err != nil {
		return Reply{}, err
	}
	wire, err := m.Pack()
	if err != nil {
		return Reply{}, fmt.Errorf("DNS name %q: %w", q.Name, err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "udp", server.String())
	if err != nil {
		return Reply{}, fmt.Errorf("server %s: %w", server, plain(err))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	sent := time.Now()
	if _, err := conn.Write(wire); err != nil {
		return Reply{}, fmt.Errorf("server %s: %w", server, plain(err))
	}
	in, err := await(conn, m)
	switch {
	case ctx.Err() != nil:
		return Reply{}, fmt.Errorf("server %s: no answer after %s", server, time.Since(sent).Round(time.Millisecond))
	case err != nil:
		return Reply{}, fmt.Errorf("server %s: %w", server, plain(err))
	}
	r := reply(in, time.Since(sent))
	r.Server = server.String()
	return r, nil
}

// await reads packets until one answers the query.
func await(conn net.Conn, query *dns.Msg) (*dns.Msg, error) {
	buf := make([]byte, maxPacket)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		var m dns.Msg
		if m.Unpack(buf[:n]) == nil && m.Id == query.Id && answers(&m, query.Question[0]) {
			return &m, nil
		}
	}
}

func reply(m *dns.Msg, rtt time.Duration) Reply {
	r := Reply{
		Name: m.Question[0].Name, Type: dns.TypeToString[m.Question[0].Qtype], Rcode: dns.RcodeToString[m.Rcode],
		Site: messageSite(m), RTTMs: ms(int64(rtt)), Answers: make([]Record, 0, len(m.Answer)),
	}
	for _, rr := range m.Answer {
		h := rr.Header()
		value := strings.TrimPrefix(rr.String(), h.String())
		r.Answers = append(r.Answers, Record{Name: h.Name, TTL: h.Ttl, Type: dns.TypeToString[h.Rrtype], Value: value})
	}
	return r
}
