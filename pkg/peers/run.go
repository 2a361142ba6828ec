package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// reopenAfter is the time between two attempts to have all sockets.
const reopenAfter = 2 * time.Second

// errReopen ends serving with sockets that lost their address.
var errReopen = errors.New("an address of this host is gone")

// run opens the sockets, again when they break, in the network namespace of its own thread.
func (p *Peers) run(ctx context.Context) error {
	for ctx.Err() == nil {
		s, err := p.open(ctx)
		if err == nil {
			p.troubled("")
			err = p.serve(ctx, s)
			s.close()
		}
		if ctx.Err() != nil {
			break
		}
		p.troubled(fmt.Sprint("cannot ask anybody: ", err))
		pause(ctx, reopenAfter)
	}
	return nil
}

// troubled keeps why nobody can be asked; "" when they can be again. Who is not asked is not reachable.
func (p *Peers) troubled(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if why == p.trouble {
		return
	}
	if p.trouble = why; why != "" {
		p.log.Error("peers are not asked", "reason", why)
	}
	for peer := range p.cfg.Peers {
		if why != "" && p.reached[peer] > 0 {
			p.losePeer(peer, time.Now(), why)
		}
	}
	signal(p.changed)
}

// serve asks and answers until ctx is done or a socket breaks.
func (p *Peers) serve(ctx context.Context, s *sockets) error {
	g, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, s.close)()
	for peer, one := range p.cfg.Peers {
		if one.Mark != 0 {
			g.Go(func() error { return p.askPeer(ctx, peer, s.send) })
		}
	}
	for _, conn := range s.listening {
		g.Go(func() error { return p.listen(ctx, conn, s.reply) })
	}
	return g.Wait()
}

// listen takes what comes to a socket until that is closed.
func (p *Peers) listen(ctx context.Context, conn *net.UDPConn, reply replier) error {
	b, oob := make([]byte, messageSize+1), make([]byte, 128)
	for {
		n, oobn, _, from, err := conn.ReadMsgUDPAddrPort(b, oob)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", conn.LocalAddr(), plain(err))
		}
		p.receive(b[:n], from.Addr().Unmap(), destination(oob[:oobn]), reply)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// family is 4 or 6 as part of a network's name.
func family(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return "6"
}
