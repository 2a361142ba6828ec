package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	// DefaultPort is where responders listen unless told otherwise.
	DefaultPort = 7000
	// idleTimeout ends a TCP connection that sends nothing, or reads nothing.
	idleTimeout = 30 * time.Second
	// maxConns bounds the TCP connections of a responder; more are closed at once.
	maxConns = 1024
)

// A ResponderConfig tells a Responder what to do.
type ResponderConfig struct {
	Site   string           // 1 to MaxSite printable ASCII characters without spaces
	Listen []netip.AddrPort // UDP and TCP both; an address need not be on the host yet; port 0: any
	Log    *slog.Logger     // nil: none

	// ServeTCP, if not nil, has the TCP side instead: it serves the listener until ctx is done, then returns nil. The
	// listener is closed for it. It is called once for each address, in a goroutine of its own.
	ServeTCP func(ctx context.Context, l net.Listener) error
}

// A Responder answers probes over UDP and TCP with the name of its site.
type Responder struct {
	cfg   ResponderConfig
	site  Packet // a reply with nothing but the site
	clock clock
	ready chan struct{}
	addrs []netip.AddrPort // once ready
	conns chan struct{}    // holds one for each TCP connection
}

// NewResponder returns a Responder. It opens nothing.
func NewResponder(cfg ResponderConfig) (*Responder, error) {
	clock, err := newClock()
	if err != nil {
		return nil, err
	}
	r := &Responder{
		cfg: cfg, site: Packet{Kind: KindReply}, clock: clock,
		ready: make(chan struct{}), conns: make(chan struct{}, maxConns),
	}
	if err := r.site.SetSite(cfg.Site); err != nil {
		return nil, fmt.Errorf("site %q: %w", cfg.Site, err)
	}
	if len(cfg.Listen) == 0 {
		return nil, errors.New("no address to listen on")
	}
	if r.cfg.Log == nil {
		r.cfg.Log = slog.New(slog.DiscardHandler)
	}
	return r, nil
}

// Ready is closed once all addresses are listened on.
func (r *Responder) Ready() <-chan struct{} { return r.ready }

// Addrs returns the addresses that are listened on, in the order of the config. Call it once Ready is closed.
func (r *Responder) Addrs() []netip.AddrPort { return r.addrs }

// Run answers until ctx is done, then returns nil. It fails when it cannot listen on all addresses.
func (r *Responder) Run(ctx context.Context) error {
	var pairs []listenPair
	g, gctx := errgroup.WithContext(ctx)
	for _, addr := range r.cfg.Listen {
		pair, err := listen(ctx, addr)
		if err != nil {
			closePairs(pairs)
			return err
		}
		pairs = append(pairs, pair)
		r.addrs = append(r.addrs, pair.addr())
	}
	close(r.ready)
	r.cfg.Log.Info("answering probes", "site", r.cfg.Site, "addresses", addrText(r.addrs))
	for _, pair := range pairs {
		g.Go(func() error { return r.serveUDP(pair.udp) })
		g.Go(func() error { return r.serveStreams(gctx, pair.tcp) })
	}
	g.Go(func() error {
		<-gctx.Done()
		closePairs(pairs)
		return nil
	})
	return g.Wait()
}

func addrText(addrs []netip.AddrPort) string {
	var b strings.Builder
	for i, a := range addrs {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(a.String())
	}
	return b.String()
}

// respond turns the request in buf into its reply, in place, and returns whether it was one.
func (r *Responder) respond(buf []byte, p *Packet) bool {
	if p.UnmarshalBinary(buf) != nil || p.Kind != KindRequest {
		return false
	}
	p.Kind, p.ReceivedNs = KindReply, r.clock.now()
	p.site, p.siteLen = r.site.site, r.site.siteLen
	_, _ = p.AppendBinary(buf[:0]) // never fails
	return true
}

// serveUDP answers until the socket is closed.
func (r *Responder) serveUDP(conn *net.UDPConn) error {
	var p Packet
	buf, oob := make([]byte, Size+1), make([]byte, 128)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(buf, oob)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("udp %s: %w", conn.LocalAddr(), plain(err))
		}
		if !r.respond(buf[:n], &p) {
			continue
		}
		// A reply that cannot be sent now is lost like any packet on its way.
		if _, _, err := conn.WriteMsgUDPAddrPort(buf[:Size], replySource(oob[:oobn]), from); err != nil {
			r.cfg.Log.Debug("reply not sent", "to", from, "error", err)
		}
	}
}

func (r *Responder) serveStreams(ctx context.Context, l *net.TCPListener) error {
	if r.cfg.ServeTCP != nil {
		return r.cfg.ServeTCP(ctx, l)
	}
	return r.serveTCP(ctx, l)
}

// serveTCP accepts connections until the listener is closed, and returns when all of them are closed.
func (r *Responder) serveTCP(ctx context.Context, l *net.TCPListener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		conn, err := l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil && transient(err):
			r.cfg.Log.Warn("connection not accepted", "address", l.Addr(), "error", err)
			if !pause(ctx, time.Second) {
				return nil
			}
		case err != nil:
			return fmt.Errorf("tcp %s: %w", l.Addr(), plain(err))
		default:
			r.admit(conn, func() {
				conns.Go(func() {
					defer func() { <-r.conns }()
					r.serveConn(ctx, conn)
				})
			})
		}
	}
}

// admit serves a connection where there is room for one more, and closes it at once where there is not: a full backlog
// would leave its client waiting.
func (r *Responder) admit(conn *net.TCPConn, serve func()) {
	select {
	case r.conns <- struct{}{}:
		serve()
	default:
		r.cfg.Log.Debug("too many connections", "from", conn.RemoteAddr())
		_ = conn.Close()
	}
}

// transient tells errors of accept that pass (accept(2)): of one connection, or of a lack of descriptors or memory.
func transient(err error) bool {
	for _, e := range []syscall.Errno{unix.ECONNABORTED, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPERM, unix.EPROTO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// pause returns false when ctx is done first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// serveConn answers one connection until it ends, sends anything but requests, idles too long, or ctx is done.
func (r *Responder) serveConn(ctx context.Context, conn *net.TCPConn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var p Packet
	buf := make([]byte, Size)
	for {
		if conn.SetDeadline(time.Now().Add(idleTimeout)) != nil {
			return
		}
		if _, err := io.ReadFull(conn, buf); err != nil || !r.respond(buf, &p) {
			return
		}
		if _, err := conn.Write(buf); err != nil {
			return
		}
	}
}
