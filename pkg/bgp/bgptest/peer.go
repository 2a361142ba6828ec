// Package bgptest is a real second BGP speaker for tests: it passively accepts a session and tells what it was sent.
package bgptest

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

const (
	group    = "anybody"
	patience = 30 * time.Second // of the Wait functions: far more than anything takes, a test that hangs fails
)

// Config is one peer. It listens on Address, which must be on the machine, and accepts a speaker from any address.
type Config struct {
	Address     netip.Addr
	Port        uint16 // 0: 179
	ASN         uint32
	SpeakerASN  uint32 // of the speaker under test
	Password    string // TCP MD5 (RFC 2385)
	TTLSecurity bool   // GTSM (RFC 5082)
	Refuse      bool   // close every connection until Accept is called
}

// An Event is one prefix that the peer was sent, in the order of arrival.
type Event struct {
	Time      time.Time // when the UPDATE was read from the socket
	Prefix    netip.Prefix
	Withdrawn bool
	NextHop   netip.Addr // zero when withdrawn
	Path      []uint32   // AS path

	Communities      []uint32 // RFC 1997
	LargeCommunities []string // RFC 8092
	MED, LocalPref   *uint32  // nil: not sent
}

// A Peer is a passive GoBGP. All methods are safe for concurrent use; those that wait fail the test after 30 s.
//
// GoBGP keeps settings in package variables that starting a server writes: make all peers of a test before the speaker
// under test runs, and do not use t.Parallel.
type Peer struct {
	t      testing.TB
	server *server.BgpServer
	config Config

	mu       sync.Mutex // guards all below
	routes   map[netip.Prefix]Event
	events   []Event
	sessions int // established so far
	up       bool
	reason   string        // of the last loss
	changed  chan struct{} // closed and replaced at every change
}

// NewPeer starts a peer; it stops at the end of the test. In tests that bind port 179 use internal/nettest.
func NewPeer(t testing.TB, c Config) *Peer {
	t.Helper()
	if c.Port == 0 {
		c.Port = 179
	}
	p := &Peer{t: t, config: c, routes: make(map[netip.Prefix]Event), changed: make(chan struct{})}
	p.server = server.NewBgpServer(server.LoggerOption(slog.New(slog.DiscardHandler), nil))
	go p.server.Serve()
	watching, stopWatching := context.WithCancel(context.Background())
	t.Cleanup(func() {
		stopWatching()
		p.server.Stop()
	})
	if err := p.start(watching); err != nil {
		t.Fatalf("bgptest: peer %s: %v", c.Address, err)
	}
	return p
}

func (p *Peer) start(ctx context.Context) error {
	id := netip.AddrFrom4([4]byte{203, 0, 113, p.config.Address.As16()[15] | 1})
	listen := p.config.Address.String()
	if p.config.Address.Zone() != "" {
		listen = "::" // GoBGP cannot listen on an address with a zone
	}
	global := &api.Global{Asn: p.config.ASN, RouterId: id.String(), ListenPort: int32(p.config.Port), ListenAddresses: []string{listen}}
	if err := p.server.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		return err
	}
	callbacks := server.WatchEventMessageCallbacks{OnPeerUpdate: p.onPeer, OnPathUpdate: p.onPaths}
	if err := p.server.WatchEvent(ctx, callbacks, server.WatchPeer(), server.WatchUpdate(false, "", "")); err != nil {
		return err
	}
	peerGroup := &api.PeerGroup{
		Conf:      &api.PeerGroupConf{PeerGroupName: group, PeerAsn: p.config.SpeakerASN, AuthPassword: p.config.Password},
		Transport: &api.Transport{PassiveMode: true},
		Timers:    &api.Timers{Config: &api.TimersConfig{HoldTime: 9, KeepaliveInterval: 3}},
		AfiSafis:  []*api.AfiSafi{afiSafi(api.Family_AFI_IP6), afiSafi(api.Family_AFI_IP)},
	}
	if p.config.TTLSecurity {
		peerGroup.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	if err := p.server.AddPeerGroup(ctx, &api.AddPeerGroupRequest{PeerGroup: peerGroup}); err != nil {
		return err
	}
	if p.config.Refuse {
		return nil
	}
	return p.accept(ctx)
}

func afiSafi(afi api.Family_Afi) *api.AfiSafi {
	return &api.AfiSafi{Config: &api.AfiSafiConfig{Family: &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}, Enabled: true}}
}

func (p *Peer) accept(ctx context.Context) error {
	anybody := "::/0"
	if p.config.Address.Is4() {
		anybody = "0.0.0.0/0"
	}
	return p.server.AddDynamicNeighbor(ctx, &api.AddDynamicNeighborRequest{DynamicNeighbor: &api.DynamicNeighbor{Prefix: anybody, PeerGroup: group}})
}

// Address returns where the peer listens.
func (p *Peer) Address() netip.Addr { return p.config.Address }

// Accept ends Config.Refuse.
func (p *Peer) Accept() {
	p.t.Helper()
	if err := p.accept(context.Background()); err != nil {
		p.t.Fatalf("bgptest: peer %s: accept: %v", p.config.Address, err)
	}
}

// Announce sends prefixes to the speaker under test.
func (p *Peer) Announce(prefixes ...netip.Prefix) {
	p.t.Helper()
	for _, prefix := range prefixes {
		p.AnnouncePath(prefix)
	}
}

// AnnouncePath sends a prefix with an AS path, to which the peer adds its own AS number in front.
func (p *Peer) AnnouncePath(prefix netip.Prefix, asns ...uint32) {
	p.t.Helper()
	path, err := localPath(prefix, asns...)
	if err == nil {
		_, err = p.server.AddPath(apiutil.AddPathRequest{Paths: []*apiutil.Path{path}})
	}
	if err != nil {
		p.t.Fatalf("bgptest: peer %s: announce %s: %v", p.config.Address, prefix, err)
	}
}

// Withdraw takes prefixes back.
func (p *Peer) Withdraw(prefixes ...netip.Prefix) {
	p.t.Helper()
	for _, prefix := range prefixes {
		path, err := localPath(prefix)
		if err == nil {
			err = p.server.DeletePath(apiutil.DeletePathRequest{Paths: []*apiutil.Path{path}})
		}
		if err != nil {
			p.t.Fatalf("bgptest: peer %s: withdraw %s: %v", p.config.Address, prefix, err)
		}
	}
}

func localPath(prefix netip.Prefix, asns ...uint32) (*apiutil.Path, error) {
	nlri, err := bgp.NewIPAddrPrefix(prefix)
	if err != nil {
		return nil, err
	}
	attrs := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP)}
	if len(asns) > 0 {
		sequence := bgp.NewAs4PathParam(bgp.BGP_ASPATH_ATTR_TYPE_SEQ, asns)
		attrs = append(attrs, bgp.NewPathAttributeAsPath([]bgp.AsPathParamInterface{sequence}))
	}
	if prefix.Addr().Is4() {
		nextHop, err := bgp.NewPathAttributeNextHop(netip.IPv4Unspecified())
		return &apiutil.Path{Family: bgp.RF_IPv4_UC, Nlri: nlri, Attrs: append(attrs, nextHop)}, err
	}
	reach, err := bgp.NewPathAttributeMpReachNLRI(bgp.RF_IPv6_UC, []bgp.PathNLRI{{NLRI: nlri}}, netip.IPv6Unspecified())
	return &apiutil.Path{Family: bgp.RF_IPv6_UC, Nlri: nlri, Attrs: append(attrs, reach)}, err
}

// Reset closes the session with a Cease (administrative reset, RFC 4486); the speaker under test may come back.
func (p *Peer) Reset() {
	p.t.Helper()
	if err := p.server.ResetPeer(context.Background(), &api.ResetPeerRequest{Communication: "bgptest"}); err != nil {
		p.t.Fatalf("bgptest: peer %s: reset: %v", p.config.Address, err)
	}
}

// Routes returns what the speaker under test announces now, in order.
func (p *Peer) Routes() []netip.Prefix {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := make([]netip.Prefix, 0, len(p.routes))
	for prefix := range p.routes {
		l = append(l, prefix)
	}
	slices.SortFunc(l, netip.Prefix.Compare)
	return l
}

// Route returns the last announcement of a prefix that holds now.
func (p *Peer) Route(prefix netip.Prefix) (Event, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.routes[prefix]
	return e, ok
}

// Events returns all that the peer was sent so far, in the order of arrival.
func (p *Peer) Events() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

// Sessions tells how many sessions were established so far, whether one is now, and why the last one ended.
func (p *Peer) Sessions() (established int, up bool, reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sessions, p.up, p.reason
}

// WaitFor waits until the speaker under test announces exactly these prefixes.
func (p *Peer) WaitFor(prefixes ...netip.Prefix) {
	p.t.Helper()
	want := slices.Clone(prefixes)
	slices.SortFunc(want, netip.Prefix.Compare)
	if !p.wait(func() bool { return slices.Equal(p.Routes(), want) }) {
		p.t.Fatalf("bgptest: peer %s: announced to it %v, want %v", p.config.Address, p.Routes(), want)
	}
}

// WaitSession waits until the n-th session since the start was established (1: the first).
func (p *Peer) WaitSession(n int) {
	p.t.Helper()
	if !p.wait(func() bool { have, _, _ := p.Sessions(); return have >= n }) {
		p.t.Fatalf("bgptest: peer %s: session %d not established", p.config.Address, n)
	}
}

// WaitDown waits until no session is established.
func (p *Peer) WaitDown() {
	p.t.Helper()
	if !p.wait(func() bool { _, up, _ := p.Sessions(); return !up }) {
		p.t.Fatalf("bgptest: peer %s: session still up", p.config.Address)
	}
}

// WaitRoute waits until the announcement of a prefix that holds now is as asked for.
func (p *Peer) WaitRoute(prefix netip.Prefix, ok func(Event) bool) {
	p.t.Helper()
	if !p.wait(func() bool { e, there := p.Route(prefix); return there && ok(e) }) {
		e, there := p.Route(prefix)
		p.t.Fatalf("bgptest: peer %s: %s is announced: %v, as %+v", p.config.Address, prefix, there, e)
	}
}

func (p *Peer) wait(done func() bool) bool {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if done() {
			return true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return false
		}
	}
}

func (p *Peer) onPeer(ev *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
	if ev.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	up := ev.Peer.State.SessionState == bgp.BGP_FSM_ESTABLISHED
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case up && !p.up:
		p.sessions++
	case !up && p.up:
		p.reason = ev.Peer.State.DisconnectMessage
		clear(p.routes)
	}
	p.up = up
	p.wake()
}

func (p *Peer) onPaths(paths []*apiutil.Path, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, path := range paths {
		nlri, ok := path.Nlri.(*bgp.IPAddrPrefix)
		if !ok {
			continue
		}
		e := Event{Time: at, Prefix: nlri.Prefix, Withdrawn: path.Withdrawal}
		if e.Withdrawn {
			delete(p.routes, e.Prefix)
		} else {
			e.attributes(path.Attrs)
			p.routes[e.Prefix] = e
		}
		p.events = append(p.events, e)
	}
	p.wake()
}

func (e *Event) attributes(attrs []bgp.PathAttributeInterface) {
	for _, a := range attrs {
		switch a := a.(type) {
		case *bgp.PathAttributeMpReachNLRI:
			e.NextHop = a.Nexthop
		case *bgp.PathAttributeNextHop:
			e.NextHop = a.Value
		case *bgp.PathAttributeAsPath:
			for _, segment := range a.Value {
				e.Path = append(e.Path, segment.GetAS()...)
			}
		case *bgp.PathAttributeCommunities:
			e.Communities = a.Value
		case *bgp.PathAttributeLargeCommunities:
			for _, c := range a.Values {
				e.LargeCommunities = append(e.LargeCommunities, c.String())
			}
		case *bgp.PathAttributeMultiExitDisc:
			e.MED = &a.Value
		case *bgp.PathAttributeLocalPref:
			e.LocalPref = &a.Value
		}
	}
}

// wake is called with p.mu held.
func (p *Peer) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}
