package announce

import (
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/anyedge/anyedge/pkg/bgp"
)

// metrics are the Controller's. What is told of every VIP is made from the status when somebody asks: 10,000 VIPs in every
// state would be too many series to keep.
type metrics struct {
	state              *prometheus.GaugeVec
	announced, worse   *prometheus.GaugeVec
	decisions, errors  *prometheus.CounterVec
	guarded            *prometheus.CounterVec
	seconds            prometheus.Histogram
	vip, bridged, held *prometheus.Desc
	suppressed         *prometheus.Desc
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "anyedge", Subsystem: "announce", Name: name, Help: help}
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("anyedge", "announce", name), help, labels, nil)
	}
	return &metrics{
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("state",
			"1 for the state that a service is in, the worst of its VIPs' states, 0 for the others.")), []string{"service", "state"}),
		announced: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("announced",
			"1 while the BGP speaker is asked to announce the prefix: wanted state, does not guarantee that the routers converged.")),
			[]string{"prefix"}),
		worse: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("depreferred",
			"1 while the BGP speaker is asked to announce the prefix de-preferred: does not say that traffic has moved.")),
			[]string{"prefix"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts(opts("decisions_total",
			"Changes of state of a service's VIPs by what they did to the announcement; VIPs that move alike count once.")), []string{"service", "action"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts(opts("set_errors_total",
			"Times that the whole wanted set could not be handed over, to the speaker, the bridge or the host's addresses; each is tried again.")),
			[]string{"target"}),
		guarded: prometheus.NewCounterVec(prometheus.CounterOpts(opts("guard_holds_total",
			"Times that a guard kept sick VIPs of a service announced, de-preferred.")), []string{"guard"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "anyedge", Subsystem: "announce", Name: "decision_seconds",
			Help: "From noticing the cause of an announcement or withdrawal (the failing attempt, the kernel's event, the end of settling) " +
				"until the speaker took it. Does not include the writing of UPDATEs.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16), // 50 us to 1.6 s
		}),
		vip:     desc("vip_state", "1 for the state that a VIP is in; the others are left out.", "service", "vip", "state"),
		bridged: desc("bridged", "1 while the packets of a VIP are to be carried to other hosts.", "service", "vip"),
		held:    desc("guarded", "1 while a guard keeps a sick VIP announced; the others are left out.", "service", "vip", "guard"),
		suppressed: desc("suppressed_until_timestamp_seconds",
			"Until when a VIP that works is not announced in full, having failed so often; those that are announced are left out.", "service", "vip"),
	}
}

// init makes the series exist that there are always.
func (m *metrics) init() {
	for _, target := range []string{"speaker", "bridge", "addresses"} {
		m.errors.WithLabelValues(target)
	}
	for _, h := range holds {
		m.guarded.WithLabelValues(h.String())
	}
}

// add makes the series of services that were not there before exist.
func (m *metrics) add(before, services []Service, p plan) {
	there := namesOf(before)
	for _, s := range services {
		if there[s.Name] {
			continue
		}
		m.enter(s.Name, Starting)
		for _, a := range actions {
			m.decisions.WithLabelValues(s.Name, a.String())
		}
	}
	for _, one := range p.prefixes {
		m.announced.WithLabelValues(one.prefix.String())
		m.worse.WithLabelValues(one.prefix.String())
	}
}

// forget deletes the series of services, and of prefixes, that are not there any more.
func (m *metrics) forget(before []Service, was plan, services []Service, is plan) {
	for _, one := range was.prefixes {
		_, kept := slices.BinarySearchFunc(is.prefixes, one.prefix, func(a planned, p netip.Prefix) int { return a.prefix.Compare(p) })
		if !kept {
			m.announced.DeleteLabelValues(one.prefix.String())
			m.worse.DeleteLabelValues(one.prefix.String())
		}
	}
	there := namesOf(services)
	for _, s := range before {
		if !there[s.Name] {
			m.state.DeletePartialMatch(prometheus.Labels{"service": s.Name})
			m.decisions.DeletePartialMatch(prometheus.Labels{"service": s.Name})
		}
	}
}

func namesOf(services []Service) map[string]bool {
	names := make(map[string]bool, len(services))
	for _, s := range services {
		names[s.Name] = true
	}
	return names
}

func (m *metrics) enter(service string, in State) {
	for _, s := range states {
		m.state.WithLabelValues(service, s.String()).Set(boolean(s == in))
	}
}

// wanted shows the way from one sorted set to the next: both may be large, what lies between them is small.
func (m *metrics) wanted(before, after []bgp.Advertisement) {
	for len(before) > 0 || len(after) > 0 {
		switch order := first(before, after); {
		case order < 0:
			m.announce(before[0].Prefix, Withdraw)
			before = before[1:]
		case order > 0:
			m.announce(after[0].Prefix, placed(after[:1], after[0].Prefix))
			after = after[1:]
		default:
			if before[0] != after[0] {
				m.announce(after[0].Prefix, placed(after[:1], after[0].Prefix))
			}
			before, after = before[1:], after[1:]
		}
	}
}

// first compares the first prefixes of two sorted sets; none comes last.
func first(a, b []bgp.Advertisement) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return 1
	case a[0].Prefix == b[0].Prefix:
		return 0
	default:
		return a[0].Prefix.Compare(b[0].Prefix)
	}
}

// announce shows where an action leads.
func (m *metrics) announce(p netip.Prefix, to Action) {
	m.announced.WithLabelValues(p.String()).Set(boolean(to != Withdraw))
	m.worse.WithLabelValues(p.String()).Set(boolean(to == Deprefer))
}

func (m *metrics) decided(o outcome) {
	m.decisions.WithLabelValues(o.service, o.action.String()).Inc()
	if o.hold != NoHold {
		m.guarded.WithLabelValues(o.hold.String()).Inc()
	}
}

func (m *metrics) took(d time.Duration) { m.seconds.Observe(d.Seconds()) }

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.state, m.announced, m.worse, m.decisions, m.errors, m.guarded, m.seconds}
}

// Describe implements prometheus.Collector.
func (c *Controller) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range c.metrics.collectors() {
		one.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{c.metrics.vip, c.metrics.bridged, c.metrics.held, c.metrics.suppressed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector; safe for concurrent use.
func (c *Controller) Collect(ch chan<- prometheus.Metric) {
	for _, one := range c.metrics.collectors() {
		one.Collect(ch)
	}
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, s := range c.Status() {
		for _, v := range s.VIPs {
			vip := v.VIP.Addr().String()
			gauge(c.metrics.vip, 1, s.Service, vip, v.State.String())
			gauge(c.metrics.bridged, boolean(len(v.Targets) > 0), s.Service, vip)
			if v.Hold != NoHold {
				gauge(c.metrics.held, 1, s.Service, vip, v.Hold.String())
			}
			if !v.Suppressed.IsZero() {
				gauge(c.metrics.suppressed, float64(v.Suppressed.UnixMilli())/1000, s.Service, vip)
			}
		}
	}
}
