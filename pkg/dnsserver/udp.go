package dnsserver

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// maxFailures in a row, with a pause after each, take ten seconds: what lasts longer does not pass by itself. A server that
// went on would be deaf and look alive; one that ends is started again, with new sockets.
const maxFailures = 200

// serveUDP answers in the loop that reads: under a flood the kernel drops what is too much, and nothing piles up here.
func (s *Server) serveUDP(ctx context.Context, sock *udpSocket) error {
	defer context.AfterFunc(ctx, sock.wake)()
	b, failed := newBatch(sock.wildcard), 0
	for {
		n, err := b.receive(sock.fd)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if failed++; failed == 1 {
				s.log.Warn("cannot read queries", "address", sock.addr, "err", err)
			}
			if failed >= s.failures {
				return fmt.Errorf("listen %s: cannot read queries: %w", sock.addr, err)
			}
			if !pause(ctx) {
				return nil
			}
			continue
		}
		failed = 0
		start := time.Now()
		at := s.moment(start)
		s.warm(b, n)
		for i := range n {
			s.serveDatagram(sock, b, i, at)
		}
		sock.tally.took(n, time.Since(start))
		sock.tally.writeErrors.Add(uint64(b.send(sock.fd)))
	}
}

// warm has what a batch needs fetched, as far as it comes: the queries are answered all the same.
func (s *Server) warm(b *batch, n int) {
	defer func() {
		if v := recover(); v != nil {
			s.tellOdd(nil, v)
		}
	}()
	s.current.Load().warm(b, n)
}

// serveDatagram answers the i-th query of a batch.
func (s *Server) serveDatagram(sock *udpSocket, b *batch, i int, at moment) {
	client := b.client(i)
	if client.Port() == 0 {
		// Nobody can receive there: only a forger sends from it.
		sock.tally.drop(noPort)
		return
	}
	query, cut := b.query(i)
	if cut {
		// It cannot be read to its end, so it has no question: FORMERR.
		query = query[:headerSize]
		binary.BigEndian.PutUint16(query[4:], 0)
	}
	if reply := s.answer(b.replies[i][:], query, &b.question, client.Addr(), sock.tally, at); reply != nil {
		b.reply(i, reply)
	}
}

// answer takes the hot path where that understands the query, else the full one.
func (s *Server) answer(buf, query []byte, q *question, client netip.Addr, t *tally, at moment) (out []byte) {
	defer s.survive(query, t, &out)
	now := s.current.Load()
	q.address, q.proto, q.used = client, t.proto, false
	usual := q.read(query)
	if !usual {
		q.scan(query)
	}
	g := s.guard.Load()
	out, x, stop := g.stop(buf, query, q, t, at)
	if !stop && usual {
		out, x = now.hot(buf, query, q)
	}
	if !stop && out == nil {
		out, x = now.reply(buf, query, &q.client)
	}
	if len(out) > g.light {
		out, x = g.weigh(out, query, q, x, t, at)
	}
	t.count(&x)
	s.queries.take(&x, t.proto, client, out)
	return out
}
