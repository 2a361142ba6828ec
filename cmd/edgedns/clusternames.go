package main

import (
	"fmt"
	"strings"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/kube"
	"github.com/anyedge/anyedge/pkg/steering"
)

// maxClusterName leaves room before a name of the cluster for those of its pods and ports; maxName is the longest that there is.
const (
	maxClusterName = 200
	maxName        = 254
)

// names are what the file has given away: what the cluster asks for has to find room beside it.
type names struct {
	zones     []dnsserver.Zone
	taken     map[string]string // why, by name
	semantics map[string]bool   // names that state a policy of services of the file
}

// acceptable returns the rules for what the cluster asks for.
func acceptable(cfg config.DNS) kube.Rules {
	n := names{zones: cfg.Zones, taken: make(map[string]string), semantics: make(map[string]bool)}
	for _, z := range cfg.Zones {
		n.taken[z.Name] = "is a zone of edgedns itself"
		n.taken["health."+z.Name] = "is the name that checks of edgedns ask for"
		for _, ns := range z.NS {
			n.taken[ns.Name] = "is a name server of edgedns"
		}
	}
	for _, s := range cfg.Services {
		n.taken[s.Name] = "is a service of edgedns' own configuration"
		if s.Semantic.Complete() {
			for _, name := range dnsserver.SemanticNames(s.Semantic, n.zone(s.Name)) {
				n.semantics[name] = true
			}
		}
	}
	return kube.Rules{Name: n.accept, Semantic: n.acceptSemantic}
}

func (n names) accept(name string) error {
	zone := n.zone(name)
	switch why, is := n.taken[name]; {
	case is:
		return fmt.Errorf("%s %s", name, why)
	case zone == "":
		return fmt.Errorf("%s lies in none of the zones of edgedns", name)
	case strings.HasPrefix(name, "ip-"):
		return fmt.Errorf("%s begins with ip-, as names of pods do", name)
	case len(name) > maxClusterName:
		return fmt.Errorf("%s is too long: names of pods below it need room", name)
	case dnsserver.StatesPolicy(name, zone):
		return fmt.Errorf("%s is a name that states a policy: annotate another one with anyedge/semantic", name)
	default:
		return nil
	}
}

func (n names) acceptSemantic(name string, m steering.Semantic) error {
	zone := n.zone(name)
	if why, is := n.taken["none."+zone]; is {
		return fmt.Errorf("there are no semantic names in %s, since none.%s %s", zone, zone, why)
	}
	for _, full := range dnsserver.SemanticNames(m, zone) {
		why, is := n.taken[full]
		switch {
		case is:
			return fmt.Errorf("%s %s", full, why)
		case n.semantics[full]:
			return fmt.Errorf("%s is a name of a service of edgedns' own configuration", full)
		case len(full) > maxName:
			return fmt.Errorf("%s is too long for a name", full)
		}
	}
	return nil
}

// zone is the closest one that name lies below; empty: there is none.
func (n names) zone(name string) (closest string) {
	for _, z := range n.zones {
		if strings.HasSuffix(name, "."+z.Name) && len(z.Name) > len(closest) {
			closest = z.Name
		}
	}
	return closest
}
