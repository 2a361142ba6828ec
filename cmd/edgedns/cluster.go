package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/discovery"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/kube"
	"github.com/anyedge/anyedge/pkg/steering"
)

// A cluster is Kubernetes as a source, and what drains, loads and time make of its services.
type cluster struct {
	source *kube.Source
	meter  *kube.Meter            // nil: nobody measures pods
	load   *config.KubernetesLoad // nil: no load is wanted
	loads  *loads
	drains *drains
	synced bool              // everything in the cluster is known
	doubts map[string]string // why what is known may be old, by namespace; the empty one stands for all
	names  map[string]*member
	next   time.Time // when time alone may change something

	moved   bool      // other pods are to be asked than are
	settled time.Time // when they were the same last
}

// A member is a service of the cluster.
type member struct {
	steering.Service                     // as the server is told of it
	told             []steering.Endpoint // its endpoints as the cluster has them, in the same order

	// Who knows the load of each of them; nil: nobody is asked.
	targets []discovery.Target
	pods    []kube.Pod
}

// newCluster returns the source of the names of a cluster; nil: none is configured.
func newCluster(cfg config.DNS, loads *loads, drains *drains, log *slog.Logger) (*cluster, error) {
	k := cfg.Kubernetes
	if k == nil {
		return nil, nil
	}
	c := &cluster{load: k.Load, loads: loads, drains: drains, names: make(map[string]*member), next: time.Now().Add(idleWait)}
	node := cmp.Or(cfg.Node, os.Getenv("NODE_NAME"))
	var err error
	c.source, err = kube.New(kube.Config{
		Kubeconfig: k.Kubeconfig, Namespaces: k.Namespaces, Class: k.Class, Domain: k.Domain, Node: node,
		NoPods: !k.Pods, NoStatus: !k.Status, Loads: k.Load != nil, Resync: k.Resync, Log: log, Accept: acceptable(cfg),
	})
	if err == nil {
		c.meter, err = newMeter(k, log)
	}
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	return c, nil
}

// take takes in what changed in the cluster, and returns the services that are not as they were. whole tells that this is not all:
// names came or went, or the cluster became known.
func (c *cluster) take(now time.Time) (changed []steering.Service, whole bool) {
	u := c.source.Update()
	whole = len(u.Gone) > 0 || u.Synced != c.synced
	for _, name := range u.Gone {
		delete(c.names, name)
		c.moved = true
	}
	for _, sv := range u.Set {
		m := c.names[sv.Name]
		if m == nil {
			m, whole = new(member), true
			c.names[sv.Name] = m
		}
		c.put(now, m, sv)
		changed = append(changed, m.Service)
	}
	c.synced, c.doubts = u.Synced, c.source.Stale()
	c.settle(now)
	return changed, whole
}

// put makes m what sv is now.
func (c *cluster) put(now time.Time, m *member, sv steering.Service) {
	told := sv.Endpoints
	if c.synced {
		sv.Endpoints = m.rise(now, sv)
	}
	m.Service, m.told = sv, told
	c.find(m)
	c.drains.apply(&m.Service, m.told)
	c.weigh(now, m, true)
}

// rise returns the endpoints of sv, which m is to become, each with the time since when it is up where that is so short that it
// matters. Those of sv are not changed: the source has them, too. Both are sorted.
func (m *member) rise(now time.Time, sv steering.Service) []steering.Endpoint {
	all, own, i := sv.Endpoints, false, 0
	for n, e := range sv.Endpoints {
		for i < len(m.told) && place(m.told[i]).Compare(place(e)) < 0 {
			i++
		}
		since := now
		if i < len(m.told) && place(m.told[i]) == place(e) && serves(m.told[i]) {
			since = m.Endpoints[i].Since
		}
		if !serves(e) || since.IsZero() || now.Sub(since) >= sv.SlowStart {
			continue
		}
		if !own {
			all, own = slices.Clone(all), true
		}
		all[n].Since = since
	}
	return all
}

func place(e steering.Endpoint) netip.AddrPort { return netip.AddrPortFrom(e.Address, e.Port) }

// serves tells that an endpoint is up, and not about to leave by the word of its source.
func serves(e steering.Endpoint) bool { return e.State == steering.Up && !e.Draining }

// services are those of the cluster, sorted by name.
func (c *cluster) services() (all []steering.Service) {
	for _, name := range slices.Sorted(maps.Keys(c.names)) {
		all = append(all, c.names[name].Service)
	}
	return all
}

// stale tells why what is known of services may be old, by name.
func (c *cluster) stale() map[string]string {
	why := make(map[string]string)
	for name, m := range c.names {
		if doubt := cmp.Or(c.doubts[m.Namespace], c.doubts[""]); doubt != "" {
			why[name] = doubt
		}
	}
	return why
}

// redrain returns the service of a name with its drains as they are now; false: it is none of the cluster, or as it was.
func (c *cluster) redrain(name string) (sv steering.Service, changed bool) {
	m := c.names[name]
	if m == nil || !c.drains.apply(&m.Service, m.told) {
		return sv, false
	}
	return m.Service, true
}

// clusterChanged receives when the cluster has something to tell; never when there is none.
func (p *daemon) clusterChanged() <-chan struct{} {
	if p.cluster == nil {
		return nil
	}
	return p.cluster.source.Changed()
}

// updateCluster tells the server what changed in the cluster: of one service where its names stay, else of everything.
func (p *daemon) updateCluster() {
	doubts := p.cluster.doubts
	changed, whole := p.cluster.take(time.Now())
	for _, sv := range changed {
		whole = whole || p.server.Update(sv) != nil
	}
	switch {
	case whole:
		p.replace()
	case !maps.Equal(doubts, p.cluster.doubts):
		p.server.Stale(p.cluster.stale())
	}
}

// content is all that is answered. It is synced when both sources are.
func (p *daemon) content() dnsserver.Content {
	c := p.source.content(p.monitor.Load().Status())
	if p.cluster != nil {
		c.Synced = c.Synced && p.cluster.synced
		c.Services = append(slices.Clone(c.Services), p.cluster.services()...)
		c.Stale = p.cluster.stale()
	}
	return c
}

// redrain tells the server of a service whose drains changed, if it is one of the cluster.
func (p *daemon) redrain(name string) {
	if p.cluster == nil {
		return
	}
	if sv, changed := p.cluster.redrain(name); changed {
		p.tell(sv)
	}
}

// due is when time alone may change something.
func (p *daemon) due() time.Time {
	if p.cluster == nil {
		return p.source.next
	}
	return earlier(p.source.next, p.cluster.next)
}
