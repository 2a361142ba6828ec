package discovery

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/pkg/steering"
)

func pods(n int) steering.Service {
	s := steering.Service{Name: "api.edge.example.", Policy: steering.Capacity}
	for i := range n {
		s.Endpoints = append(s.Endpoints, steering.Endpoint{Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), State: steering.Up, Capacity: 10})
	}
	return s
}

func factors(s steering.Service) string {
	var all []string
	for _, e := range s.Endpoints {
		all = append(all, fmt.Sprintf("%.2f", e.Factor))
	}
	return strings.Join(all, " ")
}

// A busy pod gets less, step by step; when loads do not come any more it is due again by itself, until it has all back.
func TestWeights(t *testing.T) {
	t.Parallel()
	var w Weights
	s := pods(2)
	told := s.Endpoints
	for second := range 10 {
		now := at(float64(second))
		if !w.Weigh(now, &s, []steering.Load{{At: now, CPU: steering.Read(0.9)}, {At: now, CPU: steering.Read(0.1)}}) {
			t.Errorf("second %d: nothing changed", second)
		}
	}
	if got, want := factors(s), "0.11 3.73"; got != want {
		t.Logf("factors %s", got)
		if s.Endpoints[0].Factor > 0.5 || s.Endpoints[1].Factor < 2 {
			t.Errorf("factors %s, want about %s", got, want)
		}
	}
	if told[0].Factor != 0 {
		t.Error("endpoints that were told before are changed")
	}
	first := netip.AddrPortFrom(s.Endpoints[0].Address, 0)
	if got := w.Of(s.Name); len(got) != 2 || got[first].Signal != steering.CPU || got[first].Factor != s.Endpoints[0].Factor {
		t.Errorf("weights %+v", got)
	}
	now, steps := at(9), 0
	for due := w.Next(); !due.IsZero(); due = w.Next() {
		if !due.After(now) || !w.Due(due, s.Name) || w.Due(due.Add(-1), s.Name) {
			t.Fatalf("due at %s, after %s", due, now)
		}
		now = due
		w.Weigh(now, &s, make([]steering.Load, 2))
		if steps++; steps > 100 {
			t.Fatal("it never ends")
		}
	}
	if got, want := factors(s), "1.00 1.00"; got != want || steps < 3 {
		t.Errorf("after %d steps the factors are %s, want %s", steps, got, want)
	}
}

// Who is not known to need it costs nothing; who starts slowly is due until that is over; who is gone is forgotten.
func TestWeightsKeep(t *testing.T) {
	t.Parallel()
	var w Weights
	s := pods(2)
	s.SlowStart = 10 * time.Second
	if w.Weigh(at(0), &s, nil) || w.Of(s.Name) != nil || !w.Next().IsZero() || w.Due(at(1), s.Name) {
		t.Error("there is nothing to weigh")
	}
	s.Endpoints[0].Since = at(0)
	if !w.Weigh(at(1), &s, nil) || factors(s) != "0.10 1.00" || !w.Due(at(2), s.Name) {
		t.Errorf("factors %s", factors(s))
	}
	w.Keep(func(string) bool { return true })
	w.Weigh(at(5), &s, nil)
	w.Weigh(at(11), &s, nil)
	if factors(s) != "1.00 1.00" || !w.Next().IsZero() {
		t.Errorf("factors %s, due %s", factors(s), w.Next())
	}
	w.Keep(func(name string) bool { return name != s.Name })
	if w.Of(s.Name) != nil {
		t.Error("it is not forgotten")
	}
}

func TestWeightMetrics(t *testing.T) {
	t.Parallel()
	var w Weights
	s := pods(2)
	s.Endpoints = append(s.Endpoints, s.Endpoints[1]) // on another port
	s.Endpoints[2].Port = 1
	w.Weigh(at(1), &s, []steering.Load{{At: at(0.5), CPU: steering.Read(0.5)}, {}, {}})
	const want = `# HELP anyedge_dns_endpoint_load_age_seconds Since one endpoint's load was measured last; more than two periods: it counts less and less.
# TYPE anyedge_dns_endpoint_load_age_seconds gauge
anyedge_dns_endpoint_load_age_seconds{address="10.0.0.0",service="api.edge.example."} 0.5
# HELP anyedge_dns_endpoint_weight What one endpoint is to get of its service's answers, in the unit of its capacity: that by load and slow start. Only endpoints that are weighed by those.
# TYPE anyedge_dns_endpoint_weight gauge
anyedge_dns_endpoint_weight{address="10.0.0.0",service="api.edge.example."} 10
anyedge_dns_endpoint_weight{address="10.0.0.1",service="api.edge.example."} 10
# HELP anyedge_dns_unlisted_endpoints Endpoints that are weighed and have no series of their own, because there are too many.
# TYPE anyedge_dns_unlisted_endpoints gauge
anyedge_dns_unlisted_endpoints 0
`
	if err := testutil.CollectAndCompare(&w, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(&w); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// However many endpoints there are, the page of metrics is bounded.
func TestWeightMetricsAreBounded(t *testing.T) {
	t.Parallel()
	var w Weights
	s := pods(maxSeries + 7)
	w.Weigh(at(1), &s, make([]steering.Load, len(s.Endpoints)))
	if n := testutil.CollectAndCount(&w, "anyedge_dns_endpoint_weight"); n != maxSeries {
		t.Errorf("%d series, want %d", n, maxSeries)
	}
	const want = "# HELP anyedge_dns_unlisted_endpoints Endpoints that are weighed and have no series of their own, because there are too many.\n" +
		"# TYPE anyedge_dns_unlisted_endpoints gauge\nanyedge_dns_unlisted_endpoints 7\n"
	if err := testutil.CollectAndCompare(&w, strings.NewReader(want), "anyedge_dns_unlisted_endpoints"); err != nil {
		t.Error(err)
	}
}
