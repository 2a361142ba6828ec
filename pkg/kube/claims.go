package kube

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
)

// owner is the Service or Ingress that asks for names.
type owner struct {
	kind string
	key
}

const (
	kindService = "Service"
	kindIngress = "Ingress"
)

func (o owner) String() string { return o.kind + " " + o.key.String() }

func (o owner) compare(other owner) int {
	return cmp.Or(strings.Compare(o.kind, other.kind), o.key.compare(other.key))
}

// problem is what is said to the owner of an object: why something that it asks for is not done.
type problem struct{ reason, message string }

// The reasons, as they stand in events and conditions.
const (
	reasonAnnotation  = "BadAnnotation"
	reasonHostname    = "BadHostname"
	reasonRefused     = "NameRefused"
	reasonTaken       = "NameTaken"
	reasonSemantic    = "SemanticTaken"
	reasonExternal    = "ExternalName"
	reasonNoHost      = "NoHost"
	reasonWildcard    = "Wildcard"
	reasonTLS         = "TLS"
	reasonPathRouting = "PathRouting"
	reasonBackend     = "BadBackend"
	reasonNoService   = "NoService"
	reasonNoPort      = "NoPort"
	reasonPortName    = "NoSRV"
	reasonTargetPort  = "TargetPort"
)

// A claim is that a name is to answer with the pods of a Service.
type claim struct {
	owner   owner
	created time.Time
	notes   notes
	backend key    // the Service
	port    string // of it, by name or number; empty: as noted, else the first
	web     bool   // clients come to ports 80 and 443, whatever is asked for
}

// compare orders the claims to a name: the first one has it.
func (c claim) compare(other claim) int {
	return cmp.Or(c.created.Compare(other.created), c.owner.compare(other.owner))
}

// wish is everything that an object asks for, as far as the object alone tells.
type wish struct {
	claims  map[string]claim // by name
	trouble []problem
}

func (w *wish) add(name string, c claim) {
	if w.claims == nil {
		w.claims = make(map[string]claim)
	}
	w.claims[name] = c
}

func (w *wish) bad(reason, format string, args ...any) {
	w.trouble = append(w.trouble, problem{reason, fmt.Sprintf(format, args...)})
}

// serviceWish reads what a Service asks for. domain is where default names lie; empty: there are none.
func serviceWish(s *service, domain string) (w wish) {
	asked := s.notes[noteHostname] != "" || s.notes[noteExpose] == "true"
	switch {
	case !asked || s.notes[noteExpose] == "false":
		return w
	case s.external != "":
		w.bad(reasonExternal, "a Service of type ExternalName has no pods: point a CNAME record at %s elsewhere", s.external)
		return w
	}
	c := claim{owner: owner{kindService, s.key}, created: s.created, notes: s.notes, backend: s.key}
	if s.notes[noteHostname] == "" {
		if domain == "" {
			w.bad(reasonHostname, "has no name: add the annotation %s%s", prefix, noteHostname)
			return w
		}
		w.add(s.name+"."+s.namespace+"."+domain, c)
		return w
	}
	for _, text := range listed(s.notes[noteHostname]) {
		if name, err := hostname(text); err != nil {
			w.bad(reasonHostname, "%s", err)
		} else {
			w.add(name, c)
		}
	}
	return w
}

// ingressWish reads what an Ingress asks for. What DNS cannot do is refused, never half done: one address answers for all
// paths of a host, and whoever has it speaks to the pod itself.
func ingressWish(i *ingress, class string) (w wish) {
	if i.class != class {
		return w
	}
	if len(i.rules) == 0 {
		w.bad(reasonNoHost, "has no rule with a host: DNS answers names alone")
	}
	hosts := make(map[string][]route)
	for _, rule := range i.rules {
		if name, ok := w.host(rule.Host); ok {
			hosts[name] = append(hosts[name], routes(rule, i.fallback)...)
		}
	}
	for _, name := range sorted(hosts, strings.Compare) {
		w.ingressHost(i, name, hosts[name])
	}
	return w
}

// A route is where one path of a host leads.
type route struct {
	backend *networkingv1.IngressBackend
	all     bool // the path is /, and what lies below it
}

func routes(rule networkingv1.IngressRule, fallback *networkingv1.IngressBackend) (all []route) {
	if rule.HTTP == nil && fallback != nil {
		return []route{{fallback, true}}
	}
	if rule.HTTP == nil {
		return nil
	}
	for _, p := range rule.HTTP.Paths {
		exact := p.PathType != nil && *p.PathType == networkingv1.PathTypeExact
		all = append(all, route{&p.Backend, !exact && (p.Path == "" || p.Path == "/")})
	}
	return all
}

// host reads the host of a rule.
func (w *wish) host(host string) (name string, ok bool) {
	switch {
	case host == "":
		w.bad(reasonNoHost, "a rule without a host: DNS answers names alone")
		return "", false
	case strings.HasPrefix(host, "*."):
		w.bad(reasonWildcard, "%s: names with a wildcard are not supported yet", host)
		return "", false
	}
	name, err := hostname(host)
	if err != nil {
		w.bad(reasonHostname, "%s", err)
	}
	return name, err == nil
}

// ingressHost claims a host of an Ingress, if DNS can do what its routes ask for.
func (w *wish) ingressHost(i *ingress, name string, routes []route) {
	switch {
	case len(routes) == 0:
		w.bad(reasonBackend, "%s: has no backend: add a path, or a defaultBackend", name)
	case !oneWay(routes):
		w.bad(reasonPathRouting, "%s: DNS cannot tell paths apart: lead / and all other paths of the host to one backend", name)
	case routes[0].backend.Service == nil:
		w.bad(reasonBackend, "%s: the backend is no Service", name)
	case i.secures(name) && i.notes[noteTLS] != "pods":
		w.bad(reasonTLS, "%s: nothing here ends TLS: where the pods themselves have the certificate, annotate %s%s: pods", name, prefix, noteTLS)
	default:
		to := routes[0].backend.Service
		w.add(name, claim{
			owner: owner{kindIngress, i.key}, created: i.created, notes: i.notes,
			backend: key{i.namespace, to.Name}, port: backendPort(to.Port), web: true,
		})
	}
}

// oneWay tells whether every path leads to one backend, those too that no route tells of.
func oneWay(routes []route) bool {
	same := func(r route) bool { return reflect.DeepEqual(r.backend, routes[0].backend) }
	return slices.ContainsFunc(routes, func(r route) bool { return r.all }) && !slices.ContainsFunc(routes, func(r route) bool { return !same(r) })
}

func backendPort(p networkingv1.ServiceBackendPort) string {
	if p.Name != "" {
		return p.Name
	}
	return strconv.Itoa(int(p.Number))
}

// secures tells whether the Ingress is to end TLS for a name.
func (i *ingress) secures(name string) bool {
	return slices.ContainsFunc(i.tls, func(t networkingv1.IngressTLS) bool {
		return len(t.Hosts) == 0 || slices.ContainsFunc(t.Hosts, func(host string) bool { return covers(host, name) })
	})
}

// covers tells whether a host of a certificate, perhaps with a wildcard, is that of a name.
func covers(host, name string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, ".")) + "."
	if rest, wild := strings.CutPrefix(host, "*."); wild {
		_, parent, _ := strings.Cut(name, ".")
		return rest == parent
	}
	return host == name
}

// hostname is text as a fully qualified, lower-case host name (RFC 1123 section 2.1).
func hostname(text string) (string, error) {
	name := strings.ToLower(strings.TrimSuffix(text, "."))
	if len(name) > 253 {
		return "", fmt.Errorf("%q is no host name: it is too long", text)
	}
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label) {
			return "", fmt.Errorf("%q is no host name: labels have 1 to 63 letters, digits and inner hyphens", text)
		}
	}
	return name + ".", nil
}

func isLabel(s string) bool {
	odd := strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-')
	})
	return len(s) >= 1 && len(s) <= 63 && !odd && s[0] != '-' && s[len(s)-1] != '-'
}
