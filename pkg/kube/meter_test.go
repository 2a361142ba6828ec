package kube

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/rest"

	"github.com/anyedge/anyedge/pkg/steering"
)

// A fakeKubelet tells of pods web-0 and web-1 that they use a quarter of a processor and one and a half, in steps of a second
// that pass with each request.
type fakeKubelet struct {
	*httptest.Server
	asked  atomic.Int64
	refuse atomic.Int64 // a status; 0: it answers
	token  atomic.Pointer[string]
}

func newFakeKubelet(t *testing.T) *fakeKubelet {
	t.Helper()
	k := new(fakeKubelet)
	k.Server = quietServer(t, k)
	return k
}

// quietServer speaks TLS until the test ends; of clients that do not like its certificate it says nothing.
func quietServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (k *fakeKubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.token.Store(new(r.Header.Get("Authorization")))
	n := k.asked.Add(1)
	switch status := int(k.refuse.Load()); {
	case r.URL.Path != "/metrics/resource":
		http.NotFound(w, r)
	case status == http.StatusFound:
		http.Redirect(w, r, "/stats", status)
	case status != 0:
		w.WriteHeader(status)
	default:
		for pod, used := range map[string]float64{"web-0": 0.25, "web-1": 1.5} {
			_, _ = fmt.Fprintf(w, "pod_cpu_usage_seconds_total{namespace=\"shop\",pod=%q} %g %d\n", pod, used*float64(n), 1e12+1000*n)
		}
	}
}

func (k *fakeKubelet) at(t *testing.T) netip.AddrPort {
	t.Helper()
	u, err := url.Parse(k.URL)
	if err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort(u.Host)
}

// caFile holds who signed for the kubelet.
func (k *fakeKubelet) caFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.crt")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// pods are those that it tells of, with a limit of two processors, and one that it does not know.
func (k *fakeKubelet) pods(t *testing.T) []Pod {
	host := k.at(t).Addr()
	return []Pod{{"shop", "web-0", host, 2, 0}, {"shop", "web-1", host, 2, 0}, {"shop", "nobody", host, 2, 0}, {Namespace: "shop", Name: "new", Limit: 2}}
}

// meter runs a Meter until the test ends.
func meter(t *testing.T, cfg MeterConfig, restConfig *rest.Config, pods ...Pod) *Meter {
	t.Helper()
	cfg.Interval, cfg.Timeout, cfg.Log = 20*time.Millisecond, 10*time.Second, slog.New(slog.NewTextHandler(t.Output(), nil))
	m, err := newMeter(cfg, restConfig)
	if err != nil {
		t.Fatal(err)
	}
	m.Set(pods...)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return m
}

// Kubelets tell counters of their pods over TLS, to who has the API's credentials.
func TestKubelet(t *testing.T) {
	t.Parallel()
	k := newFakeKubelet(t)
	pods := k.pods(t)
	m := meter(t, MeterConfig{Kubelets: &Kubelets{Port: k.at(t).Port(), CAFile: k.caFile(t)}}, &rest.Config{Host: "https://[::1]:1", BearerToken: "secret"}, pods...)
	waitUntil(t, func() bool { return loadOf(m, pods[1]).CPU.Known })
	for i, want := range []steering.Reading{steering.Read(0.125), steering.Read(0.75), {}, {}} {
		if l := loadOf(m, pods[i]); l.CPU != want || l.CPU.Known && (l.Every != time.Second || time.Since(l.At) > time.Minute) {
			t.Errorf("%s has load %+v, want %+v", pods[i].Name, l, want)
		}
	}
	if got := *k.token.Load(); got != "Bearer secret" {
		t.Errorf("asked with %q", got)
	}
	host := k.at(t).Addr().String()
	later := time.Now().Add(time.Minute)
	checkTrouble(t, m, later, pods, []string{
		"kubelet " + host + ": does not tell of it", "kubelet " + host + ": does not tell of it", "kubelet " + host + ": does not tell of it",
		"kubelet: the pod's node is not known yet",
	})
	checkMeterMetrics(t, m)

	k.refuse.Store(http.StatusForbidden)
	waitUntil(t, func() bool { return strings.Contains(m.Trouble(pods[0], later), "403") })
	checkTrouble(t, m, later, pods[:1], []string{"kubelet " + host + ": answered 403 Forbidden: grant get of nodes/metrics"})
	if l := loadOf(m, pods[0]); !l.CPU.Known {
		t.Error("what was known is gone")
	}

	m.Set(pods[3])
	asked := k.asked.Load()
	waitUntil(t, func() bool {
		before := asked
		asked = k.asked.Load()
		time.Sleep(5 * m.cfg.Interval) // nobody asks any more
		return before == k.asked.Load()
	})
	if l := loadOf(m, pods[0]); l != (steering.Load{}) {
		t.Errorf("a pod that nobody wants to know of has load %+v", l)
	}
}

func loadOf(m *Meter, p Pod) steering.Load { return m.Loads(nil, p)[0] }

func checkTrouble(t *testing.T, m *Meter, now time.Time, pods []Pod, want []string) {
	t.Helper()
	var got []string
	for _, p := range pods {
		got = append(got, m.Trouble(p, now))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("trouble (-want +got):\n%s", diff)
	}
}

func checkMeterMetrics(t *testing.T, m *Meter) {
	t.Helper()
	const want = `# HELP anyedge_kube_load_kubelets Kubelets that are asked for it.
# TYPE anyedge_kube_load_kubelets gauge
anyedge_kube_load_kubelets 1
# HELP anyedge_kube_load_pods Pods whose use of processors is wanted, known or not.
# TYPE anyedge_kube_load_pods gauge
anyedge_kube_load_pods 4
`
	if err := testutil.CollectAndCompare(m, strings.NewReader(want), "anyedge_kube_load_kubelets", "anyedge_kube_load_pods"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(m); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// A kubelet that cannot prove who it is, refuses, sends elsewhere or tells nonsense is told of, each with what helps.
func TestKubeletTrouble(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		trust  bool
		want   string
	}{
		{"not trusted", 0, false, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"no credentials", http.StatusUnauthorized, true, "answered 401 Unauthorized: it does not take the credentials: see to its webhook authentication"},
		{"elsewhere", http.StatusFound, true, "answered 302 Found"},
		{"sick", http.StatusInternalServerError, true, "answered 500 Internal Server Error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := newFakeKubelet(t)
			k.refuse.Store(int64(tt.status))
			pods := k.pods(t)[:1]
			m := meter(t, MeterConfig{Kubelets: &Kubelets{Port: k.at(t).Port(), Insecure: tt.trust}}, &rest.Config{
				Host: "https://[::1]:1", BearerToken: "secret", TLSClientConfig: rest.TLSClientConfig{Insecure: true},
			}, pods...)
			waitUntil(t, func() bool { return !strings.Contains(m.Trouble(pods[0], time.Now()), "does not tell of it") })
			checkTrouble(t, m, time.Now(), pods, []string{"kubelet " + k.at(t).Addr().String() + ": " + tt.want})
			if asked := k.asked.Load() > 0; asked != tt.trust {
				t.Errorf("the credentials were given away: %v", asked)
			}
		})
	}
}

// Where no kubelet is asked the metrics API tells.
func TestMetricsAPI(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods" {
			t.Errorf("asked for %s", r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		if n := status.Load(); n != 0 {
			w.WriteHeader(int(n))
			return
		}
		_, _ = io.WriteString(w, podMetrics)
	}))
	t.Cleanup(api.Close)
	pods := []Pod{{Namespace: "shop", Name: "web-0", Limit: 1}, {Namespace: "shop", Name: "nobody", Limit: 1}}
	m, err := newMeter(MeterConfig{Metrics: true, Namespaces: []string{"shop"}}, &rest.Config{Host: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	m.Set(pods...)
	m.readAPI(t.Context())
	if l := loadOf(m, pods[0]); l.CPU != steering.Read(0.2515) || l.Every != 15500*time.Millisecond {
		t.Errorf("load %+v", l)
	}
	checkTrouble(t, m, time.Now(), pods, []string{"", "metrics API: tells nothing new of it"})
	for n, want := range map[int]string{
		http.StatusForbidden: "answered 403 Forbidden: grant list of pods of metrics.k8s.io",
		http.StatusNotFound:  "answered 404 Not Found: nobody serves metrics.k8s.io: install metrics-server",
	} {
		status.Store(int64(n))
		m.readAPI(t.Context())
		checkTrouble(t, m, time.Now(), pods[1:], []string{"metrics API: " + want})
	}
}
