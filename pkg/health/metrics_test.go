package health

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetrics(t *testing.T) {
	k, s := &fakeKernel{up: true}, &script{}
	bubbleKernel(t, k, func(t *testing.T, m *Monitor) {
		compare(t, m, `
# HELP anyedge_health_check_state What one check found: 1 up, 0 down, -1 unknown: not yet told.
# TYPE anyedge_health_check_state gauge
anyedge_health_check_state{check="answers",service="dns"} -1
anyedge_health_check_state{check="socket",service="dns"} -1
`, "anyedge_health_check_state")
		sleep(500 * time.Millisecond)
		s.set(refused)
		k.destroy(true)
		compare(t, m, `
# HELP anyedge_health_check_state What one check found: 1 up, 0 down, -1 unknown: not yet told.
# TYPE anyedge_health_check_state gauge
anyedge_health_check_state{check="answers",service="dns"} 0
anyedge_health_check_state{check="socket",service="dns"} 0
# HELP anyedge_health_service_state What the checks of one service found together: 1 up, 0 down, -1 unknown: not yet told.
# TYPE anyedge_health_service_state gauge
anyedge_health_service_state{service="dns"} 0
# HELP anyedge_health_socket_events_total Sockets on watched ports whose end the kernel told.
# TYPE anyedge_health_socket_events_total counter
anyedge_health_socket_events_total 1
# HELP anyedge_health_transitions_total State changes of one check by the state entered.
# TYPE anyedge_health_transitions_total counter
anyedge_health_transitions_total{check="answers",service="dns",state="down"} 1
anyedge_health_transitions_total{check="answers",service="dns",state="up"} 1
anyedge_health_transitions_total{check="socket",service="dns",state="down"} 1
anyedge_health_transitions_total{check="socket",service="dns",state="up"} 1
`, "anyedge_health_service_state", "anyedge_health_check_state", "anyedge_health_transitions_total", "anyedge_health_socket_events_total")
		attempts := func(result string) float64 {
			return testutil.ToFloat64(m.metrics.attempts.WithLabelValues("dns", "answers", result))
		}
		if attempts("success") < 3 || attempts("failure") != 1 || attempts("unsure") != 0 {
			t.Errorf("attempts: %v successes, %v failures, %v unsure; want at least 3, 1, 0",
				attempts("success"), attempts("failure"), attempts("unsure"))
		}
	}, Service{Name: "dns", Checks: []Check{active("answers", s), listening()}})
}

func compare(t *testing.T, c prometheus.Collector, want string, names ...string) {
	t.Helper()
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestMetricNames(t *testing.T) {
	m := NewMonitor(nil, Service{Name: "dns", Checks: []Check{active("answers", &script{})}})
	problems, err := testutil.CollectAndLint(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if err := prometheus.NewPedanticRegistry().Register(m); err != nil {
		t.Error(err)
	}
}
