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
		s.current.Load().warm(b, n)
		for i := range n {
			s.serveDatagram(sock, b, i)
		}
		sock.tally.took(n, time.Since(start))
		sock.tally.writeErrors.Add(uint64(b.send(sock.fd)))
	}
}

// serveDatagram answers the i-th query of a batch.
func (s *Server) serveDatagram(sock *udpSocket, b *batch, i int) {
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
	if reply := s.answer(b.replies[i][:], query, &b.question, client.Addr(), sock.tally); reply != nil {
		b.reply(i, reply)
	}
}

// answer takes the hot path where that understands the query, else the full one.
func (s *Server) answer(buf, query []byte, q *question, client netip.Addr, t *tally) (out []byte) {
	defer s.survive(query, t, &out)
	now := s.current.Load()
	out, x := now.hot(buf, query, q, client)
	if out == nil {
		out, x = now.reply(buf, query, t.proto, client)
	}
	t.count(x)
	return out
}
