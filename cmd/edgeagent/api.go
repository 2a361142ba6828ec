package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bridge"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/kube"
	"github.com/anyedge/anyedge/pkg/session"
	"github.com/anyedge/anyedge/pkg/siteapi"
)

// orders is what the API asks an agent.
type orders struct{ *agent }

// Status joins what the components tell.
func (o orders) Status() siteapi.Status {
	s := siteapi.Status{Site: o.cfg.Site, Version: program.Version()}
	neighbors, checked := o.speaker.Neighbors(), o.monitor.Status()
	var watched []session.Status
	if o.sessions != nil {
		watched = o.sessions.Status()
	}
	s.Cluster = o.clusterOf()
	for _, st := range o.controller.Status() {
		s.Services = append(s.Services, o.serviceOf(st, statusOf(checked, st.Service), neighbors))
		for _, v := range st.VIPs {
			if v.Hold == announce.Braked {
				s.Brake = v.Reason
			}
		}
	}
	for _, n := range neighbors {
		s.Neighbors = append(s.Neighbors, siteapi.Neighbor{
			Address: n.Address, ASN: n.ASN, State: n.State, Since: n.Since,
			Families: n.Families, NotCarried: n.NotCarried, Reason: cmp.Or(n.Held, n.Reason), BFD: bfdOf(watched, n.Address),
		})
	}
	if o.peers == nil {
		return s
	}
	for _, p := range o.peers.Status() {
		s.Peers = append(s.Peers, siteapi.Peer{
			Name: p.Peer, Site: p.Site, VIP: p.VIP, Reachable: p.Reachable, Serving: p.Serving, Announcing: p.Announcing,
			Bridging: p.Bridging, Headroom: p.Headroom, RTT: siteapi.Milliseconds(p.RTT), Since: p.Since, Reason: p.Reason,
		})
	}
	s.Bridge = &siteapi.Bridge{Mode: o.bridge.Mode().String()}
	for _, p := range o.bridge.Problems() {
		s.Bridge.Problems = append(s.Bridge.Problems, siteapi.Problem(p))
	}
	return s
}

func (o orders) serviceOf(st announce.ServiceStatus, checked health.Status, neighbors []bgp.NeighborStatus) siteapi.Service {
	one := siteapi.Service{
		Name: st.Service, State: st.State.String(), Since: st.Since, Reason: st.Reason, Drain: st.Drain,
		Health: siteapi.Health{State: checked.State.String(), Since: checked.Since, Reason: checked.Reason, Degraded: checked.DegradedReason},
	}
	traffic := o.bridge.Traffic()
	for _, v := range st.VIPs {
		one.VIPs = append(one.VIPs, siteapi.VIP{
			Address: v.VIP, Announce: v.Announce,
			State: v.State.String(), Since: v.Since, Reason: v.Reason, Next: v.Next,
			Announced: o.announcedOf(v, neighbors),
			Bridge:    bridgeOf(v, traffic[v.VIP]),
			Guard:     guardOf(st.Guard, v),
		})
	}
	for _, c := range checked.Checks {
		one.Checks = append(one.Checks, siteapi.Check{Name: c.Name, State: c.State.String(), Since: c.Since, Reason: c.Reason})
	}
	return one
}

// announcedOf tells who is told what of a VIP, and who else announces it.
func (o orders) announcedOf(v announce.VIPStatus, neighbors []bgp.NeighborStatus) siteapi.Announced {
	a := siteapi.Announced{As: v.Announced, Heard: o.speaker.Heard(v.Announce)}
	for _, n := range neighbors {
		if v.Announced != "" && n.Established && !slices.Contains(n.NotCarried, v.Announce) {
			a.To = append(a.To, n.Address)
		}
	}
	if o.peers != nil {
		a.Peers = o.peers.Announced(v.VIP.Addr())
	}
	return a
}

func bridgeOf(v announce.VIPStatus, t bridge.Traffic) *siteapi.VIPBridge {
	if len(v.Targets) == 0 {
		return nil
	}
	b := &siteapi.VIPBridge{Since: v.Bridged, Packets: t.Packets, Bytes: t.Bytes, Dropped: t.Dropped, Last: t.Last}
	for _, target := range v.Targets {
		b.Targets = append(b.Targets, siteapi.Target(target))
	}
	return b
}

// guardOf tells what a guard does, nil when it does nothing.
func guardOf(g announce.Guard, v announce.VIPStatus) *siteapi.VIPGuard {
	if v.Hold == announce.NoHold && v.Suppressed.IsZero() && v.Left == 0 {
		return nil // nothing worth a line
	}
	guard := &siteapi.VIPGuard{Holds: v.Hold.String(), SuppressedUntil: v.Suppressed}
	if limit := g.Limit(); limit >= 0 {
		left := max(0, limit-v.Left)
		guard.WithdrawalsLeft = &left
	}
	return guard
}

// statusOf finds what is known of a service; of one that is leaving, nothing is.
func statusOf(all []health.Status, service string) health.Status {
	if i := slices.IndexFunc(all, func(st health.Status) bool { return st.Service == service }); i >= 0 {
		return all[i]
	}
	return health.Status{Service: service}
}

// clusterOf tells what the cluster asks for, nil when there is none.
func (o orders) clusterOf() *siteapi.Cluster {
	if o.cluster == nil {
		return nil
	}
	s := o.cluster.State()
	c := &siteapi.Cluster{Node: o.cluster.node, Synced: s.Synced, Heard: s.Heard, Leader: s.Leader}
	here := make(map[netip.Addr]kube.VIP, len(s.VIPs))
	for _, v := range s.VIPs {
		here[v.Address] = v
	}
	for _, v := range s.Verdicts {
		one := siteapi.ClusterService{Name: v.Service, Problems: v.Problems}
		for _, a := range v.Addresses {
			vip := here[a.Address]
			one.Addresses = append(one.Addresses, siteapi.ClusterAddress{
				Address: a.Address, From: a.From, Wanted: vip.Wanted, Why: cmp.Or(a.Held, vip.Why),
			})
		}
		c.Services = append(c.Services, one)
	}
	return c
}

// bfdOf returns the BFD session with a neighbor, nil when there is none.
func bfdOf(all []session.Status, neighbor netip.Addr) *siteapi.BFD {
	i := slices.IndexFunc(all, func(s session.Status) bool { return s.Neighbor == neighbor })
	if i < 0 {
		return nil
	}
	b := all[i].BFD
	return &siteapi.BFD{
		State: b.State.String(), RemoteState: b.RemoteState.String(), Since: b.Since,
		Interval: siteapi.Milliseconds(b.Interval), Detection: siteapi.Milliseconds(b.DetectionTime),
		Diag: b.Diag.String(), Reason: b.Reason, RealTime: b.RTScheduled,
	}
}

func (o orders) Drain(services ...string) error   { return known(o.drains.Drain(services...)) }
func (o orders) Undrain(services ...string) error { return known(o.drains.Undrain(services...)) }

// known says in the API's words that a service is not.
func known(err error) error {
	if errors.Is(err, announce.ErrNoService) {
		return fmt.Errorf("%w: %w", siteapi.ErrNoService, err)
	}
	return err
}

// serveAPI outlives trouble with its listener, as serveMetrics does.
func (a *agent) serveAPI(ctx context.Context) error {
	if a.socket == nil {
		<-ctx.Done()
		return nil
	}
	if err := a.api.Serve(ctx, a.socket); err != nil {
		a.log.Error("the api is no longer served", "err", err)
		<-ctx.Done()
	}
	return nil
}

// followDecisions tells the watchers of the API what becomes of the services.
func (a *agent) followDecisions(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.controller.Changed():
			a.api.Notify()
		}
	}
}
