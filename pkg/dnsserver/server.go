package dnsserver

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"
)

const (
	// tcpIdle is how long a TCP connection may say nothing, RFC 7766 section 6.2.3.
	tcpIdle = 10 * time.Second
	// tcpRead bounds one query over TCP once it has begun.
	tcpRead = 2 * time.Second
	// tcpQueries bounds the queries of one TCP connection, so that no client holds one for ever.
	tcpQueries = 10_000
	// stopGrace is how long answers under way may take at the end.
	stopGrace = time.Second
)

// A Server answers from its latest snapshot. It is a prometheus.Collector.
type Server struct {
	site     string
	snapshot atomic.Pointer[Snapshot]
	metrics  *metrics
}

// New returns a server of a site that answers from first until Set is called.
func New(site string, first *Snapshot) *Server {
	s := &Server{site: site, metrics: newMetrics()}
	s.snapshot.Store(first)
	return s
}

// Set makes every query from now on be answered from snapshot. Safe for concurrent use; queries never wait for it.
func (s *Server) Set(snapshot *Snapshot) { s.snapshot.Store(snapshot) }

// Run answers queries on the listeners until ctx is done, finishes what is under way, and closes them.
func (s *Server) Run(ctx context.Context, l *Listeners) error {
	var servers []*dns.Server
	for _, c := range l.udp {
		servers = append(servers, &dns.Server{PacketConn: c, UDPSize: maxUDP, Handler: s.handler("udp")})
	}
	for _, t := range l.tcp {
		servers = append(servers, &dns.Server{
			Listener: t, Handler: s.handler("tcp"), ReadTimeout: tcpRead, WriteTimeout: tcpRead,
			IdleTimeout: func() time.Duration { return tcpIdle }, MaxTCPQueries: tcpQueries,
		})
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, server := range servers {
		g.Go(func() error { return serve(ctx, server) })
	}
	return g.Wait()
}

// serve runs one of miekg's servers, which know no context, until ctx is done.
func serve(ctx context.Context, server *dns.Server) error {
	started, done := make(chan struct{}), make(chan error, 1)
	server.NotifyStartedFunc = func() { close(started) }
	go func() { done <- server.ActivateAndServe() }()
	select {
	case err := <-done:
		return fmt.Errorf("dns server: %w", err)
	case <-started:
	}
	select {
	case err := <-done:
		return fmt.Errorf("dns server: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	_ = server.ShutdownContext(stop) // late answers are cut off
	return <-done
}

// handler answers one query of one transport.
func (s *Server) handler(proto string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, req *dns.Msg) {
		began := time.Now()
		if u, ok := w.RemoteAddr().(*net.UDPAddr); ok && u.Port == 0 {
			return // an answer cannot arrive there
		}
		msg := s.snapshot.Load().answer(req, s.site, proto == "udp")
		if msg == nil {
			return
		}
		_ = w.WriteMsg(msg) // the client will ask again
		s.metrics.answered(proto, w.RemoteAddr(), req, msg, time.Since(began))
	}
}
