package config

import (
	"net/netip"
	"strings"
	"time"

	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bridge"
	"github.com/anyedge/anyedge/pkg/health"
)

// AgentKubernetes is a cluster whose Services of type LoadBalancer are announced.
type AgentKubernetes struct {
	Kubeconfig string   // file; empty: the pod's own service account
	Namespaces []string // empty: all
	Class      string   // of the Services
	Node       string   // that this runs on; empty: the environment tells
	Pools      []AddressPool
	Check      health.Check // when endpoints are asked; no Checker
	Settle     time.Duration
	Drain      time.Duration
	Guard      announce.Guard
	Lease      Lease
	Status     bool // give addresses
	Resync     time.Duration
}

// AddressPool is what Services are given addresses from.
type AddressPool struct {
	Name     string
	Prefixes []netip.Prefix
	Auto     bool // for all; else for who asks for it
}

// Lease is where it is written which agent gives addresses.
type Lease struct{ Namespace, Name string }

func agentKubernetes(it item, neighbors []bgp.Neighbor) *AgentKubernetes {
	if !it.present() {
		return nil
	}
	o := it.object([]string{
		"kubeconfig", "namespaces", "class", "node", "pools", "check", "settle", "drain", "guard", "lease", "status", "resync",
	}, nil)
	check := o.get("check").object([]string{"interval", "timeout", "fast_interval", "rise", "fall"}, nil)
	k := &AgentKubernetes{
		Kubeconfig: o.get("kubeconfig").filePath(),
		Namespaces: namespaces(o.get("namespaces")),
		Class:      balancerClass(o.get("class")),
		Node:       o.get("node").str("the node's name"),
		Pools:      addressPools(o.need("pools", `what addresses are given from: [{name: ..., prefixes: ["2001:db8:53::/112"]}]`), newVIPRules(neighbors)),
		Check:      schedule(check),
		Settle:     o.get("settle").duration(2*time.Second, 0, time.Hour),
		Drain:      o.get("drain").object([]string{"wait"}, nil).get("wait").duration(time.Second, 0, time.Hour),
		Guard:      guard(o.get("guard")),
		Status:     o.get("status").boolean(true),
		Resync:     o.get("resync").duration(kubeResync, minKubeResync, maxKubeResync),
	}
	lease := o.get("lease").object([]string{"namespace", "name"}, nil)
	k.Lease = Lease{Namespace: "kube-system", Name: "edgeagent-addresses"}
	if lease.has("namespace") {
		k.Lease.Namespace = lease.get("namespace").label("a namespace")
	}
	if lease.has("name") {
		k.Lease.Name = lease.get("name").label("the name of a Lease")
	}
	return k
}

// balancerClass reads a load balancer class: a name with a prefix, such as of annotations.
func balancerClass(it item) string {
	const what = "a class such as anyedge/anycast"
	if !it.present() {
		return "anyedge/anycast"
	}
	text := it.str(what)
	domain, name, found := strings.Cut(text, "/")
	if text != "" && (!found || !only(domain, "-.") || !only(name, "-._") || domain == "" || name == "" || len(text) > 253) {
		it.bad("must be %s, not %q", what, text)
	}
	return text
}

func addressPools(list item, rules vipRules) []AddressPool {
	var all []AddressPool
	names := make(places[string])
	var taken []placed
	for _, it := range list.list("pool") {
		o := it.object([]string{"name", "prefixes", "auto"}, nil)
		p := AddressPool{Name: o.need("name", "the pool's name").label("a name"), Auto: o.get("auto").boolean(true)}
		names.once(o.get("name"), p.Name)
		for _, it := range o.need("prefixes", `its prefixes, such as ["2001:db8:53::/112", "192.0.2.64/27"]`).list("prefix") {
			prefix := poolPrefix(it, rules)
			if !prefix.IsValid() {
				continue
			}
			for _, other := range taken {
				if prefix.Overlaps(other.prefix) {
					it.bad("%s overlaps %s, %s on line %d", prefix, other.prefix, other.at.path, other.at.line())
				}
			}
			taken = append(taken, placed{prefix, it})
			p.Prefixes = append(p.Prefixes, prefix)
		}
		all = append(all, p)
	}
	return all
}

// placed is a prefix and where it stands.
type placed struct {
	prefix netip.Prefix
	at     item
}

func poolPrefix(it item, rules vipRules) netip.Prefix {
	p := it.network("a prefix, such as 2001:db8:53::/112")
	if !p.IsValid() {
		return p
	}
	first := p.Addr()
	switch {
	case p.Bits() < 8:
		it.bad("%s is larger than any pool: write what was set apart for services", p)
	case first.IsLoopback(), first.IsLinkLocalUnicast(), first.IsMulticast(), first.IsUnspecified():
		it.bad("%s holds no addresses that are routed to a service", p)
	default:
		for _, n := range rules.neighbors {
			if p.Contains(n.Address) {
				it.bad("%s holds %s, the address of a neighbor: a VIP is the service's own", p, n.Address)
			}
		}
		rules.carry(it, p)
		return p
	}
	return netip.Prefix{}
}

// poolPrefixes are those of all pools.
func (k *AgentKubernetes) poolPrefixes() []netip.Prefix {
	if k == nil {
		return nil
	}
	var all []netip.Prefix
	for _, p := range k.Pools {
		all = append(all, p.Prefixes...)
	}
	return all
}

// needServices reports an agent that would announce nothing, and a bridge that would carry nothing: Services of a cluster are
// not bridged.
func needServices(o object, k *AgentKubernetes, b bridge.Config) item {
	if k == nil {
		return o.need("services", "what is announced: [{name: ..., vips: [...], checks: [...]}]")
	}
	if b.Mode != bridge.Off && !o.has("services") {
		o.get("bridge").bad("carries nothing: it is for the services of this file, and there are none; remove it")
	}
	return o.get("services")
}
