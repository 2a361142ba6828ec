package kube

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/rest"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(kubetest.M{M: m}) }

// follow follows a until the test ends. change may change its readers before they start.
func follow(t *testing.T, a *kubetest.API, cfg Config, change func(*Source)) *Source {
	t.Helper()
	cfg.Domain, cfg.Log = "edge.example.", slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := newSource(cfg, &rest.Config{Host: a.URL()})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	start(t, s)
	return s
}

// start runs s until the test ends.
func start(t testing.TB, s *Source) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// patience is more than the longest wait between two tries of client-go, on a busy machine.
const patience = 3 * time.Minute

// eventually waits until the source serves what is wanted.
func eventually(t testing.TB, s *Source, want ...string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		s.Update()
		diff := cmp.Diff(want, answers(s.Services()))
		if s.Synced() && diff == "" {
			return
		}
		select {
		case <-s.Changed():
		case <-deadline:
			t.Fatalf("synced %v (-want +got):\n%s", s.Synced(), diff)
		}
	}
}

// still wants that nothing came, up to now.
func still(t testing.TB, s *Source, want ...string) {
	t.Helper()
	s.Update()
	if diff := cmp.Diff(want, answers(s.Services())); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
}

const (
	one = "a.edge.example. rr _http._tcp: 10.0.0.1:80"
	two = "a.edge.example. rr _http._tcp: 10.0.0.1:80 10.0.0.2:80"
)

// seeded serves one.
func seeded(t *testing.T) *kubetest.API {
	a := kubetest.NewAPI(t)
	a.Set(aService("hostname=a.edge.example"))
	a.Set(aSlice("api-1", "10.0.0.1"))
	return a
}

func (s *Source) errorsOf(resource, reason string) float64 {
	return testutil.ToFloat64(s.metrics.errors.WithLabelValues(resource, reason))
}

func TestFollow(t *testing.T) {
	t.Parallel()
	a := seeded(t)
	s := follow(t, a, Config{}, nil)
	eventually(t, s, one)
	a.Set(aSlice("api-1", "10.0.0.1", "10.0.0.2"))
	eventually(t, s, two)
	a.Set(with(anIngress("b.edge.example /"), func(i *networkingv1.Ingress) { i.Annotations["anyedge/policy"] = "hash" }))
	eventually(t, s, two, "b.edge.example. hash _http._tcp: 10.0.0.1:80 10.0.0.2:80")
	a.Remove(anIngress())
	eventually(t, s, two)
	a.Remove(aSlice("api-1"))
	eventually(t, s, "a.edge.example. rr _http._tcp:")
	a.Remove(aService())
	eventually(t, s)
}

// Nothing is told before everything was read: a name that is not known yet would not exist.
func TestNotSynced(t *testing.T) {
	t.Parallel()
	a := seeded(t)
	a.Refuse(func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/endpointslices") {
			return http.StatusForbidden
		}
		return 0
	})
	s := follow(t, a, Config{}, nil)
	waitUntil(t, func() bool { return s.errorsOf("endpointslices", "Forbidden") > 0 })
	if u := s.Update(); s.Synced() || !u.Empty() {
		t.Errorf("synced %v, told of %v", s.Synced(), u)
	}
	a.Refuse(nil)
	eventually(t, s, one)
}

func waitUntil(t testing.TB, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}

// While the API cannot be read, for whatever reason, what is known stays; afterwards what changed meanwhile is found.
func TestAway(t *testing.T) {
	t.Parallel()
	for status, reason := range map[int]string{
		http.StatusForbidden: "Forbidden", http.StatusInternalServerError: "InternalError",
		http.StatusTooManyRequests: "TooManyRequests", http.StatusBadGateway: "Unreachable",
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			a := seeded(t)
			s := follow(t, a, Config{}, nil)
			eventually(t, s, one)
			a.Refuse(func(*http.Request) int { return status })
			a.BreakWatches()
			a.SetSilently(aSlice("api-1", "10.0.0.1", "10.0.0.2"))
			waitUntil(t, func() bool { return testutil.CollectAndCount(s.metrics.errors) > 0 })
			still(t, s, one)
			told(t, s, map[string]string{"": staleAway})
			a.Refuse(func(r *http.Request) int {
				if r.URL.Query().Get("watch") == "true" && r.URL.Query().Get("sendInitialEvents") == "" {
					return http.StatusGone // the fake does not tell of the past
				}
				return 0
			})
			eventually(t, s, two)
			told(t, s, map[string]string{})
		})
	}
}

// told waits until the source tells why what it knows may be old.
func told(t *testing.T, s *Source, want map[string]string) {
	t.Helper()
	waitUntil(t, func() bool { return maps.Equal(s.Stale(), want) })
}

// Rights that are withdrawn in a namespace leave what is known of others as it is.
func TestStaleByNamespace(t *testing.T) {
	t.Parallel()
	a := seeded(t)
	s := follow(t, a, Config{Namespaces: []string{"shop", "bank"}, NoStatus: true}, nil)
	eventually(t, s, one)
	told(t, s, map[string]string{})
	a.Refuse(func(r *http.Request) int {
		if strings.Contains(r.URL.Path, "/namespaces/bank/") {
			return http.StatusForbidden
		}
		return 0
	})
	a.BreakWatches()
	told(t, s, map[string]string{"bank": staleAway})
	a.Refuse(nil)
	told(t, s, map[string]string{})
}

// A watch that is told that its past is gone lists anew.
func TestGone(t *testing.T) {
	t.Parallel()
	a := seeded(t)
	s := follow(t, a, Config{}, nil)
	eventually(t, s, one)
	a.Refuse(func(r *http.Request) int {
		if r.URL.Query().Get("watch") == "true" && r.URL.Query().Get("sendInitialEvents") == "" {
			return http.StatusGone
		}
		return 0
	})
	a.SetSilently(aSlice("api-1", "10.0.0.1", "10.0.0.2"))
	a.BreakWatches()
	eventually(t, s, two)
}

// A server that takes a watch up and then finds its past gone says so inside of it: that counts, and everything is listed anew.
func TestGoneInside(t *testing.T) {
	t.Parallel()
	a := seeded(t)
	s := follow(t, a, Config{}, nil)
	eventually(t, s, one)
	a.SetSilently(aSlice("api-1", "10.0.0.1", "10.0.0.2"))
	a.Expire()
	eventually(t, s, two)
	if n := s.errorsOf("endpointslices", "Expired"); n != 1 {
		t.Errorf("%v expired watches were counted, want 1", n)
	}
}

// An event that a watch lost without a word is found by the next list. What came meanwhile is not lost by it.
func TestResync(t *testing.T) {
	t.Parallel()
	a := seeded(t)
	s := follow(t, a, Config{Resync: 200 * time.Millisecond}, nil)
	eventually(t, s, one)
	a.SetSilently(aSlice("api-1", "10.0.0.1", "10.0.0.2"))
	eventually(t, s, two)
	for range 20 {
		a.Set(aSlice("api-1", "10.0.0.1"))
		eventually(t, s, one)
		a.Set(aSlice("api-1", "10.0.0.1", "10.0.0.2"))
		eventually(t, s, two)
	}
}

// A list that lost everything at once is not believed before it was told for some time.
func TestDoubt(t *testing.T) {
	t.Parallel()
	a := seeded(t)
	s := follow(t, a, Config{Resync: 100 * time.Millisecond}, func(s *Source) {
		for _, r := range s.readers {
			r.doubt = time.Second
		}
	})
	eventually(t, s, one)
	began := time.Now()
	a.Lose()
	told(t, s, map[string]string{"": staleDoubt})
	eventually(t, s)
	if took := time.Since(began); took < time.Second {
		t.Errorf("believed after %v", took)
	}
}

// A list is doubted when nothing is left of what is known in its namespace, whatever else is there.
func TestLostAll(t *testing.T) {
	t.Parallel()
	list := func(names ...string) map[key]object {
		all := make(map[key]object)
		for _, n := range names {
			namespace, name, _ := strings.Cut(n, "/")
			k := key{namespace, name}
			all[k] = &node{meta: meta{key: k}}
		}
		return all
	}
	own := ownService.String()
	for _, tt := range []struct {
		name, namespace string
		known, list     []string
		want            bool
	}{
		{name: "at first"},
		{name: "at first, some", list: []string{"a/x"}},
		{name: "as before", known: []string{"a/x", "b/y"}, list: []string{"a/x", "b/y"}},
		{name: "one is left", known: []string{"a/x", "b/y"}, list: []string{"b/y"}},
		{name: "nothing is there", known: []string{"a/x", "b/y"}, want: true},
		{name: "others are there", known: []string{"a/x"}, list: []string{"a/y", "b/x"}, want: true},
		{name: "the server's own was all", known: []string{own}},
		{name: "the server's own is there again", known: []string{own, "a/x"}, list: []string{own}, want: true},
		{name: "known in another namespace", namespace: "a", known: []string{"b/y"}},
		{name: "nothing is there in the namespace", namespace: "a", known: []string{"a/x", "b/y"}, want: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			known := make(table[*node])
			for k, o := range list(tt.known...) {
				known.put(k, o.(*node))
			}
			if got := (&reader{namespace: tt.namespace}).lostAll(list(tt.list...), holding[*node]{known}); got != tt.want {
				t.Errorf("%v", got)
			}
		})
	}
}

// Only what is asked for is read.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	a := seeded(t)
	a.Refuse(func(r *http.Request) int {
		if !strings.Contains(r.URL.Path, "/namespaces/shop/") || strings.HasSuffix(r.URL.Path, "/pods") {
			t.Errorf("asked for %s", r.URL)
		}
		return 0
	})
	s := follow(t, a, Config{Namespaces: []string{"shop"}, NoPods: true, NoStatus: true}, nil)
	eventually(t, s, one)
}

// Owners are told, once.
func TestWrite(t *testing.T) {
	t.Parallel()
	a := seeded(t)
	a.Set(with(anIngress("b.edge.example / /x=other"), func(i *networkingv1.Ingress) { i.Name = "paths" }))
	s := follow(t, a, Config{}, nil)
	eventually(t, s, one)
	var got []string
	waitUntil(t, func() bool { got = append(got, a.Writes()...); return len(got) >= 3 })
	for i, part := range []string{
		"PATCH /api/v1/namespaces/shop/services/api/status ",
		"PATCH /apis/networking.k8s.io/v1/namespaces/shop/ingresses/paths/status ",
		"POST /apis/events.k8s.io/v1/namespaces/shop/events ",
	} {
		if all := slices.Sorted(slices.Values(got)); len(got) != 3 || !strings.HasPrefix(all[i], part) {
			t.Errorf("written %q, want %s", got, part)
		}
	}
	if all := strings.Join(got, "\n"); !strings.Contains(all, `"serving a.edge.example."`) || !strings.Contains(all, `"anyedge/PathRouting"`) {
		t.Errorf("written %s", all)
	}
}

// What nobody can make sense of does no harm.
func TestReduceOther(t *testing.T) {
	t.Parallel()
	if o, err := reduce(&discoveryv1.EndpointSliceList{}); err == nil {
		t.Errorf("%v", o)
	}
}
