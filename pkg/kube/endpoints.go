package kube

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/anyedge/anyedge/pkg/steering"
)

// join makes the endpoints of a port of a Service from its slices. pods may lack any pod. Sorted by address, so that the
// order of events leaves no trace; an address that several slices have, as it moves from one to another, is in the best
// state that one of them tells. here is the node that this runs on; empty: not known.
func join(p port, from map[key]*slice, pods table[*pod], here string) []steering.Endpoint {
	found := candidates(p, from, pods)
	all := make([]steering.Endpoint, 0, len(found))
	capacity := capacities(found)
	for _, at := range sorted(found, netip.AddrPort.Compare) {
		if c := found[at]; c.rank() > 0 {
			e := c.steered(at, here)
			e.Capacity = capacity(c.pod)
			all = append(all, e)
		}
	}
	return all
}

// candidates are the endpoints of a port, whatever their states.
func candidates(p port, from map[key]*slice, pods table[*pod]) map[netip.AddrPort]candidate {
	found := make(map[netip.AddrPort]candidate)
	for _, s := range from {
		number, serves := s.port(p)
		if !serves {
			continue
		}
		for i := range s.endpoints {
			c := candidate{&s.endpoints[i], pods.get(key{s.namespace, s.endpoints[i].pod})}
			at := netip.AddrPortFrom(c.address(), number)
			if best, twice := found[at]; !twice || c.rank() > best.rank() {
				found[at] = c
			}
		}
	}
	return found
}

// port is the port's number at the endpoints of the slice, where the name of a target port has become a number. A Service
// without ports has them all.
func (s *slice) port(p port) (number uint16, ok bool) {
	if p.number == 0 {
		return 0, true
	}
	i := slices.IndexFunc(s.ports, func(sp slicePort) bool {
		return sp.name == p.name && (sp.protocol == p.protocol || sp.protocol == "")
	})
	if i < 0 {
		return 0, false
	}
	return s.ports[i].number, true
}

// candidate is an endpoint with its pod, which may be nil.
type candidate struct {
	*endpoint
	pod *pod
}

// rank orders the states: ready, draining, starting, and gone, which is 0.
func (c candidate) rank() int {
	switch {
	case c.ready && !c.terminating:
		return 3
	case c.terminating && c.serving:
		return 2
	case !c.terminating:
		return 1
	default:
		return 0
	}
}

// holds is how long an answer with a pod may be kept: when it is ready next or no more, the kubelet decides by periods that nobody
// tells, and whoever deletes it.
const holds = 5 * time.Second

// steered is the endpoint at its address and port, without its capacity. One that drains still serves.
func (c candidate) steered(at netip.AddrPort, here string) steering.Endpoint {
	e := steering.Endpoint{
		Address: at.Addr(), Port: at.Port(), State: steering.Up, Draining: c.rank() == 2,
		Instance: c.instance(), Node: asLabel(strings.ReplaceAll(c.node.Value(), ".", "-")), Zone: asLabel(c.zone.Value()),
		Near: here != "" && c.node.Value() == here, Holds: holds,
	}
	if c.rank() == 1 {
		e.State = steering.Down
	}
	return e
}

// instance is the pod's number in its StatefulSet, which its host name ends with, too.
func (c candidate) instance() string {
	if c.pod != nil && c.pod.index != "" {
		return c.pod.index
	}
	if c.ordinal == noOrdinal {
		return ""
	}
	return strconv.Itoa(int(c.ordinal))
}

// asLabel returns what names something as a label of a name, empty where it cannot be one.
func asLabel(s string) string {
	if s = strings.ToLower(s); isLabel(s) {
		return s
	}
	return ""
}

// capacities returns how capacities are told: as annotated; else by limits, or by requests, of processor time, where all
// pods have them.
func capacities(found map[netip.AddrPort]candidate) func(*pod) float64 {
	limited, requested := declared(found)
	return func(p *pod) float64 {
		if p != nil {
			if c, told := p.capacity(); told {
				return c
			}
		}
		switch {
		case limited && p != nil:
			return float64(p.limit)
		case requested && p != nil:
			return float64(p.request)
		default:
			return 1
		}
	}
}

// declared tells whether all pods have limits of processor time, and whether all have requests: those of some would say
// nothing beside the others.
func declared(found map[netip.AddrPort]candidate) (limits, requests bool) {
	limits, requests = true, true
	for _, c := range found {
		limits = limits && c.pod != nil && c.pod.limit > 0
		requests = requests && c.pod != nil && c.pod.request > 0
	}
	return limits, requests
}

// protocolOf is that of SRV records; empty: they have no name for it.
func protocolOf(p corev1.Protocol) string {
	switch p {
	case corev1.ProtocolTCP, "":
		return "tcp"
	case corev1.ProtocolUDP:
		return "udp"
	default:
		return ""
	}
}
