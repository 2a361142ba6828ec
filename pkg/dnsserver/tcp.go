package dnsserver

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of TCP (RFC 7766 section 6.2.3 leaves them to the server, and lets it be short when it is busy).
const (
	busyTimeout  = time.Second     // between the queries of a connection, when half of all are taken
	queryTimeout = 2 * time.Second // for the rest of a query that has begun
	replyTimeout = 2 * time.Second // for the client to take a reply
)

// TCP bounds what connections may take; zero values stand for the defaults.
type TCP struct {
	Connections int           // at the same time, over all addresses
	PerClient   int           // of one IPv4 address or IPv6 /64
	Idle        time.Duration // between the queries of a connection
}

// DefaultTCP lets one client have a sixteenth. Sixteen can take all: who is new then takes the place of one of them.
var DefaultTCP = TCP{Connections: 1024, PerClient: 64, Idle: 10 * time.Second}

func (t TCP) orDefaults() TCP {
	return TCP{
		Connections: cmp.Or(t.Connections, DefaultTCP.Connections),
		PerClient:   cmp.Or(t.PerClient, DefaultTCP.PerClient),
		Idle:        cmp.Or(t.Idle, DefaultTCP.Idle),
	}
}

// serveTCP accepts connections; one at a time waits for a slot, the rest do so in the kernel's queue.
func (s *Server) serveTCP(ctx context.Context, l *net.TCPListener) error {
	defer context.AfterFunc(ctx, func() { _ = l.SetDeadline(longAgo) })()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c := s.accept(ctx, l)
		if c == nil {
			return nil
		}
		client := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
		stay, end := context.WithCancel(ctx)
		g := s.crowd.enter(client, end)
		if g == nil {
			end()
			s.metrics.refused.Inc()
			_ = c.Close()
			continue
		}
		if !s.takeSlot(ctx) {
			s.crowd.leave(g)
			_ = c.Close()
			return nil
		}
		s.crowd.stay(g)
		conns.Go(func() {
			defer func() { <-s.slots }()
			defer s.crowd.leave(g)
			s.serveConn(stay, c, client)
		})
	}
}

// listener is a net.TCPListener.
type listener interface {
	AcceptTCP() (*net.TCPConn, error)
	Addr() net.Addr
}

// accept waits for a connection; nil: ctx is done. What keeps all of them out, such as too many open files, is told when it begins and when
// it is over.
func (s *Server) accept(ctx context.Context, l listener) *net.TCPConn {
	for failed := false; ; failed = true {
		c, err := l.AcceptTCP()
		switch {
		case err == nil && failed:
			s.log.Info("accepts connections again", "address", l.Addr())
			return c
		case err == nil:
			return c
		case ctx.Err() != nil:
			return nil
		case !failed:
			s.log.Warn("cannot accept connections", "address", l.Addr(), "err", err)
		}
		if !pause(ctx) {
			return nil
		}
	}
}

// takeSlot takes a slot, and has one made when there is none (RFC 7766 section 6.2.3 lets a server close connections when it is busy);
// false: ctx is done. Who waits does so alone: nobody else takes the slot that was made for it.
func (s *Server) takeSlot(ctx context.Context) bool {
	s.door.Lock()
	defer s.door.Unlock()
	if len(s.slots) == cap(s.slots) && s.crowd.evict() {
		s.metrics.evicted.Inc()
	}
	select {
	case s.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// serveConn answers the queries of one connection in their order until the client, a timeout or ctx ends it. Those that were read when
// ctx ends are answered.
func (s *Server) serveConn(ctx context.Context, c *net.TCPConn, client netip.Addr) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(longAgo) })()
	s.metrics.connections.Inc()
	defer s.metrics.connections.Dec()
	in := bufio.NewReader(c)
	for {
		query, err := readQuery(ctx, c, in, s.patience())
		if err != nil {
			return
		}
		if err := s.answerTCP(c, query, client); err != nil {
			return
		}
	}
}

// patience is how long a connection may be idle now.
func (s *Server) patience() time.Duration {
	if len(s.slots) > cap(s.slots)/2 {
		return min(busyTimeout, s.tcp.Idle)
	}
	return s.tcp.Idle
}

func readQuery(ctx context.Context, c net.Conn, in io.Reader, idle time.Duration) ([]byte, error) {
	var length [2]byte
	if err := readFull(ctx, c, in, length[:], idle); err != nil {
		return nil, err
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	return query, readFull(ctx, c, in, query, queryTimeout)
}

// readFull reads within timeout; after the end of ctx, no more than in has. That is asked after the deadline was moved, because the end of
// ctx moves it too.
func readFull(ctx context.Context, c net.Conn, in io.Reader, b []byte, timeout time.Duration) error {
	if err := c.SetReadDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		_ = c.SetReadDeadline(longAgo)
	}
	_, err := io.ReadFull(in, b)
	return err
}

func (s *Server) answerTCP(c net.Conn, query []byte, from netip.Addr) error {
	t := s.metrics.stream(c.LocalAddr())
	reply := s.handle(query, &client{address: from, proto: tcp, patience: s.patience()}, t)
	if reply == nil {
		return io.ErrUnexpectedEOF // who does not send queries has no use for the connection
	}
	if err := c.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	// One segment: some clients stumble over a length that comes alone (RFC 7766 section 8).
	out := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reply)), uint16(len(reply)))
	_, err := c.Write(append(out, reply...))
	if err != nil {
		t.writeErrors.Add(1)
	}
	return err
}
