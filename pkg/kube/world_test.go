package kube

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/anyedge/anyedge/pkg/steering"
)

// The objects of the tests are in namespace shop, and as old as their number of seconds.

func objectMeta(name string, age int, annotations ...string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.Unix(1e9-int64(age), 0), Annotations: map[string]string{}}
	for _, a := range annotations {
		k, v, _ := strings.Cut(a, "=")
		m.Annotations[prefix+k] = v
	}
	return m
}

// aService is a Service with port 80, named http, that pods serve at web.
func aService(annotations ...string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: objectMeta("api", 100, annotations...),
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("web"), Protocol: corev1.ProtocolTCP}}},
	}
}

// aSlice has port http at 80 and an endpoint for each text: ADDRESS[ POD][ STATES], the states being ready, which is the default, starting,
// draining and gone.
func aSlice(name string, endpoints ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: objectMeta(name, 100),
		Ports:      []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(80)), Protocol: new(corev1.ProtocolTCP)}},
	}
	s.Labels = map[string]string{discoveryv1.LabelServiceName: "api"}
	for _, text := range endpoints {
		e := discoveryv1.Endpoint{}
		for i, word := range strings.Fields(text) {
			switch {
			case i == 0:
				e.Addresses = []string{word}
			case word == "starting":
				e.Conditions = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(false)}
			case word == "draining":
				e.Conditions = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
			case word == "gone":
				e.Conditions = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(false), Terminating: new(true)}
			case word == "ready":
				e.Conditions = discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)}
			default:
				e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: word, Namespace: "shop"}
			}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func aPod(name string, limit, request string, annotations ...string) *corev1.Pod {
	c := corev1.Container{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{}, Requests: corev1.ResourceList{}}}
	if limit != "" {
		c.Resources.Limits[corev1.ResourceCPU] = quantity.MustParse(limit)
	}
	if request != "" {
		c.Resources.Requests[corev1.ResourceCPU] = quantity.MustParse(request)
	}
	return &corev1.Pod{ObjectMeta: objectMeta(name, 100, annotations...), Spec: corev1.PodSpec{Containers: []corev1.Container{c}}}
}

// anIngress has a rule for each text: HOST[ PATH[=SERVICE]]..., the Service being api at its port http unless named.
func anIngress(rules ...string) *networkingv1.Ingress {
	i := &networkingv1.Ingress{ObjectMeta: objectMeta("web", 50), Spec: networkingv1.IngressSpec{IngressClassName: new("anyedge")}}
	for _, text := range rules {
		words := strings.Split(text, " ")
		r := networkingv1.IngressRule{Host: words[0]}
		for _, word := range words[1:] {
			path, backend, named := strings.Cut(word, "=")
			if !named {
				backend = "api"
			}
			if r.HTTP == nil {
				r.HTTP = &networkingv1.HTTPIngressRuleValue{}
			}
			r.HTTP.Paths = append(r.HTTP.Paths, networkingv1.HTTPIngressPath{
				Path: path, PathType: new(networkingv1.PathTypePrefix), Backend: aBackend(backend),
			})
		}
		i.Spec.Rules = append(i.Spec.Rules, r)
	}
	return i
}

func aBackend(service string) networkingv1.IngressBackend {
	return networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
		Name: service, Port: networkingv1.ServiceBackendPort{Name: "http"},
	}}
}

// with changes a copy that a helper above made.
func with[T any](o *T, change func(*T)) *T {
	change(o)
	return o
}

func objects(t testing.TB, raw ...any) []object {
	t.Helper()
	var all []object
	for _, r := range raw {
		o, err := reduce(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.(object))
	}
	return all
}

// ours are the zones of the tests.
func ours(name string) error {
	if strings.HasSuffix(name, ".edge.example.") {
		return nil
	}
	return errors.New(name + " lies in none of the zones")
}

// oursToo is every semantic name but those of an application.
func oursToo(_ string, m steering.Semantic) error {
	if m.App == "taken" {
		return errors.New("not " + semanticText(m))
	}
	return nil
}

func semanticText(m steering.Semantic) string {
	return strings.Join([]string{m.App, m.AppNS, m.Service, m.ServiceNS}, ".")
}

// answers are services as text: NAME POLICY ANSWERS[ SEMANTIC][ _PORT._PROTOCOL][ ALPN]: ADDRESS:PORT[*CAPACITY][! down, or ~ draining][/INSTANCE][/NODE][/ZONE][/near]...
func answers(all []steering.Service) []string {
	var list []string
	for _, s := range all {
		text := s.Name + " " + s.Policy.String()
		if s.Answers != 0 {
			text += fmt.Sprint(" of ", s.Answers)
		}
		if s.Semantic.Complete() {
			text += " " + semanticText(s.Semantic)
		}
		if s.PortName != "" {
			text += " _" + s.PortName + "._" + s.Protocol
		}
		if len(s.ALPN) > 0 {
			text += " " + strings.Join(s.ALPN, ",")
		}
		text += ":"
		for _, e := range s.Endpoints {
			text += " " + netip.AddrPortFrom(e.Address, e.Port).String()
			if e.Capacity != 1 {
				text += fmt.Sprint("*", e.Capacity)
			}
			switch {
			case e.State != steering.Up:
				text += "!"
			case e.Draining:
				text += "~"
			}
			for _, where := range []string{e.Instance, e.Node, e.Zone} {
				if where != "" {
					text += "/" + where
				}
			}
			if e.Near {
				text += "/near"
			}
		}
		list = append(list, text)
	}
	return list
}

// complaints are verdicts as text: OWNER[: serving NAMES][; REASON: MESSAGE]...
func complaints(all map[owner]verdict) []string {
	var list []string
	for _, o := range sorted(all, owner.compare) {
		if v := all[o]; v.mine {
			list = append(list, o.String()+": "+v.message())
		}
	}
	return list
}

func TestTranslate(t *testing.T) {
	t.Parallel()
	pods := aSlice("api-1", "2001:db8::2", "2001:db8::1")
	tests := []struct {
		name    string
		objects []any
		want    []string
		told    []string
	}{
		{name: "nothing asked for", objects: []any{aService(), pods}},
		{
			name: "a name", objects: []any{aService("hostname=API.edge.example"), pods},
			want: []string{"api.edge.example. rr _http._tcp: [2001:db8::1]:80 [2001:db8::2]:80"},
			told: []string{"Service shop/api: serving api.edge.example."},
		},
		{
			name: "several names", objects: []any{aService("hostname=a.edge.example, b.edge.example.", "policy=hash", "answers=2"), pods},
			want: []string{
				"a.edge.example. hash of 2 _http._tcp: [2001:db8::1]:80 [2001:db8::2]:80",
				"b.edge.example. hash of 2 _http._tcp: [2001:db8::1]:80 [2001:db8::2]:80",
			},
			told: []string{"Service shop/api: serving a.edge.example. b.edge.example."},
		},
		{
			name: "the default name", objects: []any{with(aService(), func(s *corev1.Service) { s.Labels = map[string]string{"anyedge/expose": "true"} }), pods},
			want: []string{"api.shop.edge.example. rr _http._tcp: [2001:db8::1]:80 [2001:db8::2]:80"},
			told: []string{"Service shop/api: serving api.shop.edge.example."},
		},
		{name: "withdrawn", objects: []any{aService("hostname=a.edge.example", "expose=false"), pods}},
		{
			name:    "what cannot be read is told, and the name is served",
			objects: []any{aService("hostname=a.edge.example -b.edge.example", "policy=best", "answers=99", "polcy=rr", "any-port=yes"), pods},
			want:    []string{"a.edge.example. rr _http._tcp: [2001:db8::1]:80 [2001:db8::2]:80"},
			told: []string{"Service shop/api: serving a.edge.example." +
				`; BadAnnotation: anyedge/answers: must be a whole number from 1 to 16, not "99"` +
				`; BadAnnotation: anyedge/any-port: must be true or false, not "yes"` +
				`; BadAnnotation: anyedge/polcy: is not known: here may stand hostname, expose, policy, answers, panic, panic-below, panic-fallback, slow-start, allow, semantic, port, any-port, tls, alpn, load, load-port, load-path, load-in-flight, load-latency, load-cpu, address, pool, check, check-port, check-path` +
				`; BadAnnotation: anyedge/policy: must be rr or capacity or hash or closest or closest-capacity, not "best"` +
				`; BadHostname: "-b.edge.example" is no host name: labels have 1 to 63 letters, digits and inner hyphens`},
		},
		{
			name: "a name that is not ours", objects: []any{aService("hostname=a.other.example"), pods},
			told: []string{"Service shop/api: NameRefused: a.other.example. lies in none of the zones"},
		},
		{
			name: "no pods", objects: []any{aService("hostname=a.edge.example")},
			want: []string{"a.edge.example. rr _http._tcp:"},
			told: []string{"Service shop/api: serving a.edge.example."},
		},
		{
			name: "states, several slices, both families", objects: []any{
				aService("hostname=a.edge.example"),
				aSlice("api-1", "10.0.0.1 ready", "10.0.0.2 starting", "10.0.0.3 draining", "10.0.0.4 gone", "10.0.0.5 starting"),
				aSlice("api-2", "2001:db8::1", "10.0.0.2 ready", "not-an-address"),
			},
			want: []string{"a.edge.example. rr _http._tcp: 10.0.0.1:80 10.0.0.2:80 10.0.0.3:80~ 10.0.0.5:80! [2001:db8::1]:80"},
			told: []string{"Service shop/api: serving a.edge.example."},
		},
		{
			name: "another port, by name or number; target ports differ between slices", objects: []any{
				with(aService("hostname=a.edge.example", "port=53"), func(s *corev1.Service) {
					s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP})
				}),
				with(aSlice("api-1", "10.0.0.1"), func(s *discoveryv1.EndpointSlice) {
					s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: new("dns"), Port: new(int32(5353)), Protocol: new(corev1.ProtocolUDP)})
				}),
				with(aSlice("api-2", "10.0.0.2"), func(s *discoveryv1.EndpointSlice) {
					s.Ports = []discoveryv1.EndpointPort{{Name: new("dns"), Port: new(int32(5300)), Protocol: new(corev1.ProtocolUDP)}}
				}),
				aSlice("api-3", "10.0.0.3"),
			},
			want: []string{"a.edge.example. rr _dns._udp: 10.0.0.1:5353 10.0.0.2:5300"},
			told: []string{"Service shop/api: serving a.edge.example."},
		},
		{
			name: "a port that is not there", objects: []any{aService("hostname=a.edge.example", "port=grpc"), pods},
			want: []string{"a.edge.example. rr:"},
			told: []string{"Service shop/api: serving a.edge.example.; NoPort: a.edge.example.: Service shop/api has no port grpc"},
		},
		{
			name: "a headless Service without ports", objects: []any{
				with(aService("hostname=a.edge.example"), func(s *corev1.Service) { s.Spec.Ports, s.Spec.ClusterIP = nil, corev1.ClusterIPNone }),
				with(aSlice("api-1", "10.0.0.1"), func(s *discoveryv1.EndpointSlice) { s.Ports = nil }),
			},
			want: []string{"a.edge.example. rr: 10.0.0.1:0"},
			told: []string{"Service shop/api: serving a.edge.example."},
		},
		{
			name: "a port without a name has that of its application protocol", objects: []any{
				with(aService("hostname=a.edge.example"), func(s *corev1.Service) { s.Spec.Ports[0].Name, s.Spec.Ports[0].AppProtocol = "", new("https") }),
				with(aSlice("api-1", "10.0.0.1"), func(s *discoveryv1.EndpointSlice) { s.Ports[0].Name = nil }),
			},
			want: []string{"a.edge.example. rr _https._tcp: 10.0.0.1:80"},
			told: []string{"Service shop/api: serving a.edge.example."},
		},
		{
			name: "a port name that SRV records cannot have", objects: []any{
				with(aService("hostname=a.edge.example"), func(s *corev1.Service) { s.Spec.Ports[0].Name = "a-very-long-port-name" }),
				with(aSlice("api-1", "10.0.0.1"), func(s *discoveryv1.EndpointSlice) { s.Ports[0].Name = new("a-very-long-port-name") }),
			},
			want: []string{"a.edge.example. rr: 10.0.0.1:80"},
			told: []string{`Service shop/api: serving a.edge.example.; NoSRV: a.edge.example.: no SRV records: ` +
				`port name "a-very-long-port-name" has not 1 to 15 letters, digits and inner hyphens with a letter among them`},
		},
		{
			name: "a Service that stands for a name", objects: []any{with(aService("hostname=a.edge.example"), func(s *corev1.Service) {
				s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "other.example"}
			})},
			told: []string{"Service shop/api: ExternalName: a Service of type ExternalName has no pods: point a CNAME record at other.example elsewhere"},
		},
		{
			name: "where endpoints are, and which", objects: []any{
				aService("hostname=a.edge.example"),
				with(aSlice("api-1", "10.0.0.1 web-0", "10.0.0.2 web-7d4f9", "10.0.0.3 web-2"), func(s *discoveryv1.EndpointSlice) {
					s.Endpoints[0].NodeName, s.Endpoints[0].Zone = new("Node-1"), new("north")
					s.Endpoints[1].NodeName, s.Endpoints[1].Zone = new("node-2.example"), new("north")
					s.Endpoints[2].NodeName, s.Endpoints[2].Hostname = new("node-3"), new("web-2")
				}),
				with(aPod("web-0", "", ""), func(p *corev1.Pod) { p.Labels = map[string]string{"apps.kubernetes.io/pod-index": "0"} }),
			},
			want: []string{"a.edge.example. rr _http._tcp: 10.0.0.1:80/0/node-1/north 10.0.0.2:80/node-2-example/north 10.0.0.3:80/2/node-3/near"},
			told: []string{"Service shop/api: serving a.edge.example."},
		},
		{
			name: "capacities are limits where all pods have them, and annotations anywhere", objects: []any{
				aService("hostname=a.edge.example", "policy=capacity"),
				aSlice("api-1", "10.0.0.1 p1", "10.0.0.2 p2", "10.0.0.3 p3"),
				aPod("p1", "2", "1"), aPod("p2", "500m", "100m"), aPod("p3", "1", "", "capacity=250"),
			},
			want: []string{"a.edge.example. capacity _http._tcp: 10.0.0.1:80*2000 10.0.0.2:80*500 10.0.0.3:80*250"},
			told: []string{"Service shop/api: serving a.edge.example."},
		},
		{
			name: "else requests", objects: []any{
				aService("hostname=a.edge.example", "policy=capacity"),
				aSlice("api-1", "10.0.0.1 p1", "10.0.0.2 p2"), aPod("p1", "2", "1"), aPod("p2", "", "100m"),
			},
			want: []string{"a.edge.example. capacity _http._tcp: 10.0.0.1:80*1000 10.0.0.2:80*100"},
			told: []string{"Service shop/api: serving a.edge.example."},
		},
		{
			name: "else all are equal", objects: []any{
				aService("hostname=a.edge.example", "policy=capacity"),
				aSlice("api-1", "10.0.0.1 p1", "10.0.0.2 p2"), aPod("p1", "2", "1"), aPod("p2", "", "", "capacity=-1"),
			},
			want: []string{"a.edge.example. capacity _http._tcp: 10.0.0.1:80 10.0.0.2:80"},
			told: []string{"Service shop/api: serving a.edge.example."},
		},
		{
			name: "no port that records could tell", objects: []any{
				with(aService("hostname=a.edge.example", "alpn=h2"), func(s *corev1.Service) { s.Spec.Ports = nil }),
				with(aSlice("api-1", "10.0.0.1"), func(s *discoveryv1.EndpointSlice) { s.Ports = nil }),
			},
			want: []string{"a.edge.example. rr: 10.0.0.1:0"},
			told: []string{"Service shop/api: serving a.edge.example.; BadAnnotation: anyedge/alpn: the Service has no port that HTTPS records could tell"},
		},
		{
			name: "no port to ask for the load", objects: []any{
				with(aService("hostname=a.edge.example", "policy=capacity", "load=json"), func(s *corev1.Service) { s.Spec.Ports = nil }),
				with(aSlice("api-1", "10.0.0.1"), func(s *discoveryv1.EndpointSlice) { s.Ports = nil }),
			},
			want: []string{"a.edge.example. capacity: 10.0.0.1:0"},
			told: []string{"Service shop/api: serving a.edge.example.; BadAnnotation: anyedge/load: the Service has no port to ask: annotate anyedge/load-port"},
		},
		{
			name: "the oldest has a semantic name that several ask for", objects: []any{
				aService("hostname=a.edge.example c.edge.example", "semantic=shop.acme.api.prod"), pods,
				with(anIngress("b.edge.example /"), func(i *networkingv1.Ingress) {
					i.CreationTimestamp = metav1.NewTime(time.Unix(0, 0))
				}),
			},
			want: []string{
				"a.edge.example. rr _http._tcp: [2001:db8::1]:80 [2001:db8::2]:80",
				"b.edge.example. rr shop.acme.api.prod _http._tcp: [2001:db8::1]:80 [2001:db8::2]:80",
				"c.edge.example. rr _http._tcp: [2001:db8::1]:80 [2001:db8::2]:80",
			},
			told: []string{
				"Ingress shop/web: serving b.edge.example.",
				"Service shop/api: serving a.edge.example. c.edge.example." +
					"; SemanticTaken: a.edge.example.: its semantic name is that of b.edge.example., which asks for it longer" +
					"; SemanticTaken: c.edge.example.: its semantic name is that of b.edge.example., which asks for it longer",
			},
		},
		{
			name: "a semantic name that somebody else has", objects: []any{aService("hostname=a.edge.example", "semantic=taken.acme.api.prod"), pods},
			want: []string{"a.edge.example. rr _http._tcp: [2001:db8::1]:80 [2001:db8::2]:80"},
			told: []string{"Service shop/api: serving a.edge.example.; SemanticTaken: a.edge.example.: not taken.acme.api.prod"},
		},
		{
			name: "the oldest has a name that two ask for", objects: []any{
				aService("hostname=a.edge.example"), pods, anIngress("a.edge.example /"),
			},
			want: []string{"a.edge.example. rr _http._tcp: [2001:db8::1]:80 [2001:db8::2]:80"},
			told: []string{
				"Ingress shop/web: NameTaken: a.edge.example. belongs to Service shop/api, which is older",
				"Service shop/api: serving a.edge.example.",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			checkWorld(t, tt.objects, tt.want, tt.told)
		})
	}
}

func TestTranslateIngress(t *testing.T) {
	t.Parallel()
	const pods = "[2001:db8::1]:80"
	tests := []struct {
		name    string
		ingress *networkingv1.Ingress
		service func(*corev1.Service)
		slice   func(*discoveryv1.EndpointSlice)
		want    []string
		told    string // of the Ingress
	}{
		{name: "another class", ingress: with(anIngress("a.edge.example /"), func(i *networkingv1.Ingress) { i.Spec.IngressClassName = new("nginx") })},
		{name: "no class", ingress: with(anIngress("a.edge.example /"), func(i *networkingv1.Ingress) { i.Spec.IngressClassName = nil })},
		{
			name: "a host", ingress: anIngress("a.edge.example /"),
			want: []string{"a.edge.example. rr _http._tcp: " + pods}, told: "serving a.edge.example.",
		},
		{
			name: "two hosts, and a path beside /", ingress: anIngress("a.edge.example / /api", "b.edge.example /"),
			want: []string{"a.edge.example. rr _http._tcp: " + pods, "b.edge.example. rr _http._tcp: " + pods},
			told: "serving a.edge.example. b.edge.example.",
		},
		{
			name: "its notes come before those of the Service", ingress: with(anIngress("a.edge.example /"), func(i *networkingv1.Ingress) {
				i.Annotations["anyedge/answers"] = "2"
			}),
			service: func(s *corev1.Service) {
				s.Annotations = map[string]string{"anyedge/answers": "3", "anyedge/policy": "hash"}
			},
			want: []string{"a.edge.example. hash of 2 _http._tcp: " + pods}, told: "serving a.edge.example.",
		},
		{
			name: "the default backend", ingress: with(anIngress("a.edge.example"), func(i *networkingv1.Ingress) { i.Spec.DefaultBackend = new(aBackend("api")) }),
			want: []string{"a.edge.example. rr _http._tcp: " + pods}, told: "serving a.edge.example.",
		},
		{name: "no backend", ingress: anIngress("a.edge.example"), told: "BadBackend: a.edge.example.: has no backend: add a path, or a defaultBackend"},
		{name: "no rules", ingress: anIngress(), told: "NoHost: has no rule with a host: DNS answers names alone"},
		{name: "no host", ingress: anIngress(" /"), told: "NoHost: a rule without a host: DNS answers names alone"},
		{name: "wildcard", ingress: anIngress("*.edge.example /"), told: "Wildcard: *.edge.example: names with a wildcard are not supported yet"},
		{
			name: "paths to several backends", ingress: anIngress("a.edge.example / /img=images", "b.edge.example /"),
			want: []string{"b.edge.example. rr _http._tcp: " + pods},
			told: "serving b.edge.example.; PathRouting: a.edge.example.: DNS cannot tell paths apart: lead / and all other paths of the host to one backend",
		},
		{
			name: "a path alone", ingress: anIngress("a.edge.example /api"),
			told: "PathRouting: a.edge.example.: DNS cannot tell paths apart: lead / and all other paths of the host to one backend",
		},
		{
			name: "exactly /", ingress: with(anIngress("a.edge.example /"), func(i *networkingv1.Ingress) {
				i.Spec.Rules[0].HTTP.Paths[0].PathType = new(networkingv1.PathTypeExact)
			}),
			told: "PathRouting: a.edge.example.: DNS cannot tell paths apart: lead / and all other paths of the host to one backend",
		},
		{
			name: "no Service behind it", ingress: with(anIngress("a.edge.example /"), func(i *networkingv1.Ingress) {
				i.Spec.Rules[0].HTTP.Paths[0].Backend = networkingv1.IngressBackend{Resource: &corev1.TypedLocalObjectReference{Kind: "Bucket", Name: "b"}}
			}),
			told: "BadBackend: a.edge.example.: the backend is no Service",
		},
		{
			name: "a Service that does not exist", ingress: anIngress("a.edge.example /=nobody"),
			want: []string{"a.edge.example. rr:"},
			told: "serving a.edge.example.; NoService: a.edge.example.: there is no Service shop/nobody",
		},
		{
			name: "TLS", ingress: with(anIngress("a.edge.example /", "b.edge.example /"), func(i *networkingv1.Ingress) {
				i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{"a.edge.example"}}}
			}),
			want: []string{"b.edge.example. rr _http._tcp: " + pods},
			told: "serving b.edge.example.; TLS: a.edge.example.: nothing here ends TLS: where the pods themselves have the certificate, annotate anyedge/tls: pods",
		},
		{
			name: "TLS of all hosts, by a wildcard", ingress: with(anIngress("a.edge.example /"), func(i *networkingv1.Ingress) {
				i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{"*.edge.example"}}}
			}),
			told: "TLS: a.edge.example.: nothing here ends TLS: where the pods themselves have the certificate, annotate anyedge/tls: pods",
		},
		{
			name: "TLS that the pods end", ingress: with(anIngress("a.edge.example /"), func(i *networkingv1.Ingress) {
				i.Spec.TLS = []networkingv1.IngressTLS{{}}
				i.Annotations["anyedge/tls"] = "pods"
			}),
			want: []string{"a.edge.example. rr _http._tcp: " + pods}, told: "serving a.edge.example.",
		},
		{
			name: "a target port that nobody comes to", ingress: anIngress("a.edge.example /"),
			slice: func(s *discoveryv1.EndpointSlice) { s.Ports[0].Port = new(int32(8080)) },
			told:  "TargetPort: a.edge.example.: pods listen on port 8080, clients come to 80 and 443: let the pods listen there, or, where all clients go by SRV records, or by HTTPS records, which anyedge/alpn makes, annotate anyedge/any-port: true",
		},
		{
			name: "a target port that clients learn", ingress: with(anIngress("a.edge.example /"), func(i *networkingv1.Ingress) {
				i.Annotations["anyedge/any-port"] = "true"
			}),
			slice: func(s *discoveryv1.EndpointSlice) { s.Ports[0].Port = new(int32(8080)) },
			want:  []string{"a.edge.example. rr _http._tcp: [2001:db8::1]:8080"}, told: "serving a.edge.example.",
		},
		{
			name: "a target port that HTTPS records tell", ingress: with(anIngress("a.edge.example /"), func(i *networkingv1.Ingress) {
				i.Annotations["anyedge/any-port"], i.Annotations["anyedge/alpn"] = "true", "h2,http/1.1"
			}),
			slice: func(s *discoveryv1.EndpointSlice) { s.Ports[0].Port = new(int32(8443)) },
			want:  []string{"a.edge.example. rr _http._tcp h2,http/1.1: [2001:db8::1]:8443"}, told: "serving a.edge.example.",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			service, slice := aService(), aSlice("api-1", "2001:db8::1")
			if tt.service != nil {
				tt.service(service)
			}
			if tt.slice != nil {
				tt.slice(slice)
			}
			var told []string
			if tt.told != "" {
				told = []string{"Ingress shop/web: " + tt.told}
			}
			checkWorld(t, []any{tt.ingress, service, slice}, tt.want, told)
		})
	}
}

// checkWorld wants the same whatever the order in which objects come, and nothing once they are gone.
func checkWorld(t *testing.T, raw []any, want, told []string) {
	t.Helper()
	all := objects(t, raw...)
	for range 10 {
		w := newWorld(rules{class: "anyedge", domain: "edge.example.", node: "node-3", accept: Rules{ours, oursToo}})
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		verdicts := make(map[owner]verdict)
		for _, o := range all {
			w.put(o)
			w.update()
			for o, v := range w.verdicts() {
				verdicts[o] = v
			}
		}
		if diff := cmp.Diff(want, answers(w.all())); diff != "" {
			t.Fatalf("services (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(told, complaints(verdicts)); diff != "" {
			t.Fatalf("verdicts (-want +got):\n%s", diff)
		}
		for _, o := range all {
			w.drop(o, o.place())
		}
		w.update()
		w.verdicts()
		if diff := cmp.Diff(newWorld(rules{}), w, cmp.AllowUnexported(world{}), cmpopts.IgnoreFields(world{}, "rules")); diff != "" {
			t.Fatalf("left in an empty world (-want +got):\n%s", diff)
		}
	}
}

// Only what changed is told, and nothing twice.
func TestUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(rules{class: "anyedge", accept: Rules{Name: ours}})
	step := func(what string, set, gone []string, change func()) {
		t.Helper()
		change()
		u := w.update()
		if diff := cmp.Diff([][]string{set, gone}, [][]string{answers(u.Set), u.Gone}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		if again := w.update(); !again.Empty() {
			t.Errorf("%s: told twice: %v", what, again)
		}
	}
	put := func(raw ...any) func() {
		return func() {
			for _, o := range objects(t, raw...) {
				w.put(o)
			}
		}
	}
	other := with(aService("hostname=b.edge.example"), func(s *corev1.Service) { s.Name = "other" })
	step("two Services", []string{"a.edge.example. rr _http._tcp:", "b.edge.example. rr _http._tcp:"}, nil, put(aService("hostname=a.edge.example"), other))
	step("pods of one", []string{"a.edge.example. rr _http._tcp: 10.0.0.1:80"}, nil, put(aSlice("api-1", "10.0.0.1 p1")))
	step("the same once more", nil, nil, put(aSlice("api-1", "10.0.0.1 p1"), aService("hostname=a.edge.example"), other))
	step("a pod with a capacity", []string{"a.edge.example. rr _http._tcp: 10.0.0.1:80*7"}, nil, put(aPod("p1", "", "", "capacity=7")))
	step("a pod of nobody", nil, nil, put(aPod("p2", "", "", "capacity=7")))
	step("another name", []string{"c.edge.example. rr _http._tcp: 10.0.0.1:80*7"}, []string{"a.edge.example."}, put(aService("hostname=c.edge.example")))
	step("an Ingress takes over", []string{"c.edge.example. hash _http._tcp: 10.0.0.1:80*7"}, nil, put(
		with(anIngress("c.edge.example /"), func(i *networkingv1.Ingress) {
			i.CreationTimestamp = metav1.NewTime(time.Unix(0, 0))
			i.Annotations["anyedge/policy"] = "hash"
		})))
	older := with(aService("hostname=d.edge.example", "semantic=a.b.c.d"), func(s *corev1.Service) { s.Name = "older" })
	step("a semantic name", []string{"d.edge.example. rr a.b.c.d _http._tcp:"}, nil, put(older))
	step("another one wants it", nil, nil, put(with(other, func(s *corev1.Service) {
		s.Annotations[prefix+"semantic"], s.Annotations[prefix+"port"] = "a.b.c.d", "http"
	})))
	step("it is free", []string{"b.edge.example. rr a.b.c.d _http._tcp:", "d.edge.example. rr _http._tcp:"}, nil,
		put(with(older, func(s *corev1.Service) { delete(s.Annotations, prefix+"semantic") })))
	step("another rule", nil, []string{"b.edge.example.", "c.edge.example.", "d.edge.example."}, func() {
		w.rules.accept.Name = func(string) error { return errors.New("no") }
		w.touchAll()
	})
}

func TestSettings(t *testing.T) {
	t.Parallel()
	got := notes{
		"policy": "capacity", "answers": "3", "panic": "none", "panic-below": "0.5", "port": "http", "any-port": "true",
		"slow-start": "1m", "allow": "media,bank", "semantic": "Shop.acme.api.prod", "alpn": "h2, http/1.1",
		"load": "json", "load-port": "9090", "load-path": "/l?x=1", "load-in-flight": "named_metrics.queue", "load-latency": "took_ms", "load-cpu": "a:b",
	}.settings()
	want := settings{
		policy: steering.Capacity, answers: 3, panic: steering.Panic{Mode: steering.PanicNone, Below: 0.5},
		slowStart: time.Minute, allow: []string{"media", "bank"}, semantic: steering.Semantic{App: "shop", AppNS: "acme", Service: "api", ServiceNS: "prod"}, port: "http", anyPort: true, alpn: []string{"h2", "http/1.1"},
		asked: Asked{Format: "json", Port: 9090, Path: "/l?x=1", InFlight: "named_metrics.queue", Latency: "took_ms", CPU: "a:b"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	other := notes{"panic": "other", "panic-fallback": "2001:db8:2::10, 10.2.10.10,::ffff:10.2.10.10"}.settings()
	fallback := []netip.Addr{netip.MustParseAddr("2001:db8:2::10"), netip.MustParseAddr("10.2.10.10")}
	if diff := cmp.Diff(steering.Panic{Mode: steering.PanicOther, Fallback: fallback}, other.panic, exact); diff != "" || other.trouble != nil {
		t.Errorf("%v (-want +got):\n%s", other.trouble, diff)
	}
	bad := notes{"panic": "maybe", "panic-below": "NaN", "tls": "here", "expose": "yes", "answers": "0", "slow-start": "2h", "alpn": "h2,h2", "semantic": "a.b.c", "allow": "a/b"}.settings()
	var told []string
	for _, p := range bad.trouble {
		told = append(told, p.message)
	}
	if diff := cmp.Diff([]string{
		`anyedge/allow: must be namespaces, separated by commas, or *, not "a/b"`,
		`anyedge/alpn: must be protocols of TLS, such as h2,http/1.1, each once, not "h2"`,
		`anyedge/answers: must be a whole number from 1 to 16, not "0"`,
		`anyedge/expose: must be true or false, not "yes"`,
		`anyedge/panic: must be all or none or other, not "maybe"`,
		`anyedge/panic-below: must be a number from 0 to 1, not "NaN"`,
		`anyedge/semantic: must be APP.APP_NS.SERVICE.SERVICE_NS, each a label, not "a.b.c"`,
		`anyedge/slow-start: must be a duration from 0s to 1h, not "2h"`,
		`anyedge/tls: must be pods, not "here"`,
	}, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Another site answers in panic only where its addresses are all understood.
func TestFallbackSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		notes notes
		want  string
	}{
		{notes{"panic": "other"}, "anyedge/panic-fallback: is missing or wrong, so all answer in panic, and not another site"},
		{notes{"panic-fallback": "10.0.0.1"}, "anyedge/panic-fallback: does nothing without anyedge/panic: other"},
		{notes{"panic": "other", "panic-fallback": "10.0.0.1 fe80::1"},
			`anyedge/panic-fallback: must be addresses of another site, separated by commas, not "fe80::1"` +
				"; anyedge/panic-fallback: is missing or wrong, so all answer in panic, and not another site"},
	} {
		got := tt.notes.settings()
		var told []string
		for _, p := range got.trouble {
			told = append(told, p.message)
		}
		if text := strings.Join(told, "; "); text != tt.want || got.panic.Mode != steering.PanicAll || got.panic.Fallback != nil {
			t.Errorf("%v: %+v, told\n%s\nwant\n%s", tt.notes, got.panic, text, tt.want)
		}
	}
}

// What is said of load and cannot be done is told, and nobody is asked.
func TestLoadSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		notes notes
		want  string
	}{
		{notes{"policy": "hash", "load": "graphite"}, `anyedge/load: must be prometheus or json or orca, not "graphite"`},
		{notes{"policy": "hash", "load-port": "80"}, `anyedge/load: is missing or wrong, so nothing is asked, whatever the other annotations on load say`},
		{notes{"load": "prometheus"}, `anyedge/load: does nothing with policy rr: annotate anyedge/policy: capacity`},
		{notes{"policy": "hash", "load-port": "0"}, `anyedge/load-port: must be a port from 1 to 65535, not "0"`},
		{notes{"policy": "hash", "load-path": "metrics"}, `anyedge/load-path: must be a path, such as /metrics, not "metrics"`},
		{notes{"policy": "hash", "load-path": "/ HTTP/1.1\r\nX: y"}, `anyedge/load-path: must be a path, such as /metrics, not "/ HTTP/1.1\r\nX: y"`},
		{notes{"policy": "hash", "load-path": "/#x"}, `anyedge/load-path: must be a path, such as /metrics, not "/#x"`},
		{notes{"policy": "hash", "load-cpu": `a{b="c"}`}, `anyedge/load-cpu: must be the name of a metric or field, without labels, not "a{b=\"c\"}"`},
	} {
		got := tt.notes.settings()
		var told []string
		for _, p := range got.trouble {
			told = append(told, p.message)
		}
		if text := strings.Join(told, "; "); text != tt.want || got.asked != (Asked{}) {
			t.Errorf("%v: asked %v, told\n%s\nwant\n%s", tt.notes, got.asked, text, tt.want)
		}
	}
}

func TestOrdinal(t *testing.T) {
	t.Parallel()
	var got []int32
	for _, name := range []string{"web-0", "web-12", "web", "web-", "web-01", "web-x1", "web--1", "web-99999999999999999999", ""} {
		got = append(got, ordinal(name))
	}
	if diff := cmp.Diff([]int32{0, 12, -1, -1, -1, -1, 1, -1, -1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBalancer(t *testing.T) {
	t.Parallel()
	v := verdict{served: []string{"a.edge.example.", "b.edge.example."}, trouble: []problem{{"TLS", "x"}, {"TLS", "y"}}, mine: true}
	want := map[string]any{"loadBalancer": map[string]any{"ingress": []networkingv1.IngressLoadBalancerIngress{
		{Hostname: "a.edge.example"}, {Hostname: "b.edge.example"},
		{Ports: []networkingv1.IngressPortStatus{{Port: 80, Protocol: "TCP", Error: new("anyedge/TLS")}}},
	}}}
	got := v.balancer(nil)
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	written := want["loadBalancer"].(map[string]any)["ingress"].([]networkingv1.IngressLoadBalancerIngress)
	if again := v.balancer(slices.Clone(written)); again != nil {
		t.Errorf("written twice: %v", again)
	}
}

func TestCondition(t *testing.T) {
	t.Parallel()
	now, before := time.Unix(2000, 0), metav1.NewTime(time.Unix(1000, 0))
	served := verdict{served: []string{"a.edge.example."}, mine: true}
	old := &metav1.Condition{Type: conditionType, Status: "True", Reason: "Served", Message: "serving a.edge.example.", LastTransitionTime: before}
	refused := verdict{trouble: []problem{{"TLS", "x"}}, mine: true}
	for _, tt := range []struct {
		name string
		verdict
		old  *metav1.Condition
		want any
	}{
		{"as it is", served, old, nil},
		{"none of our business", verdict{}, nil, nil},
		{"new", served, nil, conditions(metav1.Condition{Type: conditionType, Status: "True", Reason: "Served", Message: "serving a.edge.example.", LastTransitionTime: metav1.NewTime(now)})},
		{"refused", refused, old, conditions(metav1.Condition{Type: conditionType, Status: "False", Reason: "NotServed", Message: "TLS: x", LastTransitionTime: metav1.NewTime(now)})},
		{"other words", verdict{served: []string{"b.edge.example."}, mine: true}, old, conditions(metav1.Condition{Type: conditionType, Status: "True", Reason: "Served", Message: "serving b.edge.example.", LastTransitionTime: before})},
		{"not asked for any more", verdict{}, old, conditions(map[string]any{"type": conditionType, "$patch": "delete"})},
	} {
		if diff := cmp.Diff(tt.want, tt.condition(tt.old, now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
