package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// spared is how long a server is not asked again with what it does not know (RFC 9018 section 3: "for example, five minutes").
const spared = 5 * time.Minute

// A dnsClient makes the attempts of one check and remembers, from one to the next, what the server told of itself.
type dnsClient struct {
	DNS
	cookies cookies
	plain   time.Time // until then the server is asked without EDNS
}

// Check implements Checker.
func (c *dnsClient) Check(ctx context.Context) error {
	started := time.Now()
	conn, err := c.connect(ctx, unix.SOCK_DGRAM, 0, c.Target)
	if err != nil {
		return explain(ctx, started, err)
	}
	defer conn.close()
	c.cookies.of(conn.source())
	answer, err := c.ask(ctx, conn, started)
	if err != nil {
		return err
	}
	return judge(answer, c.question())
}

// ask returns the answer to go by. It asks again where one tells it to, once for each reason: with the cookie that it brought,
// without what the server does not know, over TCP.
func (c *dnsClient) ask(ctx context.Context, conn *conn, started time.Time) (*dns.Msg, error) {
	for tcp, again := false, false; ; {
		query := c.query(started)
		m, err := c.exchange(ctx, conn, query, tcp)
		if err != nil {
			return nil, tell(ctx, started, err, tcp)
		}
		unlike := c.cookies.learn(query, m, started)
		switch {
		case unlike && !tcp:
			tcp = true
		case ignorant(query, m):
			if m.IsEdns0() == nil {
				c.plain = started.Add(spared)
			}
		case m.Rcode == dns.RcodeBadCookie && !again:
			again = true
		case !tcp && (m.Rcode == dns.RcodeBadCookie || m.Truncated && judge(m, c.question()) != nil):
			tcp = true
		default:
			return m, nil
		}
	}
}

// tell is explain, and says that it was TCP that failed.
func tell(ctx context.Context, started time.Time, err error, tcp bool) error {
	err = explain(ctx, started, err)
	if tcp {
		return fmt.Errorf("over TCP: %w", err)
	}
	return err
}

// question is what is asked.
func (c *dnsClient) question() dns.Question {
	return dns.Question{Name: dns.Fqdn(c.Name), Qtype: c.Type, Qclass: dns.ClassINET}
}

// query returns a new message with a random id, and with EDNS for the cookies and for the extended errors that come back.
func (c *dnsClient) query(now time.Time) *dns.Msg {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: dns.Id()}, Question: []dns.Question{c.question()}}
	if now.Before(c.plain) {
		return m
	}
	m.SetEdns0(udpSize, false)
	if cookie := c.cookies.next(now); cookie != "" {
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
	}
	return m
}

// ignorant tells that the server calls a mistake what it does not know, EDNS or cookies (RFC 6891 section 7).
func ignorant(query, m *dns.Msg) bool {
	refused := m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented
	return refused && (query.IsEdns0() != nil && m.IsEdns0() == nil || cookieOf(query) != "" && cookieOf(m) == "")
}

// exchange sends a query on conn, or over a connection of its own (RFC 7766), and waits for its answer.
func (c *dnsClient) exchange(ctx context.Context, conn *conn, query *dns.Msg, tcp bool) (*dns.Msg, error) {
	wire, err := query.Pack()
	if err != nil {
		return nil, fmt.Errorf("query %q: %w", c.Name, err)
	}
	if tcp {
		return c.overTCP(ctx, query, wire)
	}
	if err := conn.write(ctx, wire); err != nil {
		return nil, err
	}
	return receive(query, func() ([]byte, error) { return conn.datagram(ctx) })
}

func (c *dnsClient) overTCP(ctx context.Context, query *dns.Msg, wire []byte) (*dns.Msg, error) {
	conn, err := c.connect(ctx, unix.SOCK_STREAM, 0, c.Target)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	if err := conn.established(ctx, c.Target); err != nil {
		return nil, err
	}
	if err := conn.write(ctx, append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)); err != nil {
		return nil, err
	}
	m, err := receive(query, func() ([]byte, error) { return dnsMessage(stream{conn, ctx}) })
	if closed(err) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("closed without an answer")
	}
	return m, err
}

// dnsMessage reads one from a stream (RFC 1035 section 4.2.2).
func dnsMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// receive reads until the answer to query comes. What does not belong to it is passed over: a late answer to an earlier
// query must not pass for this one.
func receive(query *dns.Msg, next func() ([]byte, error)) (*dns.Msg, error) {
	for {
		b, err := next()
		if err != nil {
			return nil, err
		}
		if m, err := match(b, query); m != nil || err != nil {
			return m, err
		}
	}
}
