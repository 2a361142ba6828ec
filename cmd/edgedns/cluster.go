package main

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/discovery"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/kube"
	"github.com/anyedge/anyedge/pkg/steering"
)

// maxClusterName leaves room before a name of the cluster for those of its pods and ports.
const maxClusterName = 200

// settleEvery bounds how often it is stated anew who is asked for loads: that costs the more the more pods there are.
const settleEvery = time.Second

// A cluster is Kubernetes as a source, and what drains, loads and time make of its services.
type cluster struct {
	source *kube.Source
	meter  *kube.Meter            // nil: nobody measures pods
	load   *config.KubernetesLoad // nil: no load is wanted
	loads  *loads
	drains *drains
	synced bool // everything in the cluster is known
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
	node := k.Node
	if node == "" {
		node = os.Getenv("NODE_NAME")
	}
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

// newMeter returns who measures pods; nil: nobody is to.
func newMeter(k *config.Kubernetes, log *slog.Logger) (*kube.Meter, error) {
	if k.Load == nil || k.Load.Kubelets == nil && !k.Load.MetricsAPI {
		return nil, nil
	}
	cfg := kube.MeterConfig{
		Kubeconfig: k.Kubeconfig, Namespaces: k.Namespaces, Metrics: k.Load.MetricsAPI,
		Interval: k.Load.Interval, Timeout: k.Load.Timeout, Log: log,
	}
	if to := k.Load.Kubelets; to != nil {
		cfg.Kubelets = &kube.Kubelets{Port: to.Port, CAFile: to.CAFile, Insecure: to.InsecureSkipVerify}
	}
	return kube.NewMeter(cfg)
}

// acceptable returns the rule for names that the cluster asks for: they have to find room beside those of the file.
func acceptable(cfg config.DNS) func(name string) error {
	taken := make(map[string]string)
	for _, z := range cfg.Zones {
		taken[z.Name] = "is a zone of edgedns itself"
		taken["health."+z.Name] = "is the name that checks of edgedns ask for"
		for _, ns := range z.NS {
			taken[ns.Name] = "is a name server of edgedns"
		}
	}
	for _, s := range cfg.Services {
		taken[s.Name] = "is a service of edgedns' own configuration"
	}
	return func(name string) error {
		switch why, is := taken[name]; {
		case is:
			return fmt.Errorf("%s %s", name, why)
		case !inZone(cfg.Zones, name):
			return fmt.Errorf("%s lies in none of the zones of edgedns", name)
		case strings.HasPrefix(name, "ip-"):
			return fmt.Errorf("%s begins with ip-, as names of pods do", name)
		case len(name) > maxClusterName:
			return fmt.Errorf("%s is too long: names of pods below it need room", name)
		default:
			return nil
		}
	}
}

func inZone(zones []dnsserver.Zone, name string) bool {
	for _, z := range zones {
		if strings.HasSuffix(name, "."+z.Name) || z.Name == "." {
			return true
		}
	}
	return false
}

// take takes in what changed in the cluster, and returns the services that are not as they were. whole tells that this is not all:
// names came or went, or the cluster became known.
func (c *cluster) take(now time.Time) (changed []steering.Service, whole bool) {
	u := c.source.Update()
	whole = len(u.Gone) > 0 || u.Synced != c.synced
	c.synced = u.Synced
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
	c.settle(now)
	return changed, whole
}

// put makes m what sv is now.
func (c *cluster) put(now time.Time, m *member, sv steering.Service) {
	m.Service, m.told = sv, sv.Endpoints
	c.find(m)
	c.drains.apply(&m.Service, m.told)
	c.weigh(now, m, true)
}

// find finds out who knows the loads of a service's endpoints.
func (c *cluster) find(m *member) {
	if c.load == nil {
		return
	}
	var targets []discovery.Target
	asked, pods := c.source.Behind(m.Service)
	switch {
	case c.load.Pods && asked.Format != "":
		for _, e := range m.told {
			targets = append(targets, c.target(asked, e))
		}
		pods = nil
	case c.meter == nil:
		pods = nil
	}
	if !slices.Equal(m.targets, targets) || !slices.Equal(m.pods, pods) {
		m.targets, m.pods, c.moved = targets, pods, true
	}
}

// target is how an endpoint is asked; the zero Target: it cannot be.
func (c *cluster) target(a kube.Asked, e steering.Endpoint) discovery.Target {
	format, known := discovery.FormatOf(a.Format)
	port := cmp.Or(a.Port, e.Port)
	if !known || port == 0 {
		return discovery.Target{}
	}
	return discovery.Target{
		Address: netip.AddrPortFrom(e.Address, port), Path: cmp.Or(a.Path, format.Path()), Format: format,
		Names:    discovery.Names{InFlight: a.InFlight, Latency: a.Latency, CPU: a.CPU},
		Interval: c.load.Interval, Timeout: c.load.Timeout,
	}
}

// settle states who is asked for loads from now on, if that is news and was not done just before. It sets when to look again.
func (c *cluster) settle(now time.Time) {
	if c.moved && now.Sub(c.settled) >= settleEvery {
		c.moved, c.settled = false, now
		c.apply()
	}
	c.next = c.loads.next(now)
	if c.moved {
		c.next = earlier(c.next, c.settled.Add(settleEvery))
	}
}

func (c *cluster) apply() {
	var pods []kube.Pod
	w := wanted{has: func(name string) bool { return c.names[name] != nil }}
	for _, m := range c.names {
		w.ask(m.targets)
		pods = append(pods, m.known()...)
		if m.loaded() {
			w.look(c.load.Interval)
		}
	}
	c.loads.cluster = w
	c.loads.apply()
	if c.meter != nil {
		c.meter.Set(pods...)
	}
}

// known are the pods that somebody measures.
func (m *member) known() (all []kube.Pod) {
	for _, p := range m.pods {
		if p != (kube.Pod{}) {
			all = append(all, p)
		}
	}
	return all
}

func (m *member) loaded() bool { return m.targets != nil || m.pods != nil }

// changes are the services to which loads or the time did something.
func (c *cluster) changes(now time.Time) (changed []steering.Service) {
	for _, m := range c.names {
		if c.weigh(now, m, false) {
			changed = append(changed, m.Service)
		}
	}
	c.settle(now)
	return changed
}

// weigh sets the weights of a service where its loads or the time may have changed any; news: its endpoints changed.
func (c *cluster) weigh(now time.Time, m *member, news bool) (changed bool) {
	if !m.loaded() && !news && !c.loads.weights.Due(now, m.Name) {
		return false
	}
	return c.loads.weights.Weigh(now, &m.Service, c.of(m))
}

// of returns the loads of the endpoints of a service, in their order; nil: it has none.
func (c *cluster) of(m *member) []steering.Load {
	switch {
	case m.targets != nil:
		return c.loads.ofTargets(m.targets, len(m.targets))
	case m.pods != nil:
		all := make([]steering.Load, len(m.pods))
		for i, p := range m.pods {
			all[i] = c.meter.Load(p)
		}
		return all
	default:
		return nil
	}
}

// trouble tells why the load of an endpoint is not told now; empty: it is, or need not be.
func (c *cluster) trouble(m *member, e steering.Endpoint, now time.Time) string {
	i := slices.IndexFunc(m.told, func(o steering.Endpoint) bool { return o.Address == e.Address && o.Port == e.Port })
	switch {
	case i < 0 || !m.loaded():
		return ""
	case m.targets != nil && m.targets[i] == discovery.Target{}:
		return "has no port to ask: annotate anyedge/load-port"
	case m.targets != nil:
		return c.loads.scraper.Trouble(m.targets[i])
	case m.pods[i] == kube.Pod{}:
		return "its pod is not known"
	default:
		return c.meter.Trouble(m.pods[i], now)
	}
}

// services are those of the cluster, sorted by name.
func (c *cluster) services() (all []steering.Service) {
	for _, name := range slices.Sorted(maps.Keys(c.names)) {
		all = append(all, c.names[name].Service)
	}
	return all
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
	changed, whole := p.cluster.take(time.Now())
	for _, sv := range changed {
		whole = whole || p.server.Update(sv) != nil
	}
	if whole {
		p.replace()
	}
}

// content is all that is answered. It is synced when both sources are.
func (p *daemon) content() dnsserver.Content {
	c := p.source.content(p.monitor.Load().Status())
	if p.cluster != nil {
		c.Synced = c.Synced && p.cluster.synced
		c.Services = append(slices.Clone(c.Services), p.cluster.services()...)
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
