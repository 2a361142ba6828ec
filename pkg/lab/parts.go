package lab

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// The labels of a topology's nodes that tell who plays which part in experiments.
const (
	LabelRole = "anyedge-role" // client, service, dns or agent
	LabelSite = "anyedge-site" // of a service, dns or agent
	LabelHost = "anyedge-host" // of the same where a site has several hosts: the name with which its programs answer
	LabelVIP  = "anyedge-vip"  // of the client: address:port that the service answers on
	LabelDNS  = "anyedge-dns"  // of the client: address:port of the DNS service
	LabelName = "anyedge-name" // of the client: a name that the DNS service knows
)

// parts is a topology as experiments see it.
type parts struct {
	client   string
	vip, dns netip.AddrPort
	name     string
	sites    []string // as their programs answer: a site with several hosts is here once for each of them
	routers  []string
	players  map[[2]string]string // role and site -> node
	hosts    map[string]string    // site -> node that owns its network
	racks    map[string]string    // site -> what its label says, which several hosts may have in common
	uplinks  map[string]Link      // host -> its link to a router, A being the host's end
}

// findParts reads the labels. Its errors name the label that lacks or is wrong.
func findParts(t Topology) (parts, error) {
	p := parts{players: map[[2]string]string{}, hosts: map[string]string{}, racks: map[string]string{}, uplinks: map[string]Link{}}
	for _, n := range t.Nodes {
		if err := p.add(n); err != nil {
			return parts{}, fmt.Errorf("lab %s: node %s: %w", t.Name, n.Name, err)
		}
	}
	for _, link := range t.Links {
		p.addUplink(link.A, link.B)
		p.addUplink(link.B, link.A)
	}
	if p.client == "" {
		return parts{}, fmt.Errorf("lab %s: no node has the label %s: client", t.Name, LabelRole)
	}
	return p, nil
}

func (p *parts) add(n Node) (err error) {
	if n.routes() {
		p.routers = append(p.routers, n.Name)
	}
	switch role, site := n.Labels[LabelRole], n.Labels[LabelSite]; role {
	case "":
	case "client":
		p.client, p.name = n.Name, n.Labels[LabelName]
		if p.vip, err = netip.ParseAddrPort(n.Labels[LabelVIP]); err != nil {
			return fmt.Errorf("label %s: %w", LabelVIP, err)
		}
		if p.dns, err = netip.ParseAddrPort(n.Labels[LabelDNS]); err != nil {
			return fmt.Errorf("label %s: %w", LabelDNS, err)
		}
	case "service", "dns", "agent":
		if site == "" {
			return fmt.Errorf("label %s lacks", LabelSite)
		}
		rack := site
		site = cmp.Or(n.Labels[LabelHost], site)
		p.racks[site] = rack
		p.players[[2]string{role, site}] = n.Name
		p.hosts[site] = cmp.Or(n.Host, n.Name)
		if !slices.Contains(p.sites, site) {
			p.sites = append(p.sites, site)
		}
	default:
		return fmt.Errorf("label %s: %q is none of client, service, dns, agent", LabelRole, role)
	}
	return nil
}

// routes tells whether a node is a router: one of ours, or of an image that is one.
func (n Node) routes() bool {
	return images[n.Image].router || len(n.Cmd) > 1 && n.Cmd[0] == "edgelab" && n.Cmd[1] == "router"
}

// addUplink notes that a link leads from a host to a router.
func (p *parts) addUplink(host, router Endpoint) {
	if slices.Contains(p.routers, router.Node) && !slices.Contains(p.routers, host.Node) {
		p.uplinks[host.Node] = Link{A: host, B: router}
	}
}

// victim describes a site as faults need it.
func (p parts) victim(site string) (victim, error) {
	v := victim{parts: p, site: site, host: p.hosts[site]}
	link, ok := p.uplinks[v.host]
	if !ok {
		return v, fmt.Errorf("site %s: host %q has no link to a router", site, v.host)
	}
	v.uplink, v.port = link.A, link.B
	return v, nil
}

// player returns the node that plays a role at a site.
func (p parts) player(role, site string) (string, error) {
	node, ok := p.players[[2]string{role, site}]
	if !ok {
		return "", fmt.Errorf("no node has the labels %s: %s and %s: %s", LabelRole, role, LabelSite, site)
	}
	return node, nil
}
