package config

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"github.com/anyedge/anyedge/pkg/discovery"
	"github.com/anyedge/anyedge/pkg/steering"
)

// What a load source has when the file does not say: weights follow a load that is a second old far better than one that
// is 15 s old, and little better one that is younger.
const (
	loadInterval = time.Second
	loadTimeout  = 500 * time.Millisecond
)

// The bounds of its times; below, pods serve those who ask for their load.
const (
	minLoadInterval = 100 * time.Millisecond
	maxLoadInterval = time.Minute
)

// maxStaticLoad leaves an endpoint something to do.
const maxStaticLoad = 0.9

// Load is where the load of a service's endpoints comes from.
type Load struct {
	Interval time.Duration      // between samples; zero: there are none
	Targets  []discovery.Target // of the endpoints, in their order; the zero Target: it is not asked; nil: none is
	Checks   []bool             // by endpoint: how long its check takes is its load; nil: of none
}

func loadTypes() []string { return []string{"prometheus", "json", "orca", "check"} }

// load reads where the load of a service comes from; pods are its endpoints as the file has them.
func load(service object, s DNSService, pods []object) Load {
	if !service.has("load") {
		return Load{}
	}
	it := service.get("load")
	o := it.object([]string{"type", "port", "path", "interval", "timeout", "names"}, []string{"host", "https"})
	if s.Policy == steering.RoundRobin {
		it.bad("does nothing with policy rr: write policy: capacity")
	}
	switch o.need("type", "one of "+strings.Join(loadTypes(), ", ")).choice("", loadTypes(), nil) {
	case "prometheus":
		return askedLoad(o, s, pods, discovery.Prometheus)
	case "json":
		return askedLoad(o, s, pods, discovery.JSON)
	case "orca":
		return askedLoad(o, s, pods, discovery.ORCA)
	case "check":
		return checkLoad(o, s, pods)
	default:
		return Load{}
	}
}

// checkLoad is how long the checks take. Each attempt is a sample.
func checkLoad(o object, s DNSService, pods []object) Load {
	for _, key := range []string{"port", "path", "interval", "timeout", "names"} {
		if o.has(key) {
			o.get(key).bad("does nothing with type check: remove it")
		}
	}
	l := Load{Checks: make([]bool, len(pods))}
	for i, pod := range pods {
		l.Checks[i] = !pod.has("load")
		if l.Checks[i] && !pod.has("check") {
			pod.bad("has no check that could tell its load: add check")
		}
	}
	for _, c := range s.Checks {
		if l.Interval == 0 || c.Check.Interval < l.Interval {
			l.Interval = c.Check.Interval
		}
	}
	return l
}

// askedLoad has every endpoint asked in a format, but for those whose load is given.
func askedLoad(o object, s DNSService, pods []object, f discovery.Format) Load {
	t := discovery.Target{Format: f, Path: f.Path()}
	if o.has("path") {
		t.Path = destination{object: o}.path()
	}
	t.Names = loadNames(o.get("names"), t.Format)
	t.Interval = o.get("interval").duration(loadInterval, minLoadInterval, maxLoadInterval)
	t.Timeout = o.get("timeout").duration(min(loadTimeout, t.Interval), minTimeout, maxLoadInterval)
	if t.Timeout > t.Interval {
		o.get("timeout").bad("%s is longer than the interval of %s", span(t.Timeout), span(t.Interval))
	}
	port := uint16(o.get("port").integer(0, 1, 65535))
	l := Load{Interval: t.Interval, Targets: make([]discovery.Target, len(pods))}
	for i, pod := range pods {
		if pod.has("load") {
			continue
		}
		if !o.has("port") && !pod.has("port") {
			pod.bad("has no port to ask for its load: add port, here or in load")
		}
		l.Targets[i] = t
		l.Targets[i].Address = netip.AddrPortFrom(s.Endpoints[i].Address, cmp.Or(port, s.Endpoints[i].Port))
	}
	return l
}

// loadNames reads what the pods call their signals.
func loadNames(it item, format discovery.Format) discovery.Names {
	o := it.object([]string{"in_flight", "latency", "cpu"}, nil)
	return discovery.Names{
		InFlight: o.get("in_flight").signal(format), Latency: o.get("latency").signal(format), CPU: o.get("cpu").signal(format),
	}
}

// signal reads the name of a metric, or of a field.
func (it item) signal(format discovery.Format) string {
	what, extra := "a metric's name, such as http_requests_in_flight, without labels", "_:"
	if format != discovery.Prometheus {
		what, extra = "a field's name, such as named_metrics.queue", "_:.-/"
	}
	text := it.str(what)
	if text != "" && (len(text) > 255 || !only(text, extra) || '0' <= text[0] && text[0] <= '9') {
		it.bad("must be %s, not %q", what, text)
		return ""
	}
	return text
}

// staticLoad reads how much of an endpoint others use, and leaves it the rest of its capacity.
func staticLoad(endpoint object, capacity float64) float64 {
	return capacity * (1 - endpoint.get("load").number(0, 0, maxStaticLoad))
}
