package main

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

// Checks measure how far the endpoints are that want it; a reload forgets none that stay, and keeps none that go.
func TestMeasuredDistances(t *testing.T) {
	const ms = time.Millisecond
	service := config.DNSService{Service: steering.Service{Name: "api.edge.example."}}
	for i, a := range []string{"2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1"} {
		service.Endpoints = append(service.Endpoints, steering.Endpoint{Address: netip.MustParseAddr(a)})
		service.Checks = append(service.Checks, config.EndpointCheck{Index: i, Measures: i > 0})
	}
	attempt := func(second int64, took time.Duration) health.Status {
		return health.Status{State: health.Up, Checks: []health.CheckStatus{{Passed: time.Unix(second, 0), Took: took}}}
	}
	distances := func(s *source) (all []time.Duration) {
		for _, e := range s.services[0].Endpoints {
			all = append(all, e.Distance)
		}
		return all
	}
	s := &source{cfg: config.DNS{Services: []config.DNSService{service}}, loads: newLoads(slog.New(slog.DiscardHandler), nil), drains: new(drains), ways: make(ways)}
	for _, step := range []struct {
		status []health.Status
		want   []time.Duration
	}{
		{[]health.Status{attempt(1, 9*ms), attempt(1, 9*ms), {Checks: make([]health.CheckStatus, 1)}}, []time.Duration{0, 9 * ms, steering.Farthest}},
		{[]health.Status{attempt(1, 9*ms), attempt(2, 4*ms), attempt(2, 7*ms)}, []time.Duration{0, 4 * ms, 7 * ms}},
	} {
		s.content(step.status)
		if diff := cmp.Diff(step.want, distances(s)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	service.Checks = service.Checks[:2]
	s = s.reloaded(config.DNS{Services: []config.DNSService{service}})
	s.content([]health.Status{attempt(3, 9*ms), attempt(3, 9*ms)})
	if diff := cmp.Diff([]time.Duration{0, 4 * ms, 0}, distances(s)); diff != "" {
		t.Errorf("after a reload (-want +got):\n%s", diff)
	}
	if len(s.ways) != 1 {
		t.Errorf("of %d ways something is kept", len(s.ways))
	}
}

// An endpoint holds as its check does, and not at all while that is changing: news twice, however many attempts that takes.
func TestHoldsWhileChanging(t *testing.T) {
	service := config.DNSService{
		Service: steering.Service{Name: "api.edge.example.", Endpoints: []steering.Endpoint{
			{Address: netip.MustParseAddr("2001:db8:1::10"), State: steering.Up},
			{Address: netip.MustParseAddr("2001:db8:1::11"), State: steering.Unknown, Holds: 4 * time.Second},
		}},
		Checks: []config.EndpointCheck{{Index: 1}},
	}
	s := &source{cfg: config.DNS{Services: []config.DNSService{service}}, drains: new(drains)}
	status := func(state health.State, changing bool) []health.Status {
		return []health.Status{{State: state, Checks: []health.CheckStatus{{State: state, Changing: changing}}}}
	}
	s.content(status(health.Up, false))
	type seen struct {
		news  int
		holds time.Duration
	}
	var got []seen
	for _, st := range [][]health.Status{
		status(health.Up, false), status(health.Up, true), status(health.Up, true), status(health.Up, false), status(health.Up, true), status(health.Down, false),
	} {
		news := len(s.changes(st))
		got = append(got, seen{news, s.services[0].Endpoints[1].Holds})
	}
	want := []seen{{0, 4 * time.Second}, {1, steering.Soon}, {0, steering.Soon}, {1, 4 * time.Second}, {1, steering.Soon}, {1, 4 * time.Second}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
