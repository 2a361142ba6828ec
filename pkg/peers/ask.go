package peers

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A sender sends a request for a VIP through the tunnel to a peer; both are indexes into Config. It returns errReopen
// when it will never do so again.
type sender func(peer, vip int, b []byte) error

// askPeer asks one peer for all VIPs, by turns, until ctx is done.
func (p *Peers) askPeer(ctx context.Context, peer int, send sender) error {
	var followed *plan
	var urgent, normal turn
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.replan[peer]:
		case <-timer.C:
		}
		now := time.Now()
		if next := p.plan.Load(); next != followed {
			followed = next
			urgent.follow(next.urgent, now)
			normal.follow(next.normal, now.Add(time.Duration(rand.Float64()*float64(next.normal.step))))
		}
		for _, t := range []*turn{&urgent, &normal} {
			for _, vip := range t.take(now, rand.Float64()) {
				if err := p.ask(peer, vip, t.interval, followed.base, send); err != nil {
					return err
				}
			}
		}
		timer.Reset(untilNext(now, urgent, normal))
	}
}

// ask judges what was asked before, and asks once more. Only an error that ends all asking is returned.
func (p *Peers) ask(peer, vip int, interval, base time.Duration, send sender) error {
	m := message{kind: request, name: p.cfg.Name, vip: p.cfg.VIPs[vip], nonce: nonce()}
	p.judge(peer, vip, interval, base, m.nonce, time.Now())
	err := send(peer, vip, m.append(make([]byte, 0, messageSize)))
	p.metrics.asked[peer].Inc()
	if errors.Is(err, errReopen) {
		return err
	}
	p.sent(peer, vip, err)
	return nil
}

// judge finds out what was lost, and notes the next request.
func (p *Peers) judge(peer, vip int, interval, base time.Duration, nonce uint64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := &p.pairs[peer][vip]
	switch {
	case p.silence[peer].over(base, at.rtt.least(), now):
		p.losePeer(peer, now, fmt.Sprintf("the whole host did not answer for %s", now.Sub(p.silence[peer].first).Round(time.Millisecond)))
	case at.silent(interval, now):
		p.lose(peer, vip, now, fmt.Sprintf("no answer to %d requests", len(at.open)))
		signal(p.changed)
	}
	if at.reachable {
		p.silence[peer].ask(now)
	}
	if at.ask(nonce, now) {
		p.metrics.lost[peer].Inc()
	}
}

// losePeer makes all VIPs of a peer unreachable; the lock is held.
func (p *Peers) losePeer(peer int, now time.Time, why string) {
	for vip := range p.pairs[peer] {
		if p.pairs[peer][vip].reachable {
			p.lose(peer, vip, now, why)
		}
	}
	signal(p.changed)
}

// lose makes one VIP of a peer unreachable; the lock is held.
func (p *Peers) lose(peer, vip int, now time.Time, why string) {
	p.pairs[peer][vip].lose(now, why)
	p.rechoose(vip)
	p.log.Debug("vip unreachable at peer", "peer", p.cfg.Peers[peer].Name, "vip", p.cfg.VIPs[vip], "reason", why)
	if p.reached[peer]--; p.reached[peer] == 0 {
		p.silence[peer] = silence{}
		p.log.Warn("peer unreachable", "peer", p.cfg.Peers[peer].Name, "site", p.cfg.Peers[peer].Site, "reason", why)
	}
}

// sent keeps why a request could not leave, if so. It is lost like any other.
func (p *Peers) sent(peer, vip int, err error) {
	why := ""
	if err != nil {
		why = err.Error()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if at := &p.pairs[peer][vip]; at.sending != why {
		at.sending = why
		signal(p.changed)
	}
}

// untilNext is how long nothing is due.
func untilNext(now time.Time, turns ...turn) time.Duration {
	wait := time.Hour
	for _, t := range turns {
		if len(t.vips) > 0 {
			wait = min(wait, t.due.Sub(now))
		}
	}
	return max(wait, 0)
}

// nonce cannot be guessed, so that nobody answers who did not see the request.
func nonce() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:])
}
