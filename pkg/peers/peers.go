// Package peers knows which other hosts serve a VIP, how far they are, and how much headroom they have: each is asked
// through the tunnel that would carry bridged packets, at the VIP itself. So an answer proves the whole way: tunnel,
// decapsulation, the VIP on that host, and its agent.
//
// It decides nothing about announcements. A host that cannot be asked is no target, and never a reason to withdraw.
package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// The defaults of a Config, and what does not depend on it.
const (
	DefaultPort     = 9412
	DefaultInterval = 500 * time.Millisecond

	UrgentInterval = 50 * time.Millisecond
	MaxRate        = 1000 // requests per second to one peer, at most; with more than three peers fewer
	MaxName        = 63   // octets in the name of a host
)

// Config describes this host and the others.
type Config struct {
	Name   string     // of this host, by which the others know it
	Site   string     // of this host
	Source netip.Addr // of this host: requests come from it, answers come to it
	Port   uint16     // UDP, the same on all hosts; zero: 9412
	Peers  []Peer
	VIPs   []netip.Addr

	// Interval is the time between two requests to one peer for one VIP; zero: 500 ms. Many VIPs stretch it: see MaxRate.
	Interval time.Duration

	// State tells what this host answers when it is asked for a VIP. It is called from several goroutines and must not block.
	State func(vip netip.Addr) State
}

// A Peer is another host.
type Peer struct {
	Name, Site string
	Source     netip.Addr // of the peer: its answers come from it, answers to it go there; of the same family as ours
	Mark       uint32     // SO_MARK of packets for its tunnel; zero: there is no tunnel, and it is not asked
}

// State is what a host says of itself about one VIP.
type State struct {
	Serving    bool // its own service works
	Announcing bool // it announces the VIP
	Bridging   bool // it sends the VIP's packets to other hosts
	Headroom   int  // percent of its capacity that is free, 0 to 100
}

// Status is what is known of one VIP at one peer.
type Status struct {
	Peer, Site string
	VIP        netip.Addr
	Reachable  bool          // it answers: from the first answer until three requests in a row are lost
	State                    // of its last answer; zero before the first
	RTT        time.Duration // the least of the last 10 to 20 s; zero: never answered since it was unreachable
	Since      time.Time     // of Reachable
	Reason     string        // for people: why it is not reachable, or no target; empty: it may be a target
}

// A Target is a peer that may get the packets of a VIP.
type Target struct {
	Peer   string
	Weight int // 1 to 100: its share among the targets
}

// Peers asks other hosts, and answers them. Its methods may be called from several goroutines at once.
type Peers struct {
	cfg     Config
	log     *slog.Logger
	vips    map[netip.Addr]int // index into cfg.VIPs
	names   map[string]int     // index into cfg.Peers
	sources map[netip.Addr]int // index into cfg.Peers
	changed chan struct{}
	replan  []chan struct{} // one for each peer, capacity 1
	plan    atomic.Pointer[plan]
	metrics *metrics

	mu      sync.Mutex // guards what follows
	pairs   [][]pair   // by peer, then by VIP
	silence []silence  // of each peer as a whole
	reached []int      // how many VIPs of each peer are reachable
	limits  []bucket   // of answers to each peer
	choices []choice   // by VIP
	trouble string     // why nobody can be asked at all; empty: nothing is wrong
}

// New checks the configuration and starts nothing. A nil log discards.
func New(log *slog.Logger, cfg Config) (*Peers, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Port == 0 {
		cfg.Port = DefaultPort
	}
	if cfg.Interval == 0 {
		cfg.Interval = DefaultInterval
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Peers, cfg.VIPs = slices.Clone(cfg.Peers), slices.Clone(cfg.VIPs)
	p := &Peers{
		cfg: cfg, log: log,
		vips: make(map[netip.Addr]int), names: make(map[string]int), sources: make(map[netip.Addr]int),
		changed: make(chan struct{}, 1),
		metrics: newMetrics(cfg.Peers),
		silence: make([]silence, len(cfg.Peers)),
		reached: make([]int, len(cfg.Peers)),
		limits:  make([]bucket, len(cfg.Peers)),
		choices: make([]choice, len(cfg.VIPs)),
	}
	for i, vip := range cfg.VIPs {
		p.vips[vip] = i
	}
	now := time.Now()
	for i, peer := range cfg.Peers {
		p.names[peer.Name], p.sources[peer.Source] = i, i
		p.replan = append(p.replan, make(chan struct{}, 1))
		p.pairs = append(p.pairs, newPairs(len(cfg.VIPs), now))
	}
	p.plan.Store(newPlan(cfg.Interval, rateFor(len(cfg.Peers)), len(cfg.VIPs), nil))
	return p, nil
}

func (c Config) validate() error {
	if c.State == nil {
		return errors.New("peers: no State")
	}
	if err := validName(c.Name); err != nil {
		return fmt.Errorf("name of this host: %w", err)
	}
	if err := validSource(c.Source); err != nil {
		return fmt.Errorf("source of this host: %w", err)
	}
	if c.Interval < UrgentInterval {
		return fmt.Errorf("interval %s: must be at least %s", c.Interval, UrgentInterval)
	}
	names, addresses := map[string]bool{c.Name: true}, map[netip.Addr]bool{c.Source: true}
	for _, peer := range c.Peers {
		if err := cmp.Or(validName(peer.Name), validSource(peer.Source)); err != nil {
			return fmt.Errorf("peer %q: %w", peer.Name, err)
		}
		switch {
		case names[peer.Name]:
			return fmt.Errorf("peer %q: another host has that name", peer.Name)
		case addresses[peer.Source]:
			return fmt.Errorf("peer %q: another host has source %s", peer.Name, peer.Source)
		case peer.Source.Is4() != c.Source.Is4():
			return fmt.Errorf("peer %q: source %s must be of the same family as this host's %s: answers go from one to the other", peer.Name, peer.Source, c.Source)
		}
		names[peer.Name], addresses[peer.Source] = true, true
	}
	for _, vip := range c.VIPs {
		if err := validSource(vip); err != nil {
			return fmt.Errorf("vip: %w", err)
		}
		if addresses[vip] {
			return fmt.Errorf("vip %s: is there already, as a vip or as the source of a host", vip)
		}
		addresses[vip] = true
	}
	return nil
}

func validName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("%q: must have 1 to %d octets", name, MaxName)
	}
	return nil
}

func validSource(a netip.Addr) error {
	if !a.IsValid() || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
		return fmt.Errorf("%v: must be a unicast address that is not link-local", a)
	}
	return nil
}

// Run asks and answers until ctx is done, and returns nil. What it lacks - a port that another program has, an address,
// a right - makes peers unreachable, with that as the reason, and is tried again.
func (p *Peers) Run(ctx context.Context) error {
	if len(p.cfg.Peers) == 0 || len(p.cfg.VIPs) == 0 {
		<-ctx.Done()
		return nil
	}
	return p.run(ctx)
}

// Changed returns a channel of capacity 1 that has a value when Status, beyond an RTT, or Targets changed since the
// last receive.
func (p *Peers) Changed() <-chan struct{} { return p.changed }

// Status returns what is known, VIP by VIP as in Config, peer by peer.
func (p *Peers) Status() []Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]Status, 0, len(p.cfg.VIPs)*len(p.cfg.Peers))
	for vip := range p.cfg.VIPs {
		for peer := range p.cfg.Peers {
			all = append(all, p.status(peer, vip))
		}
	}
	return all
}

// Urgent replaces the set of VIPs that are asked for every 50 ms: those whose packets go to a peer now.
// Others than those of Config are left out.
func (p *Peers) Urgent(vips ...netip.Addr) {
	urgent := make(map[int]bool)
	for _, vip := range vips {
		if i, ok := p.vips[vip]; ok {
			urgent[i] = true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next := newPlan(p.cfg.Interval, rateFor(len(p.cfg.Peers)), len(p.cfg.VIPs), urgent)
	if slices.Equal(next.urgent.vips, p.plan.Load().urgent.vips) {
		return
	}
	p.plan.Store(next)
	for _, ch := range p.replan {
		signal(ch)
	}
}

// Targets returns to whom the packets of a VIP may go now: hosts of this site that serve it, else those of the nearest
// site, in the order of Config; none: nil. A choice is kept while what speaks against it may be noise.
func (p *Peers) Targets(vip netip.Addr) []Target {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i, ok := p.vips[vip]; ok {
		return slices.Clone(p.choices[i].targets)
	}
	return nil
}

// Announced returns the names of the peers that say they announce a VIP and serve it themselves, in the order of Config.
func (p *Peers) Announced(vip netip.Addr) []string {
	i, ok := p.vips[vip]
	if !ok {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for peer, one := range p.cfg.Peers {
		if at := &p.pairs[peer][i]; at.reachable && at.state.Announcing && at.state.Serving {
			names = append(names, one.Name)
		}
	}
	return names
}

// status is one entry of Status; the lock is held.
func (p *Peers) status(peer, vip int) Status {
	at := &p.pairs[peer][vip]
	return Status{
		Peer: p.cfg.Peers[peer].Name, Site: p.cfg.Peers[peer].Site, VIP: p.cfg.VIPs[vip],
		Reachable: at.reachable, State: at.state, RTT: at.rtt.least(), Since: at.since,
		Reason: at.why(p.cfg.Peers[peer].Mark != 0, p.trouble),
	}
}

// signal makes a channel of capacity 1 have a value.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
