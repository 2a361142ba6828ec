package main

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/kube"
	"github.com/anyedge/anyedge/pkg/steering"
)

// maxClusterName leaves room before a name of the cluster for those of its pods and ports.
const maxClusterName = 200

// newCluster returns the source of the names of a cluster; nil: none is configured.
func newCluster(cfg config.DNS, log *slog.Logger) (*kube.Source, error) {
	k := cfg.Kubernetes
	if k == nil {
		return nil, nil
	}
	node := k.Node
	if node == "" {
		node = os.Getenv("NODE_NAME")
	}
	s, err := kube.New(kube.Config{
		Kubeconfig: k.Kubeconfig, Namespaces: k.Namespaces, Class: k.Class, Domain: k.Domain, Node: node,
		NoPods: !k.Pods, NoStatus: !k.Status, Resync: k.Resync, Log: log, Accept: acceptable(cfg),
	})
	if err != nil {
		return nil, fmt.Errorf("kubernetes: %w", err)
	}
	return s, nil
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

// clusterChanged receives when the cluster has something to tell; never when there is none.
func (p *daemon) clusterChanged() <-chan struct{} {
	if p.cluster == nil {
		return nil
	}
	return p.cluster.Changed()
}

// updateCluster tells the server what changed in the cluster: of one service where its names stay, else of everything.
func (p *daemon) updateCluster() {
	u := p.cluster.Update()
	whole := len(u.Gone) > 0 || u.Synced != p.joined
	p.joined = u.Synced
	for _, sv := range u.Set {
		whole = whole || p.server.Update(p.drained(sv)) != nil
	}
	if whole {
		p.replace()
	}
}

// content is all that is answered. It is synced when both sources are.
func (p *daemon) content() dnsserver.Content {
	c := p.source.content(p.monitor.Load().Status())
	if p.cluster != nil {
		c.Synced = c.Synced && p.joined
		c.Services = slices.Clone(c.Services)
		for _, sv := range p.cluster.Services() {
			c.Services = append(c.Services, p.drained(sv))
		}
	}
	return c
}

// drained is a service of the cluster with its endpoints that are drained by request.
func (p *daemon) drained(sv steering.Service) steering.Service {
	p.drains.apply(&sv, sv.Endpoints)
	return sv
}

// redrain tells the server of a service whose drains changed, if it is one of the cluster.
func (p *daemon) redrain(name string) {
	if p.cluster == nil {
		return
	}
	all := p.cluster.Services()
	i := slices.IndexFunc(all, func(sv steering.Service) bool { return sv.Name == name })
	if i < 0 {
		return
	}
	if err := p.server.Update(p.drained(all[i])); err != nil {
		p.log.Error("a change is refused, the service stays as it was", "err", err)
	}
}
