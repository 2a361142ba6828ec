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

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// retryInterval is the time between tries of routes that the kernel refused; it is also long enough for a session to be
// established in full.
const retryInterval = 50 * time.Millisecond

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

	sessions sync.Mutex          // serializes opening and closing of sessions; guards the next two
	peers    map[netip.Addr]bool // neighbors that GoBGP has
	held     map[netip.Addr]bool // by Hold

	mu      sync.Mutex // guards all below
	up      map[netip.Addr]bool
	lost    map[netip.Addr]bool   // neighbors whose session ended by itself, or was released
	opening map[netip.Addr]bool   // neighbors whose session is about to be established
	young   map[netip.Addr]bool   // neighbors whose session was just established
	gone    map[netip.Prefix]bool // withdrawn while a session was opening or young
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
		peers: make(map[netip.Addr]bool), held: make(map[netip.Addr]bool), up: make(map[netip.Addr]bool), lost: make(map[netip.Addr]bool),
		opening: make(map[netip.Addr]bool), young: make(map[netip.Addr]bool), gone: make(map[netip.Prefix]bool),
	}, nil
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
		r.sessions.Lock()
		clear(r.peers)
		r.sessions.Unlock()
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
			r.repair(ctx)
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
		if ok && p.Withdrawal {
			r.noteGone(nlri.Prefix)
		}
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

// wake makes the control loop look for lost sessions and refused routes.
func (r *Router) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}
