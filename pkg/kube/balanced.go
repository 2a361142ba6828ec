package kube

import (
	"net/netip"
	"slices"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditionAddress is the condition of a Service that has, or had, an address of ours.
const conditionAddress = "anyedge/Address"

// balanced is what a Service of type LoadBalancer asks for, and what it has.
type balanced struct {
	class     string            // empty: it asks for none
	balancer  bool              // it is of type LoadBalancer
	families  []corev1.IPFamily // as the API settled them
	asked     string            // spec.loadBalancerIP
	local     bool              // externalTrafficPolicy Local: only a node with endpoints of its own takes its traffic
	held      []netip.Addr      // the addresses in its status, or, once that was emptied, those that were there last
	status    []ingressEntry    // as it is written
	condition *metav1.Condition // ours
}

// ingressEntry is an entry of status.loadBalancer.ingress.
type ingressEntry struct{ ip, hostname string }

// reduceBalanced returns nil of a Service that no load balancer of a class is asked for, and that none of ours is noted of.
func reduceBalanced(o *corev1.Service) *balanced {
	b := &balanced{}
	for _, c := range o.Status.Conditions {
		if c.Type == conditionAddress {
			b.condition = &c
		}
	}
	if b.balancer = o.Spec.Type == corev1.ServiceTypeLoadBalancer; b.balancer && o.DeletionTimestamp == nil {
		b.class = deref(o.Spec.LoadBalancerClass)
	}
	if b.class == "" && b.condition == nil {
		return nil
	}
	b.families, b.asked = o.Spec.IPFamilies, strings.TrimSpace(o.Spec.LoadBalancerIP)
	b.local = o.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	for _, i := range o.Status.LoadBalancer.Ingress {
		b.status = append(b.status, ingressEntry{i.IP, i.Hostname})
		if a, err := netip.ParseAddr(i.IP); err == nil {
			b.held = append(b.held, a.Unmap())
		}
	}
	return b
}

// node is what says whether a node may take traffic.
type node struct {
	meta
	unfit string // why not, for people; empty: it may
}

func reduceNode(o *corev1.Node) *node {
	n := &node{meta: newMeta(&o.ObjectMeta)}
	ready := slices.IndexFunc(o.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeReady })
	_, excluded := o.Labels[corev1.LabelNodeExcludeBalancers]
	switch {
	case o.DeletionTimestamp != nil:
		n.unfit = "is being deleted"
	case excluded:
		n.unfit = "is excluded from load balancers by its label " + corev1.LabelNodeExcludeBalancers
	case ready < 0:
		n.unfit = "has not said yet that it is ready"
	case o.Status.Conditions[ready].Status != corev1.ConditionTrue: // so is one that shuts down
		n.unfit = "is not ready: " + o.Status.Conditions[ready].Reason
	case o.Spec.Unschedulable:
		n.unfit = "is cordoned"
	}
	return n
}

// A local is what an agent needs to know of an EndpointSlice: its own endpoints, and where else there are some. A cluster has
// many, and most of them are elsewhere.
type local struct {
	version  string
	service  key
	ports    []slicePort
	six      bool
	here     []endpoint
	ready    []unique.Handle[string] // other nodes with ready endpoints, each once; that of "" is one that is not known
	draining bool                    // there are endpoints elsewhere that terminate and serve
}

func (l *local) current() string { return l.version }

// localOf keeps of a slice what a node needs.
func localOf(s *slice, here string) *local {
	l := &local{version: s.version, service: s.service, ports: s.ports}
	for _, e := range s.endpoints {
		l.six = e.address().Is6()
		switch c := (candidate{endpoint: &e}); {
		case e.node.Value() == here && here != "":
			l.here = append(l.here, e)
		case c.rank() == 3 && !slices.Contains(l.ready, e.node):
			l.ready = append(l.ready, e.node)
		case c.rank() == 2:
			l.draining = true
		}
	}
	return l
}
