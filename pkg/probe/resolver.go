package probe

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

const (
	// resolverSockets is over how many UDP ports a Resolver spreads: a server with several sockets (SO_REUSEPORT)
	// serves one port from one of them.
	resolverSockets = 8
	// resolverBuffer is what the kernel may queue for one of them, in bytes.
	resolverBuffer = 1 << 20
)

// ErrTooManyQueries is returned by Ask when all ids of a socket are under way.
var ErrTooManyQueries = errors.New("too many DNS queries under way")

// Check returns what is wrong with a question, if anything.
func (q Question) Check() error {
	_, err := q.message()
	return err
}

// A Response is what a server answered to a question.
type Response struct {
	Rcode     string        // e.g. NOERROR
	Site      string        // from NSID; "unknown" without
	Values    []string      // of the records of the type that was asked for, in presentation format, in their order
	Addresses []netip.Addr  // the same, where they are addresses
	TTL       time.Duration // the shortest of the records of the answer; without any, what RFC 2308 says for "none"
}

// A Resolver asks one DNS server, any number of questions at a time, over a few UDP sockets; over TCP what does not fit
// (RFC 7766). It never asks again by itself. It is safe for concurrent use.
type Resolver struct {
	server  netip.AddrPort
	sockets []*resolverSocket
	next    atomic.Uint32
	readers sync.WaitGroup
}

// OpenResolver opens the sockets. Close the Resolver when nobody uses it any more.
func OpenResolver(ctx context.Context, server netip.AddrPort) (*Resolver, error) {
	server = netip.AddrPortFrom(server.Addr().Unmap(), server.Port())
	r := &Resolver{server: server}
	for range resolverSockets {
		conn, err := new(net.Dialer).DialContext(ctx, network("udp", server.Addr()), server.String())
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("server %s: %w", server, plain(err))
		}
		udp := conn.(*net.UDPConn)
		_ = udp.SetReadBuffer(resolverBuffer) // as much as there is will do
		s := &resolverSocket{conn: udp, pending: make(map[uint16]*pendingQuery)}
		r.sockets = append(r.sockets, s)
		r.readers.Go(s.read)
	}
	return r, nil
}

// Close closes the sockets; questions under way fail.
func (r *Resolver) Close() {
	for _, s := range r.sockets {
		_ = s.conn.Close()
	}
	r.readers.Wait()
}

// Ask asks once, with NSID, and waits for the answer until ctx is done. Any answer is one, also NXDOMAIN. Where the
// host of the server refuses (ICMP port unreachable), all questions that are under way on the same socket fail.
func (r *Resolver) Ask(ctx context.Context, q Question) (Response, error) {
	query, err := q.message()
	if err != nil {
		return Response{}, err
	}
	query.RecursionDesired = true // as every stub: recursive servers refuse what is asked without
	m, err := r.sockets[r.next.Add(1)%resolverSockets].ask(ctx, query)
	if err == nil && m.Truncated {
		m, err = r.askTCP(ctx, query)
	}
	if err != nil {
		return Response{}, fmt.Errorf("server %s: %w", r.server, plain(err))
	}
	return response(m), nil
}

func (r *Resolver) askTCP(ctx context.Context, query *dns.Msg) (*dns.Msg, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.server.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	stream := dns.Conn{Conn: conn}
	if err := stream.WriteMsg(query); err != nil {
		return nil, err
	}
	m, err := stream.ReadMsg()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, err
	case m.Id != query.Id || !answers(m, query.Question[0]):
		return nil, errors.New("an answer over TCP to another question")
	}
	return m, nil
}

// response takes from a message what a client of the question needs.
func response(m *dns.Msg) Response {
	r := Response{Rcode: dns.RcodeToString[m.Rcode], Site: messageSite(m)}
	if r.Rcode == "" {
		r.Rcode = fmt.Sprintf("RCODE%d", m.Rcode)
	}
	ttl := uint32(1<<31 - 1) // the longest there is (RFC 2181, section 8)
	q, owner := m.Question[0], m.Question[0].Name
	for _, rr := range m.Answer {
		h := rr.Header()
		if h.Class != q.Qclass || !strings.EqualFold(h.Name, owner) {
			continue // says nothing about what was asked
		}
		alias, is := rr.(*dns.CNAME)
		switch {
		case h.Rrtype == q.Qtype:
			r.add(rr)
		case is:
			owner = alias.Target
		default:
			continue
		}
		ttl = min(ttl, lifetime(h.Ttl)) // CNAMEs on the way count, too
	}
	if len(r.Values) == 0 {
		ttl = min(ttl, negativeTTL(m))
	}
	r.TTL = time.Duration(ttl) * time.Second
	return r
}

func (r *Response) add(rr dns.RR) {
	var ip net.IP
	switch rr := rr.(type) {
	case *dns.AAAA:
		ip = rr.AAAA
	case *dns.A:
		ip = rr.A
	default:
		r.Values = append(r.Values, rr.String()[len(rr.Header().String()):])
		return
	}
	if a, ok := netip.AddrFromSlice(ip); ok {
		if rr.Header().Rrtype == dns.TypeA {
			a = a.Unmap() // a mapped address in an AAAA record stays what it is
		}
		r.Values = append(r.Values, a.String())
		r.Addresses = append(r.Addresses, a)
	}
}

// negativeTTL returns for how long "no such record" holds (RFC 2308, section 5), in seconds: not at all without SOA.
func negativeTTL(m *dns.Msg) uint32 {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(lifetime(soa.Hdr.Ttl), lifetime(soa.Minttl))
		}
	}
	return 0
}

// lifetime reads a TTL: one with the highest bit is 0 (RFC 2181, section 8).
func lifetime(ttl uint32) uint32 {
	if ttl > 1<<31-1 {
		return 0
	}
	return ttl
}

// A resolverSocket is one UDP port and what was asked from it.
type resolverSocket struct {
	conn *net.UDPConn

	mu      sync.Mutex // guards following
	pending map[uint16]*pendingQuery
}

// A pendingQuery waits for its outcome: the answer, or why there is none.
type pendingQuery struct {
	question dns.Question
	done     chan outcome // capacity 1
}

type outcome struct {
	m   *dns.Msg
	err error
}

func (s *resolverSocket) ask(ctx context.Context, query *dns.Msg) (*dns.Msg, error) {
	p := &pendingQuery{question: query.Question[0], done: make(chan outcome, 1)}
	if err := s.enter(query, p); err != nil {
		return nil, err
	}
	defer s.leave(query.Id)
	wire, err := query.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := s.conn.Write(wire); errors.Is(err, unix.ECONNREFUSED) {
		_, err = s.conn.Write(wire) // the first one told what became of an earlier query
		if err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	select {
	case o := <-p.done:
		return o.m, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// enter finds a free random id for a query.
func (s *resolverSocket) enter(query *dns.Msg, p *pendingQuery) error {
	var random [2]byte
	_, _ = crand.Read(random[:]) // never fails
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) > 1<<15 {
		return ErrTooManyQueries
	}
	for query.Id = binary.BigEndian.Uint16(random[:]); s.pending[query.Id] != nil; query.Id++ {
	}
	s.pending[query.Id] = p
	return nil
}

func (s *resolverSocket) leave(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

// read hands answers over until the socket is closed.
func (s *resolverSocket) read() {
	buf := make([]byte, maxPacket)
	for {
		n, err := s.conn.Read(buf)
		if err != nil {
			s.fail(err)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error; the next read waits again
		}
		s.receive(buf[:n])
	}
}

// receive hands a packet to the question that it answers; what answers none is left alone.
func (s *resolverSocket) receive(packet []byte) {
	var m dns.Msg
	if m.Unpack(packet) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pending[m.Id]; p != nil && answers(&m, p.question) {
		p.tell(outcome{m: &m})
	}
}

func (s *resolverSocket) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pending {
		p.tell(outcome{err: err})
	}
}

// tell never waits: the first outcome counts.
func (p *pendingQuery) tell(o outcome) {
	select {
	case p.done <- o:
	default:
	}
}
