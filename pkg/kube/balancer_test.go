package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

const testLease = "edgeagent-addresses"

// balancerOf is the agent of a node until the test ends, or stop is called.
func balancerOf(t *testing.T, a *kubetest.API, node string, change func(*Balancer)) (b *Balancer, stop func()) {
	t.Helper()
	b, err := newBalancer(BalancerConfig{
		Node: node, Pools: testPools, Lease: LeaseName{"kube-system", testLease}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)).With("node", node),
	}, &rest.Config{Host: a.URL()})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(b)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return b, stop
}

// clusterOfTwo has a Service without an address, with an endpoint on each of two nodes.
func clusterOfTwo(t *testing.T) *kubetest.API {
	a := kubetest.NewAPI(t)
	a.TakePatches()
	a.Set(aNode("n1", ""))
	a.Set(aNode("n2", ""))
	a.Set(with(aBalanced(""), func(s *corev1.Service) { s.Spec.IPFamilies = s.Spec.IPFamilies[:1] }))
	a.Set(aSpread("a", "n1@fd00::1", "n2@fd00::2"))
	return a
}

func (b *Balancer) lines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return vipsOf(b.balance)
}

// comes waits until a node is to do what is wanted.
func (b *Balancer) comes(t *testing.T, want ...string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		diff := cmp.Diff(want, b.lines())
		if b.Synced() && diff == "" {
			return
		}
		select {
		case <-b.Changed():
		case <-deadline:
			t.Fatalf("synced %v (-want +got)\n%s", b.Synced(), diff)
		}
	}
}

const (
	given1 = "shop/api/ipv6 2001:db8:53::c86c: announce: 1 ready endpoint on this node; tcp [[fd00::1]:80]"
	given2 = "shop/api/ipv6 2001:db8:53::c86c: announce: 1 ready endpoint on this node; tcp [[fd00::2]:80]"
)

// One of two gives the address, both announce it; the other one goes on when the first is gone, and when nobody leads.
func TestBalancers(t *testing.T) {
	t.Parallel()
	a := clusterOfTwo(t)
	one, stop := balancerOf(t, a, "n1", nil)
	one.comes(t, given1)
	two, _ := balancerOf(t, a, "n2", nil)
	two.comes(t, given2)
	waitUntil(t, func() bool { return two.State().Leader == "n1" })
	if one.election.leads() == two.election.leads() {
		t.Error("both lead, or none")
	}
	got := a.Service("shop", "api").Status
	want := corev1.ServiceStatus{
		LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "2001:db8:53::c86c", IPMode: new(corev1.LoadBalancerIPModeVIP)}}},
		Conditions:   []metav1.Condition{{Type: conditionAddress, Status: "True", Reason: "Assigned", Message: "2001:db8:53::c86c from pool edge"}},
	}
	got.Conditions[0].LastTransitionTime = metav1.Time{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	stop()
	if holder := deref(a.Lease("kube-system", testLease).Spec.HolderIdentity); holder == "n1" {
		t.Error("the lease is not given back")
	}
	a.Set(aSpread("a", "n2@fd00::3"))
	two.comes(t, strings.ReplaceAll(given2, "fd00::2", "fd00::3"))
	wantMetrics := `# HELP anyedge_kube_vips Addresses of Services of the cluster; wanted: this node is to announce them, which does not say that it does.
# TYPE anyedge_kube_vips gauge
anyedge_kube_vips{wanted="false"} 0
anyedge_kube_vips{wanted="true"} 1
`
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(two)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(wantMetrics), "anyedge_kube_vips"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// Without the right to hold the Lease nobody gives addresses, and what is written is announced all the same.
func TestNobodyLeads(t *testing.T) {
	t.Parallel()
	a := clusterOfTwo(t)
	a.Set(with(aBalanced("2001:db8:53::7"), func(s *corev1.Service) { s.Spec.IPFamilies = s.Spec.IPFamilies[:1] }))
	a.Set(named(aBalanced(""), "other"))
	a.Refuse(func(r *http.Request) int {
		if strings.Contains(r.URL.Path, "/leases") {
			return http.StatusForbidden
		}
		return 0
	})
	b, _ := balancerOf(t, a, "n1", nil)
	b.comes(t,
		"shop/api/ipv6 2001:db8:53::7: announce: 1 ready endpoint on this node; tcp [[fd00::1]:80]",
		"shop/other: 2001:db8:53::c675 from pool edge: not written in its status yet",
		"shop/other: 192.0.2.165 from pool edge: not written in its status yet",
	)
	if got := a.Writes(); got != nil {
		t.Errorf("wrote %q", got)
	}
	if b.State().Leader != "" {
		t.Errorf("led by %s", b.State().Leader)
	}
}

// Nothing is known before everything was read, and what is known stays when the API is away, whatever it says then.
func TestBalancerAway(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusForbidden, http.StatusInternalServerError, http.StatusTooManyRequests} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			a := clusterOfTwo(t)
			a.Set(with(aBalanced("2001:db8:53::c86c"), func(s *corev1.Service) { s.Spec.IPFamilies = s.Spec.IPFamilies[:1] }))
			refuse := func(what string) {
				a.Refuse(func(r *http.Request) int {
					if strings.Contains(r.URL.Path, what) {
						return status
					}
					return 0
				})
			}
			refuse("/nodes")
			b, _ := balancerOf(t, a, "n1", nil)
			waitUntil(t, func() bool { return testutil.CollectAndCount(b.metrics.errors) > 0 })
			if diff := cmp.Diff(BalancerState{}, b.State(), cmp.Comparer(func(a, b time.Time) bool { return true }), cmp.FilterPath(leader, cmp.Ignore())); diff != "" {
				t.Errorf("before all was read (-want +got)\n%s", diff)
			}
			a.Refuse(nil)
			b.comes(t, given1)
			refuse("/")
			a.BreakWatches()
			before := testutil.ToFloat64(b.metrics.errors.WithLabelValues("services", string(reasonFor(status))))
			a.SetSilently(aSpread("a", "n2@fd00::2"))
			waitUntil(t, func() bool {
				return testutil.ToFloat64(b.metrics.errors.WithLabelValues("services", string(reasonFor(status)))) > before
			})
			if diff := cmp.Diff([]string{given1}, b.lines()); diff != "" {
				t.Errorf("while it is away (-want +got)\n%s", diff)
			}
		})
	}
}

func leader(p cmp.Path) bool { return p.String() == "Leader" }

func reasonFor(status int) metav1.StatusReason {
	return map[int]metav1.StatusReason{403: "Forbidden", 500: "InternalError", 429: "TooManyRequests"}[status]
}

// A list without anything that was known is not believed for long: a store that was made anew looks like that, and is not empty:
// the API server has a Service of its own, and what comes with the cluster is there soon.
func TestBalancerDoubts(t *testing.T) {
	t.Parallel()
	a := clusterOfTwo(t)
	fresh := func() {
		a.SetSilently(with(named(aService(), "kubernetes"), func(s *corev1.Service) { s.Namespace = "default" }))
		a.SetSilently(with(aSpread("kubernetes", "n1@fd00::99"), func(s *discoveryv1.EndpointSlice) { s.Namespace = "default" }))
	}
	fresh()
	b, _ := balancerOf(t, a, "n1", func(b *Balancer) {
		b.resync = 50 * time.Millisecond
		for _, r := range b.readers {
			if r.doubt != doubtBalancer {
				t.Errorf("%s: doubts for %v", r.resource.name, r.doubt)
			}
		}
	})
	b.comes(t, given1)
	lists := func(of string) float64 { return testutil.ToFloat64(b.metrics.lists.WithLabelValues(of)) }
	a.Lose()
	fresh()
	a.SetSilently(with(named(aService(), "kube-dns"), func(s *corev1.Service) { s.Namespace = "kube-system" }))
	services, slices := lists("services"), lists("endpointslices")
	waitUntil(t, func() bool { return lists("services") > services+2 && lists("endpointslices") > slices+2 })
	if diff := cmp.Diff([]string{given1}, b.lines()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What cannot be given is told in a condition and in an event, once.
func TestExhausted(t *testing.T) {
	t.Parallel()
	a := clusterOfTwo(t)
	a.Set(with(aBalanced(""), func(s *corev1.Service) {
		s.Spec.IPFamilies = s.Spec.IPFamilies[:1]
		s.Annotations["anyedge/pool"] = "tiny"
	}))
	balancerOf(t, a, "n1", func(b *Balancer) {
		b.balance.rules.pools = []Pool{{Name: "tiny", Prefixes: prefixesOf("192.0.2.1/32")}}
	})
	var wrote []string
	waitUntil(t, func() bool { wrote = append(wrote, a.Writes()...); return len(wrote) >= 2 })
	if len(wrote) != 2 || !strings.Contains(wrote[0], `"reason":"NoPool"`) || !strings.HasPrefix(wrote[1], "POST /apis/events.k8s.io/v1/namespaces/shop/events ") ||
		!strings.Contains(wrote[1], "no pool that it may have has IPv6 addresses") {
		t.Errorf("wrote %q", wrote)
	}
}

// A leader that is none any more stops writing, though it has not written all.
func TestLeadsNoMore(t *testing.T) {
	t.Parallel()
	a := kubetest.NewAPI(t)
	b, err := newBalancer(BalancerConfig{Node: "n1", Pools: testPools, Lease: LeaseName{"kube-system", testLease}}, &rest.Config{Host: a.URL()})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects(t, aBalanced(""), named(aBalanced(""), "second"), named(aBalanced(""), "third")) {
		b.balance.put(o)
	}
	a.Refuse(func(*http.Request) int {
		b.election.note("n2", time.Time{})
		return 0
	})
	b.election.note("n1", time.Now().Add(time.Hour))
	b.writer.sure = true
	b.writer.write(t.Context())
	b.client.close()
	if wrote := a.Writes(); len(wrote) != 1 {
		t.Errorf("wrote %q", wrote)
	}
}

func TestSight(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1e9, 0)
	lease := func(version, holder string, seconds int32) *coordinationv1.Lease {
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}}
		l.Spec.LeaseDurationSeconds = &seconds
		if holder != "" {
			l.Spec.HolderIdentity = &holder
		}
		return l
	}
	var s sight
	for i, step := range []struct {
		at    time.Duration
		lease *coordinationv1.Lease
		free  bool
	}{
		{0, lease("1", "other", 15), false}, {14 * time.Second, lease("1", "other", 15), false}, {15 * time.Second, lease("1", "other", 15), true},
		{16 * time.Second, lease("2", "other", 15), false}, {30 * time.Second, lease("2", "other", 15), false}, {31 * time.Second, lease("2", "other", 15), true},
		{32 * time.Second, lease("3", "", 15), true}, {33 * time.Second, lease("4", "me", 15), true}, {34 * time.Second, lease("5", "third", 60), false},
		{93 * time.Second, lease("5", "third", 60), false}, {94 * time.Second, lease("5", "third", 60), true},
	} {
		if got := s.free(step.lease, "me", begin.Add(step.at)); got != step.free {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

// Who leads stops before another may.
func TestLeadsNotForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &election{log: slog.New(slog.DiscardHandler), me: "n1", duration: leaseDuration, won: make(chan struct{}, 1)}
		e.note("n1", time.Now().Add(leaseDuration*2/3))
		if !e.leads() || len(e.won) != 1 {
			t.Error("does not lead")
		}
		<-e.won
		e.note("n1", time.Now().Add(leaseDuration*2/3))
		if len(e.won) != 0 {
			t.Error("to renew counts as to win")
		}
		time.Sleep(leaseDuration*2/3 + 1)
		if e.leads() {
			t.Error("still leads")
		}
		e.note("n1", time.Now().Add(leaseDuration*2/3))
		if !e.leads() || len(e.won) != 1 {
			t.Error("leads again without having won: another may have led meanwhile")
		}
	})
}
