package main

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/discovery"
	"github.com/anyedge/anyedge/pkg/kube"
	"github.com/anyedge/anyedge/pkg/steering"
)

// settleEvery bounds how often it is stated anew who is asked for loads: that costs the more the more pods there are.
const settleEvery = time.Second

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
		c.loads.known = c.meter.Loads(c.loads.known[:0], m.pods...)
		return c.loads.known
	default:
		return nil
	}
}

// trouble tells why the load of an endpoint is not told now; empty: it is, or need not be.
func (c *cluster) trouble(m *member, e steering.Endpoint, now time.Time) string {
	i := slices.IndexFunc(m.told, func(o steering.Endpoint) bool { return place(o) == place(e) })
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
