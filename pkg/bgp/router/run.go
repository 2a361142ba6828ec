package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	defaultHoldTime = 9 * time.Second
	minHoldTime     = 3 * time.Second
	retryInterval   = 50 * time.Millisecond // of routes that the kernel refused; long enough for a session to be established in full
)

// A Router is one eBGP router. Because GoBGP keeps settings in package variables, only one may run in a process.
type Router struct {
	config Config
	log    *slog.Logger
	server *server.BgpServer
	fib    *fib
	kick   chan struct{} // capacity 1: the control loop has something to do

	// Owned by the control loop.
	links      map[int]*link
	originated []netip.Prefix
	peers      map[netip.Addr]bool // neighbors that GoBGP has

	mu    sync.Mutex // guards all below
	up    map[netip.Addr]bool
	lost  map[netip.Addr]bool // neighbors whose session ended by itself
	young map[netip.Addr]bool // neighbors whose session was just established
}

// New checks the configuration; it starts nothing.
func New(cfg Config, log *slog.Logger) (*Router, error) {
	if cfg.HoldTime == 0 {
		cfg.HoldTime = defaultHoldTime
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	cfg.Neighbors, cfg.Prefixes = slices.Clone(cfg.Neighbors), slices.Clone(cfg.Prefixes)
	return &Router{
		config: cfg, log: log, kick: make(chan struct{}, 1),
		peers: make(map[netip.Addr]bool), up: make(map[netip.Addr]bool), lost: make(map[netip.Addr]bool), young: make(map[netip.Addr]bool),
	}, nil
}

func (c Config) validate() error {
	switch {
	case c.ASN == 0:
		return errors.New("asn: is missing")
	case !c.RouterID.Is4() || c.RouterID.IsUnspecified():
		return fmt.Errorf("id %s: must be an IPv4 address other than 0.0.0.0", c.RouterID)
	case c.HoldTime < minHoldTime || c.HoldTime%time.Second != 0:
		return fmt.Errorf("hold time %s: must be whole seconds, at least %s (RFC 4271)", c.HoldTime, minHoldTime)
	}
	seen := make(map[netip.Addr]bool)
	for _, n := range c.Neighbors {
		switch {
		case !n.Address.IsValid() || n.Address.IsUnspecified() || n.Address.IsMulticast() || n.Address.Is4In6():
			return fmt.Errorf("neighbor %s: must be a unicast address", n.Address)
		case n.ASN == 0 || n.ASN == c.ASN:
			return fmt.Errorf("neighbor %s: asn %d: must be another than the router's own, only eBGP is supported", n.Address, n.ASN)
		case seen[n.Address]:
			return fmt.Errorf("neighbor %s: is named twice", n.Address)
		}
		seen[n.Address] = true
	}
	for _, p := range c.Prefixes {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			return fmt.Errorf("prefix %s: must be a prefix without host bits", p)
		}
	}
	return nil
}

// Run routes in the network namespace of the process until ctx is done, then closes the sessions, removes all its
// routes from the kernel and returns nil. It returns an error when it cannot start.
func (r *Router) Run(ctx context.Context) (err error) {
	events, stopEvents, err := subscribe()
	if err != nil {
		return err
	}
	defer stopEvents()
	if r.fib, err = newFIB(r.log, r.wake); err != nil {
		return err
	}
	if r.server, err = startGoBGP(ctx, r.config, r.log); err != nil {
		return err
	}
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		stopWatching()
		r.server.Stop()
		err = errors.Join(err, r.fib.close())
	}()
	watch := server.WatchEventMessageCallbacks{OnPeerUpdate: r.onPeer, OnBestPath: r.onBestPath}
	if err := r.server.WatchEvent(watching, watch, server.WatchPeer(), server.WatchBestPath(true)); err != nil {
		return fmt.Errorf("cannot watch bgp: %w", err)
	}
	r.log.Info("router started", "asn", r.config.ASN, "router_id", r.config.RouterID, "neighbors", len(r.config.Neighbors))
	return r.control(ctx, events)
}

// events are the kernel's notices of links and addresses.
type events struct {
	links chan netlink.LinkUpdate
	addrs chan netlink.AddrUpdate
}

// subscribe asks for the kernel's notices. The sockets are closed by the returned function.
func subscribe() (events, func(), error) {
	e := events{links: make(chan netlink.LinkUpdate, 64), addrs: make(chan netlink.AddrUpdate, 64)}
	done := make(chan struct{})
	if err := netlink.LinkSubscribe(e.links, done); err != nil {
		close(done)
		return e, nil, fmt.Errorf("cannot watch links: %w", err)
	}
	if err := netlink.AddrSubscribe(e.addrs, done); err != nil {
		close(done)
		return e, nil, fmt.Errorf("cannot watch addresses: %w", err)
	}
	return e, func() {
		close(done)
		for range e.links { // the subscriber may be blocked in a send; it closes the channel when it ends
		}
		for range e.addrs {
		}
	}, nil
}

// control follows the links: it originates what they are connected to and keeps sessions only where a link is up.
func (r *Router) control(ctx context.Context, e events) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	if err := r.follow(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case u, ok := <-e.links:
			if !ok {
				return errors.New("the kernel's notices of links ended")
			}
			r.onLink(ctx, u)
		case _, ok := <-e.addrs:
			if !ok {
				return errors.New("the kernel's notices of addresses ended")
			}
		case <-r.kick:
			r.revive(ctx)
			timer.Reset(retryInterval)
			continue
		case <-timer.C:
			r.sendAgain(ctx)
			if r.fib.retry() {
				timer.Reset(retryInterval)
			}
			continue
		}
		if err := r.follow(ctx); err != nil {
			r.log.Warn("links not followed", "error", err)
		}
		r.fib.rewrite()
		timer.Reset(retryInterval)
	}
}

// onLink is the fast external fallover: a link that went down takes its sessions with it at once, before anything else
// is read. Other notices are left to follow.
func (r *Router) onLink(ctx context.Context, u netlink.LinkUpdate) {
	index := int(u.Index)
	if u.Header.Type != unix.RTM_DELLINK && isUp(u.IfInfomsg.Flags) {
		return
	}
	for _, n := range r.config.Neighbors {
		if i, _ := linkOf(r.links, n.Address); i == index && i != 0 {
			r.drop(ctx, n, "link down")
		}
	}
}

// follow reads links and addresses and acts on what is new.
func (r *Router) follow(ctx context.Context) error {
	links, err := readLinks()
	if err != nil {
		return err
	}
	r.links = links
	for _, n := range r.config.Neighbors {
		index, own := linkOf(links, n.Address)
		if index != 0 && !links[index].up {
			r.drop(ctx, n, "link down")
			continue
		}
		if err := r.add(ctx, n, own); err != nil {
			return err
		}
	}
	return r.originate(append(connected(links), r.config.Prefixes...))
}

// add makes GoBGP hold a session with a neighbor. Of two routers the one with the higher address dials, the other waits:
// two connections that cross cost GoBGP up to five seconds.
func (r *Router) add(ctx context.Context, n Neighbor, own netip.Addr) error {
	if r.peers[n.Address] {
		return nil
	}
	passive := own.IsValid() && own.Less(n.Address)
	if err := r.server.AddPeer(ctx, &api.AddPeerRequest{Peer: gobgpPeer(n, r.config.HoldTime, passive)}); err != nil {
		return fmt.Errorf("neighbor %s: %w", n.Address, err)
	}
	r.peers[n.Address] = true
	return nil
}

// drop ends a session and forgets its paths at once.
func (r *Router) drop(ctx context.Context, n Neighbor, why string) {
	if !r.peers[n.Address] {
		return
	}
	delete(r.peers, n.Address)
	r.mu.Lock()
	wasUp := r.up[n.Address]
	delete(r.up, n.Address)
	delete(r.lost, n.Address)
	delete(r.young, n.Address)
	r.mu.Unlock()
	if err := r.server.DeletePeer(ctx, &api.DeletePeerRequest{Address: n.Address.String()}); err != nil {
		r.log.Warn("session not ended", "neighbor", n.Address, "error", err)
	}
	if wasUp {
		r.log.Info("bgp session ended", "neighbor", n.Address, "reason", why)
	}
}

// revive replaces sessions that ended: GoBGP itself would stay idle for five seconds and refuse connections meanwhile.
func (r *Router) revive(ctx context.Context) {
	r.mu.Lock()
	lost := r.lost
	r.lost = make(map[netip.Addr]bool)
	r.mu.Unlock()
	for _, n := range r.config.Neighbors {
		if !lost[n.Address] || !r.peers[n.Address] {
			continue
		}
		r.drop(ctx, n, "lost")
		_, own := linkOf(r.links, n.Address)
		if err := r.add(ctx, n, own); err != nil {
			r.log.Warn("session not revived", "error", err)
		}
	}
}

// sendAgain gives young sessions all routes once more: GoBGP loses a path that comes between the first table of a new
// session and the moment when the session counts as established.
func (r *Router) sendAgain(ctx context.Context) {
	r.mu.Lock()
	young := r.young
	r.young = make(map[netip.Addr]bool)
	r.mu.Unlock()
	for n := range young {
		request := &api.ResetPeerRequest{Address: n.String(), Soft: true, Direction: api.ResetPeerRequest_DIRECTION_OUT}
		if err := r.server.ResetPeer(ctx, request); err != nil {
			r.log.Warn("routes not sent again", "neighbor", n, "error", err)
		}
	}
}

// originate makes prefixes the whole set of what this router announces itself.
func (r *Router) originate(prefixes []netip.Prefix) error {
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	prefixes = slices.Compact(prefixes)
	var gone, fresh []*apiutil.Path
	for _, p := range r.originated {
		if !slices.Contains(prefixes, p) {
			path, err := localPath(p)
			if err != nil {
				return err
			}
			gone = append(gone, path)
		}
	}
	for _, p := range prefixes {
		if !slices.Contains(r.originated, p) {
			path, err := localPath(p)
			if err != nil {
				return err
			}
			fresh = append(fresh, path)
		}
	}
	if len(gone) > 0 {
		if err := r.server.DeletePath(apiutil.DeletePathRequest{Paths: gone}); err != nil {
			return fmt.Errorf("cannot withdraw connected prefixes: %w", err)
		}
	}
	if len(fresh) > 0 {
		if _, err := r.server.AddPath(apiutil.AddPathRequest{Paths: fresh}); err != nil {
			return fmt.Errorf("cannot originate connected prefixes: %w", err)
		}
	}
	r.originated = prefixes
	return nil
}

// onBestPath is called by GoBGP's watcher with what changed in the set of best paths, withdrawals first.
func (r *Router) onBestPath(paths []*apiutil.Path, _ time.Time) {
	changes := make([]change, 0, len(paths))
	for _, p := range paths {
		nlri, ok := p.Nlri.(*bgp.IPAddrPrefix)
		if !ok || !p.PeerAddress.IsValid() || p.PeerAddress.IsUnspecified() {
			continue // originated here
		}
		c := change{prefix: nlri.Prefix, neighbor: p.PeerAddress}
		if !p.Withdrawal {
			c.nextHop = nextHop(p)
		}
		changes = append(changes, c)
	}
	r.fib.update(changes)
}

// onPeer is called by GoBGP's watcher.
func (r *Router) onPeer(ev *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
	if ev.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	st := ev.Peer.State
	up := st.SessionState == bgp.BGP_FSM_ESTABLISHED
	r.mu.Lock()
	defer r.mu.Unlock()
	switch was := r.up[st.NeighborAddress]; {
	case up && !was:
		r.up[st.NeighborAddress] = true
		r.young[st.NeighborAddress] = true
		r.log.Info("bgp session established", "neighbor", st.NeighborAddress)
		r.wake()
	case was && !up:
		delete(r.up, st.NeighborAddress)
		r.lost[st.NeighborAddress] = true
		r.log.Info("bgp session lost", "neighbor", st.NeighborAddress, "reason", st.DisconnectMessage)
		r.wake()
	}
}

// wake makes the control loop look for lost sessions and refused routes.
func (r *Router) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}
