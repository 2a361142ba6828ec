// Package config reads every file a person writes - agent, DNS, lab node, topology - into validated domain values.
// Strict: an unknown key, a wrong value or a contradiction refuses the whole file with FILE:LINE:COL: item: rule.
package config

import (
	"net/netip"

	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bridge"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

// Agent is edgeagent's file.
type Agent struct {
	Site       string
	Name       string     // of this host among its peers
	BGP        bgp.Config // Allowed: every prefix that the services announce; Pools: of Kubernetes; OnReport: nil
	BFD        []BFD      // of the neighbors that are watched
	VIP        VIP
	Bridge     bridge.Config  // Mode Off: none; else VIPs are those of all services
	Times      announce.Times // of local repair
	Peering    Peering
	Guards     announce.Guards
	Services   []Service
	Kubernetes *AgentKubernetes // nil: none
	API        API
	Journal    string         // path; empty: none
	Metrics    netip.AddrPort // zero: none
}

// API tells where the agent takes orders, and where it keeps them.
type API struct {
	Socket string // path; empty: none
	Drains string // path; empty: none
}

// VIP tells where service addresses live.
type VIP struct {
	Manage    bool
	Interface string
}

// Service joins what is announced with what is checked; both carry the same name.
type Service struct {
	Announce announce.Service
	Health   health.Service
}

// DNS is edgedns' file.
type DNS struct {
	Site       string
	Node       string // that this runs on; empty: not known
	Listen     []netip.AddrPort
	Zones      []dnsserver.Zone
	Services   []DNSService
	Kubernetes *Kubernetes       // nil: none
	Access     *dnsserver.Access // nil: everybody sees everything
	Queries    dnsserver.QueryPolicy
	Admin      Admin
	Metrics    netip.AddrPort // zero: none

	dnsserver.Protection
	TCP dnsserver.TCP
}

// DNSService is a steered name and the checks of its endpoints.
type DNSService struct {
	steering.Service
	Checks []EndpointCheck
	Load   Load
}

// EndpointCheck is the check of the endpoint at Index in Service.Endpoints. Measures: the time that it takes is how far the endpoint is.
type EndpointCheck struct {
	Index    int
	Check    health.Check
	Measures bool
}
