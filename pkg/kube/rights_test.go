package kube

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// askedAtKubelets is what a kubelet of Kubernetes wants who asks for /metrics/resource.
var askedAtKubelets = kubetest.Right{Verb: "get", Resource: "nodes/metrics"}

// reviewing is a kubelet that looks at who asks, as real ones do.
func reviewing(t *testing.T, c *kubetest.Cluster) *fakeKubelet {
	k := new(fakeKubelet)
	k.Server = quietServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowed, err := c.Review(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), askedAtKubelets)
		switch {
		case err != nil:
			w.WriteHeader(http.StatusUnauthorized)
		case !allowed:
			w.WriteHeader(http.StatusForbidden)
		default:
			k.ServeHTTP(w, r)
		}
	}))
	return k
}

// serveMetrics has the API server hand on what is asked of metrics.k8s.io to a server that knows pod metered, until the test ends.
func serveMetrics(t *testing.T, s *stage) {
	t.Helper()
	server := quietServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if !strings.HasSuffix(r.URL.Path, "/pods") { // the API server asks what is there
			_, _ = fmt.Fprint(w, `{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1", "resources": []}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "items": [
			{"metadata": {"namespace": "shop", "name": "metered"}, "timestamp": %q, "window": "15s", "containers": [{"usage": {"cpu": "500m"}}]}]}`,
			time.Now().Format(time.RFC3339))
	}))
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range []string{
		`{apiVersion: v1, kind: Service, metadata: {name: metrics, namespace: %s}, spec: {type: ExternalName, externalName: localhost}}`,
		`{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1beta1.metrics.k8s.io}, spec: {
			service: {namespace: %s, name: metrics, port: ` + at.Port() + `}, insecureSkipTLSVerify: true,
			group: metrics.k8s.io, version: v1beta1, groupPriorityMinimum: 100, versionPriority: 100}}`,
	} {
		o, err := s.Apply(kubetest.Manifests(t, fmt.Appendf(nil, document, s.ns))[0], false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Delete(t, o) })
	}
}

// The rights that are shipped are enough, and each of them is made use of. Without those for loads nothing of these is known, and
// people are told which right is missing.
func TestControlPlaneRightsUsed(t *testing.T) {
	s := emptyStage(t)
	shipped := slices.Concat(shippedRights(t), loadRights(t))
	s.Grant(t, s.user, "", shipped...)
	kubeconfig := s.Kubeconfig(t, s.user)
	s.follow(kubeconfig)
	s.seed()
	s.put(anIngress("b.edge.example /", "c.edge.example / /x=other"))
	eventually(t, s.source, one1, "b.edge.example. rr _http._tcp: 10.1.0.1:80")

	serveMetrics(t, s)
	k := reviewing(t, s.Cluster)
	restConfig, err := credentials(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	told := Pod{"shop", "web-1", k.at(t).Addr(), 2, 0}
	metered := Pod{Namespace: "shop", Name: "metered", Limit: 1}
	m := meter(t, MeterConfig{Kubelets: &Kubelets{Port: k.at(t).Port(), CAFile: k.caFile(t)}, Metrics: true}, restConfig, told, metered)
	waitUntil(t, func() bool { return loadOf(m, told).CPU.Known && loadOf(m, metered).CPU.Known })

	want := kubetest.Rights(shipped...)
	var diff string
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		used := s.Used(t, s.user)
		used[askedAtKubelets] = true // or the load of that pod would not be known
		if diff = cmp.Diff(want, used); diff == "" || time.Now().After(deadline) {
			break
		}
	}
	if diff != "" {
		t.Errorf("rights (-shipped +used; false: refused):\n%s", diff)
	}

	s.Grant(t, s.user, "", shippedRights(t)...)
	later := time.Now().Add(time.Minute)
	const noMetrics = "metrics API: answered 403 Forbidden: grant list of pods of metrics.k8s.io"
	wantTrouble := []string{
		"kubelet " + told.Host.String() + ": answered 403 Forbidden: grant get of nodes/metrics; " + noMetrics,
		"kubelet: the pod's node is not known yet; " + noMetrics,
	}
	waitUntil(t, func() bool {
		return strings.Contains(m.Trouble(told, later), "nodes/metrics") && strings.Contains(m.Trouble(told, later), noMetrics)
	})
	checkTrouble(t, m, later, []Pod{told, metered}, wantTrouble)
}
