// Package lab runs multi-site labs on one machine: a topology in network namespaces, links with a fixed delay, faults,
// experiments and their results.
package lab

import (
	"net/netip"
	"time"

	"github.com/anyedge/anyedge/pkg/bgp/router"
	"github.com/anyedge/anyedge/pkg/session"
)

// A Topology is the supported subset of a containerlab file.
type Topology struct {
	Name  string
	Dir   string // of the file: binds are relative to it
	Nodes []Node // in the file's order
	Links []Link
}

// A Node is one container of the file: a host with interfaces, or one more program on another node's host.
type Node struct {
	Name    string
	Image   Image
	Host    string   // network-mode container:HOST; empty: the node has a network of its own
	Cmd     []string // program and arguments
	Binds   []Bind
	Env     map[string]string
	Labels  map[string]string
	Sysctls []Sysctl // of a network of its own, set before any interface is there
}

// A Bind shows a file or directory of the host at a path inside the node.
type Bind struct {
	Source   string // absolute, or relative to the topology file
	Target   string // absolute
	ReadOnly bool
}

// A Link joins two interfaces.
type Link struct {
	A, B   Endpoint
	Delay  time.Duration // one way
	Jitter time.Duration // up to that much more or less than Delay; frames stay in order
	Loss   float64       // share of frames that never arrive, 0 to 1
	MTU    int           // of both interfaces, bytes; 0: what they come with
}

// ideal tells that frames arrive at once, all of them.
func (l Link) ideal() bool { return l.Delay == 0 && l.Loss == 0 }

// An Endpoint is an interface of a node.
type Endpoint struct {
	Node, Interface string
}

// Setup is the network of one node: what `edgelab node FILE` applies through netlink. With Router it is what
// `edgelab router FILE` runs.
type Setup struct {
	Interfaces []Interface
	Routes     []Route
	Sysctls    []Sysctl
	Router     *router.Config
	BFD        []session.Neighbor // of Router's neighbors that are watched
}

// An Interface gets its addresses once it is there; Setup waits for it.
type Interface struct {
	Name      string
	Addresses []netip.Prefix
}

// A Route is a static route.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// A Sysctl is a kernel setting of the node's network namespace, e.g. net.ipv6.conf.all.forwarding.
type Sysctl struct {
	Key, Value string
}
