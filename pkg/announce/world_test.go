package announce

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/health"
)

// The toy world: sites on a ring, each with one host that runs a machine, a router beside it, and clients. Routers hear of a
// change after routeDelay and send clients to the nearest of the best announcements; hosts hear of each other's state
// after peerDelay. A router that prefers its own host's route shows it no other.
const (
	tick       = 50 * time.Millisecond
	routeDelay = 2 // ticks
	peerDelay  = 10
)

// A toy is one world. What works and what the checks say of it are two things.
type toy struct {
	now   time.Time
	ticks int
	sites []*toySite
	peers bool // hosts ask each other; else they have only what routers send back
	carry bool // and bridge
	damp  bool // routers suppress what flaps (RFC 2439)

	lost, poisoned, updates, routeless int // client-ticks without an answer though a site works; with an answer of a sick host; ...
	trace                              []string
}

// toySite is one host and its router.
type toySite struct {
	*machine
	toy     *toy
	index   int
	works   []bool // of each service, in truth
	status  []health.Status
	session bool
	history []shown // the latest last, as far back as anybody looks
	traffic []time.Time
	penalty []float64 // of each VIP, at the routers
	damped  []bool
}

// shown is what others may see of a host.
type shown struct {
	levels  []level
	targets [][]Target
	serves  []serves
}

func newToy(sites int, cfg Config) *toy {
	w := &toy{now: start}
	for i := range sites {
		s := &toySite{machine: newMachine(cfg), toy: w, index: i, session: true}
		s.works, s.status = make([]bool, len(cfg.Services)), make([]health.Status, len(cfg.Services))
		s.traffic, s.penalty, s.damped = make([]time.Time, len(s.vips)), make([]float64, len(s.vips)), make([]bool, len(s.vips))
		w.sites = append(w.sites, s)
		for j := range cfg.Services {
			s.set(j, true, health.Up)
		}
		s.show()
	}
	w.run(5 * time.Second)
	w.lost, w.updates, w.routeless, w.poisoned = 0, 0, 0, 0
	return w
}

// set changes what is true of a service, and what its checks say.
func (s *toySite) set(service int, works bool, says health.State) {
	s.works[service] = works
	if s.status[service].State != says {
		s.status[service] = health.Status{State: says, Since: s.toy.now, Noticed: s.toy.now, Reason: says.String()}
	}
}

// fail breaks a service, and its checks see it; heal is the opposite.
func (s *toySite) fail(service int) { s.set(service, false, health.Down) }
func (s *toySite) heal(service int) { s.set(service, true, health.Up) }

func (s *toySite) name() string { return fmt.Sprintf("mec-%d", s.index+1) }

// ago is what was to be seen of the site some ticks ago.
func (s *toySite) ago(ticks int) shown { return s.history[max(0, len(s.history)-1-ticks)] }

// routed is what routers know of the site's announcement.
func (s *toySite) routed(vip int) level {
	if !s.session || s.damped[vip] {
		return nothing
	}
	return s.ago(routeDelay).levels[vip]
}

func (s *toySite) isolated(int) bool      { return !s.session }
func (s *toySite) address(int) error      { return nil }
func (s *toySite) busy(vip int) time.Time { return s.traffic[vip] }

// targets is the nearest other host that served the VIP when it was last asked.
func (s *toySite) targets(vip int) ([]Target, error) {
	if !s.toy.carry {
		return nil, nil
	}
	for _, other := range s.toy.nearest(s.index)[1:] {
		if other.ago(peerDelay).serves[vip].serving {
			return []Target{{other.name(), 1}}, nil
		}
	}
	return nil, nil
}

func (s *toySite) others(vip int) string {
	for _, other := range s.toy.sites {
		if other == s {
			continue
		}
		if s.toy.peers && other.ago(peerDelay).serves[vip].announcing && other.session {
			return other.name()
		}
		if s.session && s.routed(vip) != plainly && other.routed(vip) == plainly {
			return "router of " + s.name()
		}
	}
	return ""
}

// nearest returns all sites, the nearest to one first.
func (w *toy) nearest(from int) (all []*toySite) {
	for d := range len(w.sites) {
		all = append(all, w.sites[(from+d)%len(w.sites)])
	}
	return all
}

// show keeps what others may see.
func (s *toySite) show() {
	now := shown{levels: make([]level, len(s.vips)), targets: make([][]Target, len(s.vips)), serves: make([]serves, len(s.vips))}
	for i, m := range s.memory {
		now.levels[i], now.targets[i], now.serves[i] = m.State.level(), m.Targets, m.serves()
	}
	if len(s.history) > 0 {
		s.count(s.ago(0), now)
	}
	s.history = append(s.history, now)
	if len(s.history) > 2*peerDelay {
		s.history = s.history[1:]
	}
}

// count counts UPDATEs, and what routers think of a route that flaps.
func (s *toySite) count(was, is shown) {
	for i := range s.vips {
		s.penalty[i] *= 1 - tick.Seconds()/60 // gone to 1/e in a minute
		if was.levels[i] != is.levels[i] {
			s.toy.updates++
			s.penalty[i] += 500
		}
		switch {
		case s.toy.damp && s.penalty[i] > 3000:
			s.damped[i] = true
		case s.penalty[i] < 750:
			s.damped[i] = false
		}
	}
}

// step lets every host decide, and every client ask once.
func (w *toy) step() {
	w.ticks++
	w.now = w.now.Add(tick)
	for _, s := range w.sites {
		moves, _ := s.machine.step(view{now: w.now, health: s.status, drain: make([]string, len(s.services)), written: true, world: s})
		for _, m := range moves {
			w.trace = append(w.trace, fmt.Sprintf("%v %s vip %d: %s: %s", w.now.Sub(start), s.name(), m.vip, m.to.State, m.Reason))
		}
	}
	for _, s := range w.sites {
		s.show()
	}
	for vip, of := range w.sites[0].vips {
		w.ask(vip, of.service)
	}
}

func (w *toy) ask(vip, service int) {
	possible := false
	for _, s := range w.sites {
		possible = possible || s.works[service] && s.session
	}
	for client := range w.sites {
		at := w.route(client, vip)
		if at == nil {
			w.routeless++
		}
		answered, poisoned := at.answers(vip, service)
		if !answered && possible {
			w.lost++
		}
		if poisoned {
			w.poisoned++
		}
	}
}

// route is where routers bring a client.
func (w *toy) route(client, vip int) (best *toySite) {
	for _, s := range w.nearest(client) {
		if l := s.routed(vip); l != nothing && (best == nil || l > best.routed(vip)) {
			best = s
		}
	}
	return best
}

// answers tells whether a packet that reaches the site is answered, and whether by a sick service: here, or where the bridge
// carries it, and no further.
func (s *toySite) answers(vip, service int) (answered, poisoned bool) {
	if s == nil {
		return false, false
	}
	for _, t := range s.memory[vip].Targets {
		s.traffic[vip] = s.toy.now
		for _, other := range s.toy.sites {
			if other.name() == t.Peer {
				s = other
				return s.works[service], !s.works[service]
			}
		}
	}
	return s.works[service], !s.works[service]
}

func (w *toy) run(d time.Duration) {
	for range int(d / tick) {
		w.step()
	}
}

// dump shows the last decisions of a test that failed.
func (w *toy) dump(t *testing.T) {
	t.Helper()
	t.Log(strings.Join(w.trace[max(0, len(w.trace)-60):], "\n"))
}
