package health

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// states are those of all services, in order.
func states(m *Monitor) (all []string) {
	for _, s := range m.Status() {
		all = append(all, s.Service+" "+s.State.String())
	}
	return all
}

func TestServicesComeAndGo(t *testing.T) {
	stays, one, two := &script{}, &script{}, &script{answer: refused}
	bubble(t, func(t *testing.T, m *Monitor) {
		set := func(services ...Service) {
			t.Helper()
			if err := m.Set(services...); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, states(m)); diff != "" {
				t.Fatalf("(-want +got)\n%s", diff)
			}
		}
		a, b := Service{Name: "a", Checks: []Check{active("x", one)}}, Service{Name: "b", Checks: []Check{active("x", two)}}
		set(a, b)
		expect("dns unknown", "a unknown", "b unknown")
		sleep(time.Second)
		expect("dns up", "a up", "b down")
		select {
		case <-m.Changed():
		default:
			t.Error("not told")
		}
		set(b, a) // the same ones
		expect("dns up", "b down", "a up")
		a.Checks[0].Interval = 2 * time.Second
		set(a, b) // a another one
		expect("dns up", "a unknown", "b down")
		sleep(time.Second)
		expect("dns up", "a up", "b down")
		set()
		expect("dns up")
		one.times()
		sleep(10 * time.Second)
		if asked := one.times(); asked != nil {
			t.Errorf("a service that is gone was asked at %v", asked)
		}
		if len(stays.times()) < 10 {
			t.Error("the one that stays is not checked any more")
		}
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(m)
		if n, err := testutil.GatherAndCount(registry, "anyedge_health_check_state", "anyedge_health_service_state"); n != 2 || err != nil {
			t.Errorf("%d series are left, %v", n, err)
		}
		set(a)
		sleep(time.Second)
		expect("dns up", "a up")
	}, Service{Name: "dns", Checks: []Check{active("answers", stays)}})
}

// A service that came is followed when its check hangs while it goes.
func TestServiceGoesWhileItIsChecked(t *testing.T) {
	s := &script{answer: hangs}
	bubble(t, func(t *testing.T, m *Monitor) {
		if err := m.Set(Service{Name: "a", Checks: []Check{active("x", s)}}); err != nil {
			t.Fatal(err)
		}
		sleep(100 * time.Millisecond)
		if err := m.Set(); err != nil {
			t.Fatal(err)
		}
		sleep(time.Second)
		if n := testutil.CollectAndCount(m, "anyedge_health_transitions_total", "anyedge_health_check_state"); n != 0 {
			t.Errorf("%d series are left", n)
		}
	})
}

func TestSetRefuses(t *testing.T) {
	t.Parallel()
	ok := active("x", &script{})
	m := NewMonitor(nil, Service{Name: "dns"})
	for want, all := range map[string][]Service{
		"service dns: the name is taken":    {{Name: "dns", Checks: []Check{ok}}},
		"service a: the name is taken":      {{Name: "a", Checks: []Check{ok}}, {Name: "a", Checks: []Check{ok}}},
		"check a/l: of a service that":      {{Name: "a", Checks: []Check{{Name: "l", Listener: &Listener{Network: "tcp", Port: 1}}}}},
		"service a: more checks required":   {{Name: "a", Checks: []Check{ok}, Require: 2}},
		"check b/x: of a service that come": {{Name: "a", Checks: []Check{ok}}, {Name: "b", Checks: []Check{{Name: "x"}}}},
	} {
		if err := m.Set(all...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if diff := cmp.Diff([]string{"dns unknown"}, states(m)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Set may be called before Run.
func TestSetBeforeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMonitor(nil)
		for _, name := range []string{"a", "b"} { // b alone is there when Run begins
			if err := m.Set(Service{Name: name, Checks: []Check{active("x", &script{})}}); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- m.Run(ctx) }()
		sleep(time.Second)
		if diff := cmp.Diff([]string{"b up"}, states(m)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
