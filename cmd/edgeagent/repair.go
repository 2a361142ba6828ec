package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bridge"
	"github.com/anyedge/anyedge/pkg/peers"
)

// carrier is the bridge as the controller knows it.
type carrier struct{ *bridge.Bridge }

// Set implements announce.Bridge.
func (c carrier) Set(ctx context.Context, wanted ...announce.Bridging) error {
	all := make([]bridge.Wanted, 0, len(wanted))
	for _, w := range wanted {
		one := bridge.Wanted{VIP: w.VIP}
		for _, t := range w.Targets {
			one.Targets = append(one.Targets, bridge.Target(t))
		}
		all = append(all, one)
	}
	return c.Bridge.Set(ctx, all...)
}

// Busy implements announce.Bridge.
func (c carrier) Busy(vip netip.Prefix) time.Time { return c.Traffic()[vip].Last }

// Found implements announce.Bridge.
func (c carrier) Found() []announce.Bridging {
	var all []announce.Bridging
	for _, w := range c.Bridge.Found() {
		one := announce.Bridging{VIP: w.VIP}
		for _, t := range w.Targets {
			one.Targets = append(one.Targets, announce.Target(t))
		}
		all = append(all, one)
	}
	return all
}

// others are the peers as the controller knows them.
type others struct{ *peers.Peers }

// Targets implements announce.Peers.
func (o others) Targets(vip netip.Addr) []announce.Target {
	var all []announce.Target
	for _, t := range o.Peers.Targets(vip) {
		all = append(all, announce.Target(t))
	}
	return all
}

// openRepair makes the bridge and what knows the peers. Without a bridge in the configuration it is off: it still takes away
// what an agent that was killed may have left.
func (a *agent) openRepair(cfg config.Agent) (err error) {
	if a.bridge, err = bridge.New(a.log, cfg.Bridge); err != nil || cfg.Bridge.Mode == bridge.Off {
		return err
	}
	source, err := sourceOf(cfg.Bridge)
	if err != nil {
		return err
	}
	c := peers.Config{
		Name: cfg.Name, Site: cfg.Site, Source: source,
		Port: cfg.Peering.Port, Interval: cfg.Peering.Interval, State: a.stateOf,
	}
	for _, p := range cfg.Bridge.Peers {
		c.Peers = append(c.Peers, peers.Peer{Name: p.Name, Site: p.Site, Source: p.Source, Mark: a.bridge.Mark(p.Name)})
	}
	for _, v := range cfg.Bridge.VIPs {
		c.VIPs = append(c.VIPs, v.Addr())
	}
	a.peers, err = peers.New(a.log, c)
	return err
}

// sourceOf returns this host's own unicast address: the configured one, else what the kernel would send from to a peer.
func sourceOf(c bridge.Config) (netip.Addr, error) {
	if c.Source.IsValid() {
		return c.Source, nil
	}
	peer := c.Peers[0]
	conn, err := net.Dial("udp", netip.AddrPortFrom(peer.Source, peers.DefaultPort).String()) // sends nothing
	if err != nil {
		return netip.Addr{}, fmt.Errorf("bridge.source is not written, and cannot be found: peer %s: %w: write this host's own unicast address", peer.Name, err)
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), nil
}

// stateOf answers peers that ask for a VIP.
func (a *agent) stateOf(vip netip.Addr) peers.State {
	serving, announcing := a.controller.Serves(vip)
	return peers.State{Serving: serving, Announcing: announcing, Headroom: a.load.Headroom()}
}
