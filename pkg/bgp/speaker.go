package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// errNotRunning is returned by Set before Ready and after Run.
var errNotRunning = errors.New("bgp speaker is not running")

// A Speaker holds the sessions to all neighbors and announces the wanted set there. It accepts no route from anyone.
// All methods are safe for concurrent use. GoBGP keeps settings in package variables: at most one Speaker may be
// starting at a time in one process.
type Speaker struct {
	config  Config
	log     *slog.Logger
	ready   chan struct{}
	changed chan struct{} // capacity 1
	kick    chan struct{} // capacity 1: the maintainer has something to do
	ledger  *ledger
	metrics *metrics
	sensor  *sensor
	counts  map[netip.Addr]*counters

	sessions sync.Mutex // serializes opening, closing and replacing of sessions; guards the next two
	peering  *server.BgpServer
	peers    map[netip.Addr]bool // neighbors that GoBGP has

	apply   sync.Mutex // serializes changes of GoBGP's table and policy; guards the next four
	allowed map[netip.Prefix]bool
	server  *server.BgpServer
	applied map[netip.Prefix]entry // in GoBGP's table
	unsure  bool                   // the last change failed

	mu      sync.Mutex // guards all below
	started bool
	status  map[netip.Addr]*NeighborStatus
	held    map[netip.Addr]string // by Hold, with the reason
	policy  map[netip.Addr]bool   // whether the export policy is to let IPv4 out to this IPv6 neighbor; not yet done
	said    map[netip.Addr]string // by the neighbor's Cease; not yet in its status
	closing bool                  // sessions end because the speaker stops
	ended   []netip.Addr          // sessions that were lost; not yet replaced
}

// counters of UPDATEs of one neighbor, over all its sessions.
type counters struct{ sent, received atomic.Uint64 }

// NewSpeaker checks the configuration and returns a speaker that Run starts. The log never holds a password.
func NewSpeaker(cfg Config, log *slog.Logger) (*Speaker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("bgp: %w", err)
	}
	s := &Speaker{
		config:  cfg,
		log:     log,
		ready:   make(chan struct{}),
		changed: make(chan struct{}, 1),
		kick:    make(chan struct{}, 1),
		ledger:  newLedger(cfg.ASN, cfg.Neighbors),
		metrics: newMetrics(cfg.Neighbors),
		applied: make(map[netip.Prefix]entry),
		status:  make(map[netip.Addr]*NeighborStatus),
		policy:  make(map[netip.Addr]bool),
		said:    make(map[netip.Addr]string),
		held:    make(map[netip.Addr]string),
		peers:   make(map[netip.Addr]bool),
		sensor:  newSensor(cfg.ASN, cfg.Allowed, cfg.Pools),
		allowed: make(map[netip.Prefix]bool),
		counts:  make(map[netip.Addr]*counters),
	}
	for _, p := range cfg.Allowed {
		s.allowed[p] = true
	}
	now := time.Now()
	for _, n := range cfg.Neighbors {
		s.counts[n.Address] = new(counters)
		s.status[n.Address] = &NeighborStatus{Address: n.Address, ASN: n.ASN, State: stateName(bgp.BGP_FSM_IDLE), Since: now}
	}
	return s, nil
}

// Run serves until ctx is done, then closes every session with a Cease that tells why (RFC 9003) and returns nil. It
// returns an error when it cannot start. It may be called once.
func (s *Speaker) Run(ctx context.Context) error {
	if err := s.claim(); err != nil {
		return err
	}
	routerID := s.config.RouterID
	if !routerID.IsValid() {
		var source string
		routerID, source = machineRouterID()
		s.log.Info("bgp router id derived", "router_id", routerID, "from", source)
	}
	s.sensor.routerID = routerID
	handler := &gobgpHandler{next: s.log.Handler(), onSent: s.onSent, onReceived: s.onReceived, onText: s.onText}
	gobgp, err := startGoBGP(ctx, s.config, routerID, slog.New(handler))
	if err != nil {
		return err
	}
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer s.stop(gobgp, stopWatching)
	if err := s.connect(watching, gobgp); err != nil {
		return err
	}
	s.log.Info("bgp speaker started", "asn", s.config.ASN, "router_id", routerID, "neighbors", len(s.config.Neighbors))
	close(s.ready)
	s.maintain(ctx)
	return nil
}

func (s *Speaker) claim() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return errors.New("bgp speaker was run before: make a new one")
	}
	s.started = true
	return nil
}

// connect watches the sessions and adds the neighbors.
func (s *Speaker) connect(ctx context.Context, gobgp *server.BgpServer) error {
	watch := server.WatchEventMessageCallbacks{OnPeerUpdate: s.onPeer}
	if err := gobgp.WatchEvent(ctx, watch, server.WatchPeer()); err != nil {
		return fmt.Errorf("cannot watch bgp sessions: %w", err)
	}
	if err := s.openSessions(ctx, gobgp); err != nil {
		return err
	}
	s.apply.Lock()
	s.server = gobgp
	s.apply.Unlock()
	return nil
}

// openSessions adds the neighbors that are not held.
func (s *Speaker) openSessions(ctx context.Context, gobgp *server.BgpServer) error {
	s.sessions.Lock()
	defer s.sessions.Unlock()
	s.peering = gobgp
	for _, n := range s.config.Neighbors {
		if s.isHeld(n.Address) {
			continue
		}
		if err := s.replace(ctx, n); err != nil {
			return fmt.Errorf("neighbor %s: %w", n.Address, err)
		}
	}
	return nil
}

// stop closes the sessions with a reason, gives that a moment to leave, and ends GoBGP.
func (s *Speaker) stop(gobgp *server.BgpServer, stopWatching context.CancelFunc) {
	s.apply.Lock()
	s.server = nil
	s.apply.Unlock()
	s.sessions.Lock()
	s.peering = nil
	clear(s.peers)
	s.sessions.Unlock()
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	request := &api.DisablePeerRequest{Communication: "anyedge: the agent stops"}
	if err := gobgp.DisablePeer(context.Background(), request); err != nil {
		s.log.Warn("bgp sessions not closed with a reason", "error", err)
	} else {
		s.awaitSessionsDown(stopPatience)
	}
	stopWatching()
	gobgp.Stop()
	s.log.Info("bgp speaker stopped")
}

func (s *Speaker) awaitSessionsDown(patience time.Duration) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		n, changed := s.ledger.sessionsUp()
		if n == 0 {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			return
		}
	}
}

// Ready returns a channel that is closed once Set may be called. It stays open when Run cannot start.
func (s *Speaker) Ready() <-chan struct{} { return s.ready }

// Changed returns a channel of capacity 1 that has a value when something that Neighbors, Heard or Carries tell has
// changed since the last receive. It is one signal: who has several consumers passes it on.
func (s *Speaker) Changed() <-chan struct{} { return s.changed }

// signal leaves one value in a channel of capacity 1.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
