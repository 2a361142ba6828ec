package main

import (
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// clusterLoadConfig has no services but those of a cluster.
func clusterLoadConfig(t *testing.T, api *kubetest.API, load string) string {
	begin, end := strings.Index(loadConfig, "services:"), strings.Index(loadConfig, "metrics:")
	return loadConfig[:begin] + "kubernetes: {kubeconfig: " + api.Kubeconfig(t) + ", load: " + load + "}\n" +
		"admin: {socket: " + filepath.Join(t.TempDir(), "dns.sock") + "}\n" + loadConfig[end:]
}

// loadedService is api.edge.example, steered by capacity.
func loadedService(notes ...string) *corev1.Service {
	return noted("api.edge.example", append([]string{"policy", "capacity", "answers", "1"}, notes...)...)
}

// servicesSay waits until edgedns services tells of api.edge.example what is wanted.
func servicesSay(t *testing.T, path, want string) {
	t.Helper()
	var said string
	for range 3000 {
		status, stdout, stderr := runOnce(t, "services", "api.edge.example", "--config", path)
		if said = stdout + stderr; status == 0 && strings.Contains(said, want) {
			return
		}
		time.Sleep(20 * time.Millisecond) // the loads' interval decides
	}
	t.Fatalf("no %q in\n%s", want, said)
}

// Pods of a cluster whose Service says where are asked themselves; one that does not tell any more is back at its capacity, and
// people are told why.
func TestClusterPodsAreAsked(t *testing.T) {
	api := kubetest.NewAPI(t)
	api.Set(loadedService("load", "json", "load-port", "8081"))
	api.Set(clusterSlice("127.0.0.1", "127.0.0.2", "127.0.0.3"))
	for _, address := range []string{"127.0.0.1", "127.0.0.2"} {
		loadedPod(t, address)
	}
	stalled := loadedPod(t, "127.0.0.3")
	path := configFile(t, clusterLoadConfig(t, api, "{interval: 100ms, timeout: 50ms}"))
	lines := startFile(t, path)
	waitFor(t, lines, "msg=synced")
	visitors(t, "127.0.0.3")
	shifted := func(a, b, c float64) bool { return c > 0 && c < a/2 && c < b/2 }
	weightsUntil(t, "the third pod is slow", shifted)
	answersShift(t)
	servicesSay(t, path, "in flight ")

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	reload(t, path, string(text)+"explain: {allow: ['::1/128']}\n", lines, taken)
	weightsUntil(t, "after a reload", shifted)

	stalled.Store(true)
	weightsUntil(t, "it does not tell any more", func(_, _, c float64) bool { return c == 1 })
	servicesSay(t, path, "no load: no answer within 50ms")
	stalled.Store(false)
	weightsUntil(t, "it tells again", shifted)

	api.Set(loadedService())
	for n := 0; value(t, scrape(t), "anyedge_discovery_load_targets") != 0; n++ {
		if n == 3000 {
			t.Fatal("pods are asked whose Service does not say so any more")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// clusterKubelet tells what the pods on it use of a processor, until it refuses. By its own clock 100 ms pass from one request to the next.
func clusterKubelet(t *testing.T, use map[string]float64) (load string, refuses *atomic.Bool) {
	t.Helper()
	refuses = new(atomic.Bool)
	var asked atomic.Int64
	k := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if refuses.Load() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		n := asked.Add(1)
		for pod, used := range use {
			_, _ = fmt.Fprintf(w, "pod_cpu_usage_seconds_total{namespace=\"shop\",pod=%q} %g %d\n", pod, used*float64(n)/10, 1e12+100*n)
		}
	}))
	k.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	k.StartTLS()
	t.Cleanup(k.Close)
	ca := filepath.Join(t.TempDir(), "kubelet.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(k.URL)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("{interval: 100ms, kubelets: {port: %s, ca_file: %s}}", u.Port(), ca), refuses
}

func clusterPod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{
			Limits: corev1.ResourceList{corev1.ResourceCPU: quantity.MustParse("1")},
		}}}},
		Status: corev1.PodStatus{HostIP: "127.0.0.1"},
	}
}

// Weights follow what kubelets tell of the processors that pods use, until they do not.
func TestClusterKubelets(t *testing.T) {
	load, refuses := clusterKubelet(t, map[string]float64{"p1": 0.1, "p2": 0.1, "p3": 0.9})
	api := kubetest.NewAPI(t)
	api.Set(loadedService())
	slice := clusterSlice("127.0.0.1", "127.0.0.2", "127.0.0.3")
	for i, name := range []string{"p1", "p2", "p3"} {
		slice.Endpoints[i] = discoveryv1.Endpoint{Addresses: slice.Endpoints[i].Addresses, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: name}}
		api.Set(clusterPod(name))
	}
	api.Set(slice)
	path := configFile(t, clusterLoadConfig(t, api, load))
	startFile(t, path)
	weightsUntil(t, "the third pod is busy", func(a, b, c float64) bool { return c > 0 && c < a/2 && c < b/2 })
	servicesSay(t, path, "CPU 0.9, mean 0.367: feedback 0.")
	checkClusterMetrics(t)

	refuses.Store(true)
	servicesSay(t, path, "no load: kubelet 127.0.0.1: answered 403 Forbidden: grant get of nodes/metrics")
	weightsUntil(t, "nothing is told any more", func(a, b, c float64) bool { return a == 1000 && b == 1000 && c == 1000 })
}
