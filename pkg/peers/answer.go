package peers

import (
	"net/netip"
	"slices"
	"time"
)

// A replier sends an answer to a peer's address.
type replier func(to netip.Addr, b []byte)

// receive takes a packet that came from one address to another.
func (p *Peers) receive(b []byte, from, to netip.Addr, reply replier) {
	m, err := parseMessage(b)
	switch {
	case err != nil:
		p.refuse("malformed", from, err)
	case m.kind == request:
		p.answer(m, from, to, reply)
	default:
		p.accept(m, from, to)
	}
}

// answer answers a request that came to one of our VIPs in the name of a configured peer, at that peer's configured
// address. Where the request came from says nothing: anybody may send to a VIP.
func (p *Peers) answer(m message, from, to netip.Addr, reply replier) {
	peer, known := p.names[m.name]
	_, ours := p.vips[to]
	switch {
	case !known:
		p.refuse("unknown_peer", from, nil)
	case !ours || m.vip != to:
		p.refuse("other_address", from, nil)
	case from.Is4() == p.cfg.Source.Is4() && from != p.cfg.Peers[peer].Source:
		p.refuse("other_source", from, nil)
	case !p.mayAnswer(peer):
		p.refuse("too_many", from, nil)
	default:
		s := p.cfg.State(to)
		s.Headroom = min(max(s.Headroom, 0), 100)
		a := message{kind: answer, name: p.cfg.Name, vip: to, nonce: m.nonce, state: s}
		reply(p.cfg.Peers[peer].Source, a.append(make([]byte, 0, messageSize)))
		p.metrics.answered[peer].Inc()
	}
}

// mayAnswer keeps a stranger, who asks in the name of a peer, from making us flood it.
func (p *Peers) mayAnswer(peer int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limits[peer].take(time.Now(), 2*MaxRate)
}

// accept takes an answer from a configured peer to a request of ours.
func (p *Peers) accept(m message, from, to netip.Addr) {
	peer, known := p.sources[from]
	vip, ours := p.vips[m.vip]
	if !known || !ours || to != p.cfg.Source {
		p.refuse("unasked", from, nil)
		return
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	at := &p.pairs[peer][vip]
	i := at.find(m.nonce)
	if i < 0 || m.name != p.cfg.Peers[peer].Name {
		p.misled(m, vip)
		p.refuse("unasked", from, nil)
		return
	}
	was := at.reachable
	changed, lost := at.answered(i, m.state, now)
	p.metrics.lost[peer].Add(float64(lost))
	p.silence[peer] = silence{}
	if !was {
		p.reach(peer, vip)
	}
	if p.rechoose(vip) || changed {
		signal(p.changed)
	}
}

// reach notes that a VIP became reachable; the lock is held.
func (p *Peers) reach(peer, vip int) {
	p.log.Debug("vip reachable at peer", "peer", p.cfg.Peers[peer].Name, "vip", p.cfg.VIPs[vip])
	if p.reached[peer]++; p.reached[peer] == 1 {
		p.log.Info("peer reachable", "peer", p.cfg.Peers[peer].Name, "site", p.cfg.Peers[peer].Site)
	}
}

// misled looks for the peer that was asked when another host answered; the lock is held.
func (p *Peers) misled(m message, vip int) {
	for asked := range p.cfg.Peers {
		at := &p.pairs[asked][vip]
		if p.cfg.Peers[asked].Name != m.name && at.find(m.nonce) >= 0 && at.misled != m.name {
			at.misled = m.name
			signal(p.changed)
		}
	}
}

// rechoose returns whether the targets of a VIP changed; the lock is held.
func (p *Peers) rechoose(vip int) bool {
	var candidates []candidate
	for peer, one := range p.cfg.Peers {
		if at := &p.pairs[peer][vip]; at.candidate() {
			candidates = append(candidates, candidate{one.Name, one.Site, at.rtt.least(), at.state.Headroom})
		}
	}
	before := p.choices[vip]
	p.choices[vip] = choose(p.cfg.Site, candidates, before)
	return !slices.Equal(before.targets, p.choices[vip].targets)
}

// refuse counts a packet that is not taken.
func (p *Peers) refuse(why string, from netip.Addr, err error) {
	p.metrics.refused.WithLabelValues(why).Inc()
	p.log.Debug("packet refused", "from", from, "why", why, "err", err)
}
