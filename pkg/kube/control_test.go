package kube

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// stage is a namespace of the real API with a source that follows it.
type stage struct {
	testing.TB
	*kubetest.Cluster
	ns, user string
	source   *Source
}

func newStage(t testing.TB) *stage {
	t.Helper()
	s := emptyStage(t)
	s.Grant(t, s.user, "", shippedRights(t)...)
	s.follow(s.Kubeconfig(t, s.user), s.ns)
	return s
}

// emptyStage has a user who may do nothing, and no source.
func emptyStage(t testing.TB) *stage {
	t.Helper()
	c := kubetest.Start(t)
	s := &stage{TB: t, Cluster: c, ns: c.Namespace(t), user: c.User(t)}
	t.Cleanup(func() { // who follows the whole cluster is not to find it
		for _, o := range []metav1.Object{&appsv1.StatefulSet{}, &networkingv1.Ingress{}, &corev1.Service{}, &discoveryv1.EndpointSlice{}} {
			c.Do(t, http.MethodDelete, s.path(o), nil, nil)
		}
	})
	return s
}

// follow has a source follow namespaces, or all.
func (s *stage) follow(kubeconfig string, namespaces ...string) {
	s.Helper()
	var err error
	s.source, err = New(Config{
		Kubeconfig: kubeconfig, Namespaces: namespaces, Domain: "edge.example.", Accept: Rules{Name: ours}, Log: slog.New(slog.NewTextHandler(s.Output(), nil)),
	})
	if err != nil {
		s.Fatal(err)
	}
	start(s.TB, s.source)
}

// shippedRights are those that a cluster gives to edgedns, and loadRights those that come with the loads of pods.
func shippedRights(t testing.TB) []rbacv1.PolicyRule { return rightsIn(t, "rights/edgedns.yaml")[0] }
func loadRights(t testing.TB) []rbacv1.PolicyRule    { return rightsIn(t, "loads/rights.yaml")[0] }

// rightsIn are those of the roles in a file of deploy/kubernetes/kustomize.
func rightsIn(t testing.TB, file string) (all [][]rbacv1.PolicyRule) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/kubernetes/kustomize/" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range kubetest.Manifests(t, text) {
		if strings.HasSuffix(o.GetKind(), "Role") {
			all = append(all, kubetest.Convert[rbacv1.ClusterRole](t, o).Rules)
		}
	}
	return all
}

// readRights are those of them that only read.
func readRights(t testing.TB) []rbacv1.PolicyRule {
	t.Helper()
	return slices.DeleteFunc(shippedRights(t), func(r rbacv1.PolicyRule) bool {
		return slices.Contains(r.Verbs, "patch") || slices.Contains(r.Verbs, "create")
	})
}

// The documentation tells of the rights that are shipped.
func TestRightsOfDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, shipped := range map[string][][]rbacv1.PolicyRule{
		"## Rights": {slices.Concat(shippedRights(t), loadRights(t))}, "## Rights of edgeagent": rightsIn(t, "services/rights.yaml"),
	} {
		_, rest, _ := strings.Cut(string(text), heading+"\n\n```yaml\n")
		block, _, found := strings.Cut(rest, "```")
		if !found {
			t.Fatalf("no rules under %s", heading)
		}
		var documented [][]rbacv1.PolicyRule
		for _, o := range kubetest.Manifests(t, []byte(block)) {
			documented = append(documented, kubetest.Convert[rbacv1.ClusterRole](t, o).Rules)
		}
		if diff := cmp.Diff(shipped, documented); diff != "" {
			t.Errorf("%s (-shipped +documented):\n%s", heading, diff)
		}
	}
}

// put creates or replaces an object of the stage.
func (s *stage) put(o metav1.Object) {
	s.Helper()
	o.SetNamespace(s.ns)
	o.SetCreationTimestamp(metav1.Time{})
	path := s.path(o)
	if s.Try(kubetest.Admin, http.MethodGet, path+"/"+o.GetName(), nil, nil) != nil {
		s.Do(s.TB, http.MethodPost, path, o, nil)
		return
	}
	s.Do(s.TB, http.MethodPut, path+"/"+o.GetName(), o, nil)
}

func (s *stage) path(o metav1.Object) string {
	switch o.(type) {
	case *corev1.Service:
		return "/api/v1/namespaces/" + s.ns + "/services"
	case *networkingv1.Ingress:
		return "/apis/networking.k8s.io/v1/namespaces/" + s.ns + "/ingresses"
	case *appsv1.StatefulSet:
		return "/apis/apps/v1/namespaces/" + s.ns + "/statefulsets"
	case *discoveryv1.EndpointSlice:
		return "/apis/discovery.k8s.io/v1/namespaces/" + s.ns + "/endpointslices"
	default:
		panic(fmt.Sprintf("no path of %T", o))
	}
}

// realSlice is aSlice as the API wants it.
func (s *stage) realSlice(endpoints ...string) *discoveryv1.EndpointSlice {
	return with(aSlice("api-1", endpoints...), func(e *discoveryv1.EndpointSlice) {
		e.AddressType, e.Namespace = discoveryv1.AddressTypeIPv4, s.ns
	})
}

func (s *stage) slice(endpoints ...string) {
	s.Helper()
	s.put(s.realSlice(endpoints...))
}

const (
	one1 = "a.edge.example. rr _http._tcp: 10.1.0.1:80"
	two2 = "a.edge.example. rr _http._tcp: 10.1.0.1:80 10.1.0.2:80"
)

func (s *stage) seed() {
	s.Helper()
	s.put(aService("hostname=a.edge.example"))
	s.slice("10.1.0.1")
	eventually(s.TB, s.source, one1)
}

// Owners read in their objects what became of their wishes, with the rights of the documentation.
func TestControlPlane(t *testing.T) {
	s := emptyStage(t)
	s.Grant(t, s.user, "", shippedRights(t)...)
	s.follow(s.Kubeconfig(t, s.user)) // the whole cluster
	s.seed()
	s.put(anIngress("b.edge.example /", "c.edge.example / /x=other"))
	eventually(t, s.source, one1, "b.edge.example. rr _http._tcp: 10.1.0.1:80")
	var ingress networkingv1.Ingress
	waitUntil(t, func() bool {
		s.Do(t, http.MethodGet, s.path(&ingress)+"/web", nil, &ingress)
		return len(ingress.Status.LoadBalancer.Ingress) > 0
	})
	if diff := cmp.Diff([]networkingv1.IngressLoadBalancerIngress{
		{Hostname: "b.edge.example"},
		{Ports: []networkingv1.IngressPortStatus{{Port: 80, Protocol: "TCP", Error: new("anyedge/PathRouting")}}},
	}, ingress.Status.LoadBalancer.Ingress); diff != "" {
		t.Errorf("status of the Ingress (-want +got):\n%s", diff)
	}
	var service corev1.Service
	waitUntil(t, func() bool {
		s.Do(t, http.MethodGet, s.path(&service)+"/api", nil, &service)
		return len(service.Status.Conditions) > 0
	})
	if c := service.Status.Conditions[0]; c.Type != conditionType || c.Status != "True" || c.Message != "serving a.edge.example." {
		t.Errorf("condition %v", c)
	}
	var events struct {
		Items []struct{ Reason, Note string }
	}
	waitUntil(t, func() bool {
		s.Do(t, http.MethodGet, "/apis/events.k8s.io/v1/namespaces/"+s.ns+"/events", nil, &events)
		return len(events.Items) > 0
	})
	if e := events.Items[0]; e.Reason != "PathRouting" || !strings.HasPrefix(e.Note, "c.edge.example.: ") {
		t.Errorf("event %v", e)
	}
	s.put(aService())
	eventually(t, s.source, "b.edge.example. rr _http._tcp: 10.1.0.1:80")
	waitUntil(t, func() bool {
		service = corev1.Service{}
		s.Do(t, http.MethodGet, s.path(&service)+"/api", nil, &service)
		return len(service.Status.Conditions) == 0
	})
}

// The API server ends and comes back: what is known stays, and what changed is found.
func TestControlPlaneRestarted(t *testing.T) {
	s := newStage(t)
	s.seed()
	s.StopServer()
	waitUntil(t, func() bool { return s.source.readers[0].failing.Load() })
	still(t, s.source, one1)
	s.StartServer(t)
	s.slice("10.1.0.1", "10.1.0.2")
	eventually(t, s.source, two2)
}

// The past is compacted away while nobody watches: what changed is found.
func TestControlPlaneCompacted(t *testing.T) {
	s := newStage(t)
	s.seed()
	s.StopServer()
	waitUntil(t, func() bool { return s.source.readers[0].failing.Load() })
	s.Compact(t)
	s.StartServer(t)
	s.slice("10.1.0.1", "10.1.0.2")
	eventually(t, s.source, two2)
}

// Connections that are cut are made anew, and nothing is missed.
func TestControlPlaneCut(t *testing.T) {
	s := emptyStage(t)
	s.Grant(t, s.user, "", shippedRights(t)...)
	w := s.Wire(t)
	s.follow(w.Kubeconfig(t, s.user), s.ns)
	s.seed()
	w.Cut()
	s.slice("10.1.0.1", "10.1.0.2")
	eventually(t, s.source, two2)
	if n := s.source.errorsOf("endpointslices", "InternalError"); n != 0 {
		t.Errorf("%v errors of the server were counted, which had none", n)
	}
}

// A connection that carries nothing any more, without a word, is found out and given up.
func TestControlPlaneMute(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "1") // of client-go; 30 unless told
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "1")      // 15
	s := emptyStage(t)
	s.Grant(t, s.user, "", shippedRights(t)...)
	w := s.Wire(t)
	s.follow(w.Kubeconfig(t, s.user), s.ns)
	s.seed()
	w.Mute()
	s.slice("10.1.0.1", "10.1.0.2")
	eventually(t, s.source, two2)
}

// A server that does nothing for a while is waited for.
func TestControlPlaneFrozen(t *testing.T) {
	s := newStage(t)
	s.seed()
	s.FreezeServer(t, 3*time.Second)
	still(t, s.source, one1)
	s.slice("10.1.0.1", "10.1.0.2") // waits
	eventually(t, s.source, two2)
}

// Rights that are withdrawn end no answer; given back, they are used. Those to write are not needed.
func TestControlPlaneRights(t *testing.T) {
	s := newStage(t)
	s.seed()
	s.Grant(t, s.user, "")
	s.StopServer() // a watch that goes on is not looked at again
	s.StartServer(t)
	waitUntil(t, func() bool { return s.source.errorsOf("endpointslices", "Forbidden") > 0 })
	still(t, s.source, one1)
	s.slice("10.1.0.1", "10.1.0.2")
	s.Grant(t, s.user, "", readRights(t)...)
	eventually(t, s.source, two2)
	s.put(aService("hostname=b.edge.example"))
	eventually(t, s.source, strings.Replace(two2, "a.", "b.", 1))
	waitUntil(t, func() bool { return testutil.ToFloat64(s.source.metrics.writes.WithLabelValues("Forbidden")) > 0 })
}

// With a list of namespaces rights in these are enough.
func TestControlPlaneNamespace(t *testing.T) {
	s := emptyStage(t)
	s.Grant(t, s.user, s.ns, shippedRights(t)...)
	s.follow(s.Kubeconfig(t, s.user), s.ns)
	s.seed()
	s.slice("10.1.0.1", "10.1.0.2")
	eventually(t, s.source, two2)
}

// What a scheduler and controllers make of a StatefulSet is answered: slices of their making, capacities, and where pods run. The
// pods of a node that is lost count as down. (When it is found again, kwok does not say that they are ready, as a kubelet would.)
func TestControlPlanePods(t *testing.T) {
	s := newStage(t)
	s.Node(t, "node-0")
	s.put(with(aService("hostname=a.edge.example"), func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "api"} }))
	s.put(aStatefulSet(2))
	const served = "a.edge.example. rr _http._tcp:"
	eventually(t, s.source, served+s.podsOfAPI(2, ""))
	s.put(aStatefulSet(1))
	eventually(t, s.source, served+s.podsOfAPI(1, ""))
	if err := s.LoseNode("node-0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.FindNode("node-0") })
	eventually(t, s.source, served+s.podsOfAPI(1, "!"))
}

// podsOfAPI are the first n pods of aStatefulSet on node-0, as the source tells of them.
func (s *stage) podsOfAPI(n int, state string) (text string) {
	s.Helper()
	instances := make(map[netip.Addr]int)
	for i := range n {
		instances[s.podAddress(fmt.Sprintf("api-%d", i))] = i
	}
	for _, a := range slices.SortedFunc(maps.Keys(instances), netip.Addr.Compare) {
		text += fmt.Sprintf(" [%s]:8080*500%s/%d/node-0/zone-0", a, state, instances[a])
	}
	return text
}

// podAddress waits until a pod has one.
func (s *stage) podAddress(name string) (address netip.Addr) {
	s.Helper()
	waitUntil(s.TB, func() bool {
		var pod corev1.Pod
		err := s.Try(kubetest.Admin, http.MethodGet, "/api/v1/namespaces/"+s.ns+"/pods/"+name, nil, &pod)
		if err == nil {
			address, err = netip.ParseAddr(pod.Status.PodIP)
		}
		return err == nil
	})
	return address
}

func aStatefulSet(replicas int32) *appsv1.StatefulSet {
	pod := aPod("", "500m", "").Spec
	pod.TerminationGracePeriodSeconds = new(int64(0))
	pod.Containers[0].Name, pod.Containers[0].Image = "api", "none"
	pod.Containers[0].Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}
	labels := map[string]string{"app": "api"}
	return &appsv1.StatefulSet{
		ObjectMeta: objectMeta("api", 100),
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: "api", Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: pod},
		},
	}
}
