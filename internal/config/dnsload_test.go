package config

import (
	"net/netip"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/discovery"
	"github.com/anyedge/anyedge/pkg/steering"
)

const dnsLoadFile = `site: mec-1
listen: ["[::1]:53"]
zones: [{name: edge.example., ns: [{name: ns.elsewhere.example.}]}]
services:
  - name: api.edge.example.
    policy: capacity
    load: {type: prometheus}
    endpoints:
      - {address: "2001:db8:1::10", port: 8080, check: {type: tcp, interval: 2s}}
      - {address: 10.1.10.11, port: 8081, capacity: 4, load: 0.25}
`

func TestLoad(t *testing.T) {
	t.Parallel()
	target := discovery.Target{
		Address: netip.MustParseAddrPort("[2001:db8:1::10]:8080"), Path: "/metrics", Format: discovery.Prometheus,
		Interval: time.Second, Timeout: 500 * time.Millisecond,
	}
	asked := func(change func(*discovery.Target)) Load {
		one := target
		change(&one)
		return Load{Interval: one.Interval, Targets: []discovery.Target{one, {}}}
	}
	for text, want := range map[string]Load{
		"type: prometheus": asked(func(*discovery.Target) {}),
		"type: json":       asked(func(t *discovery.Target) { t.Format, t.Path = discovery.JSON, "/load" }),
		"type: orca":       asked(func(t *discovery.Target) { t.Format, t.Path = discovery.ORCA, "/" }),
		"type: prometheus, port: 9100, path: '/m?x=1', interval: 200ms": asked(func(t *discovery.Target) {
			t.Address, t.Path = netip.MustParseAddrPort("[2001:db8:1::10]:9100"), "/m?x=1"
			t.Interval, t.Timeout = 200*time.Millisecond, 200*time.Millisecond
		}),
		"type: prometheus, timeout: 100ms, names: {in_flight: 'a:b', latency: took_ms, cpu: x_total}": asked(func(t *discovery.Target) {
			t.Timeout, t.Names = 100*time.Millisecond, discovery.Names{InFlight: "a:b", Latency: "took_ms", CPU: "x_total"}
		}),
		"type: json, names: {cpu: named_metrics.a-b/c}": asked(func(t *discovery.Target) {
			t.Format, t.Path, t.Names.CPU = discovery.JSON, "/load", "named_metrics.a-b/c"
		}),
		"type: check": {Interval: 2 * time.Second, Checks: []bool{true, false}},
	} {
		s := mustParse(t, ParseDNS, dnsLoadFile, "type: prometheus", text).Services[0]
		if d := diff(want, s.Load); d != "" {
			t.Errorf("%s (-want +got)\n%s", text, d)
		}
	}
}

// What others use of a pod is not its own; and a pod starts slowly unless the file says otherwise.
func TestStaticLoadAndSlowStart(t *testing.T) {
	t.Parallel()
	s := mustParse(t, ParseDNS, dnsLoadFile, "type: prometheus", "type: prometheus").Services[0]
	if s.Endpoints[0].Capacity != 1 || s.Endpoints[1].Capacity != 3 {
		t.Errorf("capacities %v and %v, want 1 and 3", s.Endpoints[0].Capacity, s.Endpoints[1].Capacity)
	}
	if s.SlowStart != steering.DefaultSlowStart {
		t.Errorf("slow start %s", s.SlowStart)
	}
	for text, want := range map[string]time.Duration{"policy: capacity\n    slow_start: 0s": 0, "policy: capacity\n    slow_start: 5m": 5 * time.Minute} {
		if got := mustParse(t, ParseDNS, dnsLoadFile, "policy: capacity", text).Services[0].SlowStart; got != want {
			t.Errorf("%q: slow start %s, want %s", text, got, want)
		}
	}
}

func TestLoadBad(t *testing.T) {
	t.Parallel()
	with := func(text string) string { return "{type: " + text + "}" }
	testBad(t, ParseDNS, dnsLoadFile, []badCase{
		{"load of nothing", "{type: prometheus}", "1",
			"7:11: services[0].load: must be keys and values"},
		{"load without type", "{type: prometheus}", "{port: 80}",
			"7:11: services[0].load.type: missing: write one of prometheus, json, orca, check"},
		{"load of another type", "{type: prometheus}", with("graphite"),
			`7:18: services[0].load.type: must be one of prometheus, json, orca, check, not "graphite"`},
		{"load with a wrong key", "{type: prometheus}", with("prometheus, url: x"),
			"7:30: services[0].load.url: unknown key: here may stand type, port, path, interval, timeout, names"},
		{"load over https", "{type: prometheus}", with("prometheus, https: true"),
			"7:30: services[0].load.https: not supported yet"},
		{"load and rr", "policy: capacity", "policy: rr",
			"7:11: services[0].load: does nothing with policy rr: write policy: capacity"},
		{"load port", "{type: prometheus}", with("prometheus, port: 0"),
			`7:36: services[0].load.port: must be a whole number from 1 to 65535, not "0"`},
		{"load path", "{type: prometheus}", with("prometheus, path: metrics"),
			`7:36: services[0].load.path: must be a path, such as /healthz or /ready?full=1, not "metrics"`},
		{"load path that splits the request", "{type: prometheus}", with(`prometheus, path: "/ HTTP/1.1"`),
			`7:36: services[0].load.path: must be a path, such as /healthz or /ready?full=1, not "/ HTTP/1.1"`},
		{"load path of two lines", "{type: prometheus}", with(`prometheus, path: "/\r\nX: 1"`),
			"7:36: services[0].load.path: must be a path, such as /healthz without control characters"},
		{"load too often", "{type: prometheus}", with("prometheus, interval: 10ms"),
			`7:40: services[0].load.interval: must be a duration from 100ms to 1m, not "10ms"`},
		{"load timeout longer than the interval", "{type: prometheus}", with("prometheus, timeout: 2s"),
			"7:39: services[0].load.timeout: 2s is longer than the interval of 1s"},
		{"load names", "{type: prometheus}", with("prometheus, names: {rps: x}"),
			"7:38: services[0].load.names.rps: unknown key: here may stand in_flight, latency, cpu"},
		{"load name with labels", "{type: prometheus}", with(`prometheus, names: {in_flight: 'a{b="c"}'}`),
			`7:49: services[0].load.names.in_flight: must be a metric's name, such as http_requests_in_flight, without labels, not "a{b=\"c\"}"`},
		{"load name with a dot", "{type: prometheus}", with(`prometheus, names: {cpu: a.b}`),
			`7:43: services[0].load.names.cpu: must be a metric's name, such as http_requests_in_flight, without labels, not "a.b"`},
		{"load field with a comma", "{type: prometheus}", with(`orca, names: {cpu: "a,b"}`),
			`7:37: services[0].load.names.cpu: must be a field's name, such as named_metrics.queue, not "a,b"`},
		{"load of an endpoint without a port", "port: 8080, check: {type: tcp, interval: 2s}", "capacity: 1",
			"9:9: services[0].endpoints[0]: has no port to ask for its load: add port, here or in load"},
		{"load of a check with a path", "{type: prometheus}", with("check, path: /x"),
			"7:31: services[0].load.path: does nothing with type check: remove it"},
		{"load of a check that is not there", "{type: prometheus}\n    endpoints:", with("check") + "\n    endpoints:\n      - {address: 10.0.0.1}",
			"9:9: services[0].endpoints[0]: has no check that could tell its load: add check"},
		{"load of an endpoint too much", "load: 0.25", "load: 1",
			`10:62: services[0].endpoints[1].load: must be a number from 0 to 0.9, not "1"`},
		{"slow start for ever", "load: {type", "slow_start: 2h\n    load: {type",
			`7:17: services[0].slow_start: must be a duration from 0s to 1h, not "2h"`},
	})
}
