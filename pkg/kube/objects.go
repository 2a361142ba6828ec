package kube

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A million endpoints have to fit into the memory of an edge host: of the API's objects only what answers are made of is
// kept, in the types of this file.

// key is an object's place.
type key struct{ namespace, name string }

func (k key) String() string { return k.namespace + "/" + k.name }

func (k key) compare(other key) int {
	return cmp.Or(strings.Compare(k.namespace, other.namespace), strings.Compare(k.name, other.name))
}

// object is what reduce returns.
type object interface {
	metav1.ObjectMetaAccessor
	place() key
	current() string // version
}

// meta is what all objects have.
type meta struct {
	key
	version string
	notes   notes
}

func (m *meta) place() key { return m.key }

func (m *meta) current() string { return m.version }

// GetObjectMeta makes client-go's own stores take these objects.
func (m *meta) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: m.namespace, Name: m.name, ResourceVersion: m.version}
}

func newMeta(o *metav1.ObjectMeta) meta {
	return meta{key: newKey(o), version: o.ResourceVersion, notes: newNotes(o)}
}

// newKey shares the names of namespaces, which are few.
func newKey(o *metav1.ObjectMeta) key { return key{unique.Make(o.Namespace).Value(), o.Name} }

// asking is what objects have that ask for names.
type asking struct {
	meta
	uid     types.UID
	created time.Time
}

func newAsking(o *metav1.ObjectMeta) asking {
	return asking{newMeta(o), o.UID, o.CreationTimestamp.Time}
}

type service struct {
	asking
	external  string // the name that it stands for, of type ExternalName
	ports     []port
	condition *metav1.Condition // ours, in its status
	balanced  *balanced         // nil: no load balancer of a class, and none that was ours
}

type port struct {
	name        string
	number      uint16
	protocol    corev1.Protocol
	application string // its application protocol
}

type ingress struct {
	asking
	class    string
	rules    []networkingv1.IngressRule
	fallback *networkingv1.IngressBackend
	tls      []networkingv1.IngressTLS
	status   []networkingv1.IngressLoadBalancerIngress
}

// slice is an EndpointSlice. The addresses of one are of one family.
type slice struct {
	meta
	service   key
	ports     []slicePort
	endpoints []endpoint
}

type slicePort struct {
	name     string
	number   uint16
	protocol corev1.Protocol
}

// endpoint is what there are most of.
type endpoint struct {
	at                          [16]byte // its address: an IPv4 one is mapped, which nothing else is
	pod                         string   // of the slice's namespace; empty: none
	node, zone                  unique.Handle[string]
	ordinal                     int32 // at the end of its host name; noOrdinal: none
	ready, serving, terminating bool
}

func (e *endpoint) address() netip.Addr { return netip.AddrFrom16(e.at).Unmap() }

type pod struct {
	meta
	index          string                    // among those of its StatefulSet; empty: none
	limit, request int64                     // of processor time, in thousandths of a core; 0: none
	host           unique.Handle[netip.Addr] // of its node; not valid: it has none yet
}

// reduce keeps of an object of the API what answers are made of. What is reduced already comes back as it is.
func reduce(obj any) (any, error) {
	switch o := obj.(type) {
	case object:
		return o, nil
	case *corev1.Service:
		return reduceService(o), nil
	case *networkingv1.Ingress:
		return reduceIngress(o), nil
	case *discoveryv1.EndpointSlice:
		return reduceSlice(o), nil
	case *corev1.Pod:
		return reducePod(o), nil
	case *corev1.Node:
		return reduceNode(o), nil
	default:
		return nil, fmt.Errorf("kube: nothing is made of a %T", obj)
	}
}

func reduceService(o *corev1.Service) *service {
	s := &service{asking: newAsking(&o.ObjectMeta)}
	if o.Spec.Type == corev1.ServiceTypeExternalName {
		s.external = o.Spec.ExternalName
	}
	for _, p := range o.Spec.Ports {
		s.ports = append(s.ports, port{p.Name, uint16(p.Port), p.Protocol, deref(p.AppProtocol)})
	}
	for _, c := range o.Status.Conditions {
		if c.Type == conditionType {
			s.condition = &c
		}
	}
	s.balanced = reduceBalanced(o)
	return s
}

func reduceIngress(o *networkingv1.Ingress) *ingress {
	return &ingress{
		asking: newAsking(&o.ObjectMeta), class: deref(o.Spec.IngressClassName),
		rules: o.Spec.Rules, fallback: o.Spec.DefaultBackend, tls: o.Spec.TLS, status: o.Status.LoadBalancer.Ingress,
	}
}

func reduceSlice(o *discoveryv1.EndpointSlice) *slice {
	s := &slice{meta: newMeta(&o.ObjectMeta)}
	s.service = key{s.namespace, o.Labels[discoveryv1.LabelServiceName]}
	for _, p := range o.Ports {
		s.ports = append(s.ports, slicePort{deref(p.Name), uint16(deref(p.Port)), deref(p.Protocol)})
	}
	s.endpoints = make([]endpoint, 0, len(o.Endpoints))
	for i := range o.Endpoints {
		if e, ok := reduceEndpoint(&o.Endpoints[i]); ok {
			s.endpoints = append(s.endpoints, e)
		}
	}
	return s
}

// reduceEndpoint takes the first address: the API says that all of an endpoint are the same to everybody. One that is none,
// as in slices of names, is left out.
func reduceEndpoint(o *discoveryv1.Endpoint) (e endpoint, ok bool) {
	if len(o.Addresses) == 0 {
		return e, false
	}
	a, err := netip.ParseAddr(o.Addresses[0])
	if err != nil {
		return e, false
	}
	e = endpoint{
		at: a.As16(), ordinal: ordinal(deref(o.Hostname)),
		node: unique.Make(deref(o.NodeName)), zone: unique.Make(deref(o.Zone)),
		// What is not said of readiness counts as ready (EndpointConditions).
		ready: o.Conditions.Ready == nil || *o.Conditions.Ready, terminating: deref(o.Conditions.Terminating),
	}
	e.serving = e.ready
	if o.Conditions.Serving != nil {
		e.serving = *o.Conditions.Serving
	}
	if t := o.TargetRef; t != nil && t.Kind == "Pod" {
		e.pod = strings.Clone(t.Name)
	}
	return e, true
}

func reducePod(o *corev1.Pod) *pod {
	p := &pod{meta: newMeta(&o.ObjectMeta), index: o.Labels["apps.kubernetes.io/pod-index"]}
	host, _ := netip.ParseAddr(o.Status.HostIP) // not valid where it is none
	p.host = unique.Make(host.Unmap())
	limited := true
	for _, c := range o.Spec.Containers {
		limit := c.Resources.Limits.Cpu().MilliValue()
		p.limit += limit
		limited = limited && limit > 0
		p.request += c.Resources.Requests.Cpu().MilliValue()
	}
	if !limited {
		p.limit = 0
	}
	return p
}

const noOrdinal = -1

// ordinal is the number at the end of a name like web-3.
func ordinal(name string) int32 {
	_, text, found := cutLast(name, "-")
	n, err := strconv.ParseUint(text, 10, 31)
	if !found || err != nil || text != "0" && text[0] == '0' {
		return noOrdinal
	}
	return int32(n)
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// equal tells whether both say the same of their endpoints: pods change often in what does not matter here.
func (p *pod) equal(other *pod) bool {
	return p.index == other.index && p.limit == other.limit && p.request == other.request && p.host == other.host && p.notes.equal(other.notes)
}

func sorted[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}
