package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/kube"
)

// A cluster has the Services of Kubernetes announced as those of the file are.
type cluster struct {
	*kube.Balancer
	cfg        config.AgentKubernetes
	node       string
	log        *slog.Logger
	monitor    *health.Monitor
	controller *announce.Controller
	checks     map[string]*endpointCheck // by VIP
	notify     func()                    // after what is known changed

	asked atomic.Pointer[map[netip.Addr]bool] // addresses of Services; nil: not known yet
}

// newCluster returns nil when none is configured.
func newCluster(cfg config.Agent, log *slog.Logger) (*cluster, error) {
	k := cfg.Kubernetes
	if k == nil {
		return nil, nil
	}
	c := &cluster{cfg: *k, log: log, node: cmp.Or(k.Node, os.Getenv("NODE_NAME")), checks: make(map[string]*endpointCheck)}
	if c.node == "" {
		return nil, errors.New("kubernetes.node: not written, and NODE_NAME is not in the environment: write the name of this node")
	}
	b, err := kube.NewBalancer(kube.BalancerConfig{
		Kubeconfig: k.Kubeconfig, Namespaces: k.Namespaces, Class: k.Class, Node: c.node, Pools: poolsOf(*k), Reserved: reserved(cfg),
		Lease: kube.LeaseName(k.Lease), NoStatus: !k.Status, Resync: k.Resync, Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	c.Balancer = b
	return c, nil
}

func poolsOf(k config.AgentKubernetes) (all []kube.Pool) {
	for _, p := range k.Pools {
		all = append(all, kube.Pool{Name: p.Name, Prefixes: p.Prefixes, Asked: !p.Auto})
	}
	return all
}

// reserved are the addresses that this agent's file has given to others.
func reserved(cfg config.Agent) map[netip.Addr]string {
	all := make(map[netip.Addr]string)
	for _, p := range cfg.Bridge.Peers {
		for _, a := range []netip.Addr{p.Source, p.SID, p.SID4} {
			all[a] = "an address of peer " + p.Name
		}
	}
	for _, a := range []netip.Addr{cfg.Bridge.Source, cfg.Bridge.SID, cfg.Bridge.SID4} {
		all[a] = "an address of an agent's host"
	}
	for _, s := range cfg.Services {
		for _, v := range s.Announce.VIPs {
			all[v.Address.Addr()] = "a VIP of service " + s.Announce.Name + " of an agent's file"
		}
	}
	delete(all, netip.Addr{})
	return all
}

// follow has what the cluster wants announced and checked, until ctx is done.
func (c *cluster) follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.Changed():
			c.update(c.State())
			c.notify()
		}
	}
}

// update states what is wanted. The controller hears first: what is to leave must not look as if it failed.
func (c *cluster) update(s kube.BalancerState) {
	if !s.Synced {
		return
	}
	var announced []announce.Service
	var checked []health.Service
	seen, asked := make(map[string]bool), make(map[netip.Addr]bool)
	for _, v := range s.VIPs {
		announced, checked = append(announced, c.announced(v)), append(checked, c.checked(v))
		seen[v.Name], asked[v.Address] = true, true
	}
	c.asked.Store(&asked)
	c.controller.Set(announced...)
	for _, v := range s.VIPs {
		c.checks[v.Name].probe.Store(&v.Probe)
	}
	if err := c.monitor.Set(checked...); err != nil {
		c.log.Error("services of the cluster are not checked", "err", err)
	}
	for name := range c.checks {
		if !seen[name] {
			delete(c.checks, name)
		}
	}
}

func (c *cluster) announced(v kube.VIP) announce.Service {
	p := netip.PrefixFrom(v.Address, v.Address.BitLen())
	s := announce.Service{
		Name: v.Name, VIPs: []announce.VIP{{Address: p, Announce: p}}, Settle: c.cfg.Settle, Drain: c.cfg.Drain, Guard: c.cfg.Guard,
	}
	if !v.Wanted {
		s.Leave = v.Why
	}
	if v.AtOnce {
		s.Drain = 0
	}
	return s
}

func (c *cluster) checked(v kube.VIP) health.Service {
	if c.checks[v.Name] == nil {
		c.checks[v.Name] = new(endpointCheck)
	}
	check := c.cfg.Check
	check.Name, check.Checker = "endpoints", c.checks[v.Name]
	return health.Service{Name: v.Name, Checks: []health.Check{check}}
}

// maxAsked is how many endpoints of a node are asked at once: one that works is enough.
const maxAsked = 4

// An endpointCheck passes while an endpoint on this node works. Which ones there are changes under it.
type endpointCheck struct {
	probe atomic.Pointer[kube.Probe]
	first int // whom to ask first: the one that worked, or, when none did, the next ones. Of the goroutine of Check
}

// Check implements health.Checker.
func (c *endpointCheck) Check(ctx context.Context) error {
	p := c.probe.Load()
	switch {
	case p.Kind == kube.NoProbe:
		return nil
	case len(p.Targets) == 0 && p.Local:
		return errors.New("no ready endpoint on this node")
	case len(p.Targets) == 0:
		return nil // others serve: the API says so
	}
	ctx, cancel := context.WithCancel(ctx)
	type answer struct {
		index int
		err   error
	}
	n := min(len(p.Targets), maxAsked)
	answers := make(chan answer, n)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	for i := range n {
		at := (c.first + i) % len(p.Targets)
		asking.Go(func() { answers <- answer{at, ask(ctx, *p, p.Targets[at])} })
	}
	var last error
	for range n {
		a := <-answers
		if a.err == nil {
			c.first = a.index
			return nil
		}
		last = fmt.Errorf("%v: %w", p.Targets[a.index], a.err)
	}
	c.first = (c.first + n) % len(p.Targets)
	return fmt.Errorf("none of %d endpoints on this node works; %w", n, last)
}

func ask(ctx context.Context, p kube.Probe, target netip.AddrPort) error {
	if p.Kind == kube.ProbeHTTP {
		return health.HTTP{Target: target, Path: p.Path}.Check(ctx)
	}
	return health.TCP{Target: target}.Check(ctx)
}

// keeping are the addresses of the host. Those that a killed agent left stay while they may be wanted: what is in a pool until
// the cluster is known, and what a Service has from then on, for the controller hears of it a moment later.
type keeping struct {
	addresses interface {
		announce.Addresses
		List() ([]netip.Prefix, error)
	}
	cluster *cluster
}

// Set implements announce.Addresses.
func (k keeping) Set(ctx context.Context, wanted ...netip.Prefix) error {
	left, err := k.addresses.List()
	if err != nil {
		return err
	}
	all := slices.Clone(wanted)
	for _, p := range left {
		if k.cluster.mayWant(p.Addr()) && !slices.Contains(wanted, p) {
			all = append(all, p)
		}
	}
	return k.addresses.Set(ctx, all...)
}

func (c *cluster) mayWant(a netip.Addr) bool {
	if asked := c.asked.Load(); asked != nil {
		return (*asked)[a]
	}
	return slices.ContainsFunc(c.cfg.Pools, func(p config.AddressPool) bool {
		return slices.ContainsFunc(p.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}

// longestDrain is that of all services.
func longestDrain(cfg config.Agent) (longest time.Duration) {
	for _, s := range cfg.Services {
		longest = max(longest, s.Announce.Drain)
	}
	if cfg.Kubernetes != nil {
		longest = max(longest, cfg.Kubernetes.Drain)
	}
	return longest
}
