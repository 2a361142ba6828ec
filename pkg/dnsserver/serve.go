package dnsserver

import (
	"context"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"
)

// longAgo is a deadline that has passed: it ends a read that waits.
var longAgo = time.Unix(1, 0)

// Run answers until ctx is done; it then finishes what it has read, closes the sockets, and returns nil. A UDP
// socket that cannot be read for ten seconds is an error; what TCP cannot accept is not, since it may pass, and UDP goes
// on. Run may be called once, after the first Set.
func (s *Server) Run(ctx context.Context) error {
	defer s.sockets.Close()
	if s.current.Load() == nil {
		return errNoContent
	}
	s.log.Info("serving", "addresses", s.sockets.Addrs())
	g, ctx := errgroup.WithContext(ctx)
	for _, sock := range s.sockets.udp {
		g.Go(func() error { return s.serveUDP(ctx, sock) })
	}
	for _, l := range s.sockets.tcp {
		g.Go(func() error { return s.serveTCP(ctx, l) })
	}
	return g.Wait()
}

// handle answers one message that came over a connection, which shows that the client's address is its own, and counts it.
func (s *Server) handle(query []byte, c *client, t *tally) (out []byte) {
	defer s.survive(query, t, &out)
	c.scan(query)
	s.guard.Load().seal(c, t, s.moment(time.Now()))
	out, x := s.current.Load().reply(nil, query, c)
	t.count(&x)
	s.queries.take(&x, t.proto, c.address, out)
	return out
}

// survive makes of a panic a message that gets no answer. No query may take an anycast service down at every site in turn: one
// that makes the code panic is dropped, counted, and logged the first time. Call it by defer.
func (s *Server) survive(query []byte, t *tally, out *[]byte) {
	if v := recover(); v != nil {
		*out = nil
		t.drop(broken)
		s.tellOdd(query, v)
	}
}

// tellOdd logs the first panic, from where it is recovered from.
func (s *Server) tellOdd(query []byte, v any) {
	s.odd.Do(func() {
		s.log.Error("a query made the server panic: please report", "query", query, "panic", v, "stack", string(debug.Stack()))
	})
}

// pause waits after an error that may pass, such as too many open files; false: ctx is done.
func pause(ctx context.Context) bool {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
