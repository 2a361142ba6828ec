package announce

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/anyedge/anyedge/pkg/bgp"
)

// metrics are the Controller's.
type metrics struct {
	state             *prometheus.GaugeVec
	announced, worse  *prometheus.GaugeVec
	decisions, errors *prometheus.CounterVec
	seconds           prometheus.Histogram
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "anyedge", Subsystem: "announce", Name: name, Help: help}
	}
	return &metrics{
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("state",
			"1 for the state that a service is in, 0 for the others. What is up is announced, what is draining or degraded de-preferred.")), []string{"service", "state"}),
		announced: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("announced",
			"1 while the BGP speaker is asked to announce the prefix: wanted state, does not guarantee that the routers converged.")),
			[]string{"prefix"}),
		worse: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("depreferred",
			"1 while the BGP speaker is asked to announce the prefix de-preferred: does not say that traffic has moved.")),
			[]string{"prefix"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts(opts("decisions_total",
			"Changes of state of a service by what they did to its announcement.")), []string{"service", "action"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts(opts("set_errors_total",
			"Times that the whole wanted set could not be handed over, to the speaker or to the host's addresses; each is tried again.")),
			[]string{"target"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "anyedge", Subsystem: "announce", Name: "decision_seconds",
			Help: "From noticing the cause of an announcement or withdrawal (the failing attempt, the kernel's event, the end of settling) " +
				"until the speaker took it. Does not include the writing of UPDATEs.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 16), // 50 us to 1.6 s
		}),
	}
}

// init makes every series exist from the start.
func (m *metrics) init(services []Service, p plan) {
	for _, s := range services {
		m.enter(s.Name, Starting)
		for _, a := range actions {
			m.decisions.WithLabelValues(s.Name, a.String())
		}
	}
	for _, one := range p.prefixes {
		m.announced.WithLabelValues(one.prefix.String())
		m.worse.WithLabelValues(one.prefix.String())
	}
	for _, target := range []string{"speaker", "addresses"} {
		m.errors.WithLabelValues(target)
	}
}

func (m *metrics) enter(service string, in State) {
	for _, s := range states {
		m.state.WithLabelValues(service, s.String()).Set(boolean(s == in))
	}
}

// wanted shows the way from one set to the next: both may be large, what lies between them is small.
func (m *metrics) wanted(before, after []bgp.Advertisement) {
	for _, ad := range before {
		if !has(after, ad.Prefix) {
			m.announced.WithLabelValues(ad.Prefix.String()).Set(0)
			m.worse.WithLabelValues(ad.Prefix.String()).Set(0)
		}
	}
	for _, ad := range after {
		if was, ok := find(before, ad.Prefix); !ok || was != ad {
			m.announced.WithLabelValues(ad.Prefix.String()).Set(1)
			m.worse.WithLabelValues(ad.Prefix.String()).Set(boolean(placed(after, ad.Prefix) == Deprefer))
		}
	}
}

func (m *metrics) decided(o outcome) {
	m.decisions.WithLabelValues(o.service, o.action.String()).Inc()
	m.enter(o.service, o.state)
}

func (m *metrics) took(d time.Duration) { m.seconds.Observe(d.Seconds()) }

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.state, m.announced, m.worse, m.decisions, m.errors, m.seconds}
}

// Describe implements prometheus.Collector.
func (c *Controller) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range c.metrics.collectors() {
		one.Describe(ch)
	}
}

// Collect implements prometheus.Collector; safe for concurrent use.
func (c *Controller) Collect(ch chan<- prometheus.Metric) {
	for _, one := range c.metrics.collectors() {
		one.Collect(ch)
	}
}
