package discovery

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the Scraper's. None has a label of a target: there may be very many.
type metrics struct {
	targets          prometheus.Gauge
	success, failure prometheus.Counter
	scrapes          *prometheus.CounterVec
	duration         prometheus.Histogram
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "anyedge", Subsystem: "discovery", Name: name, Help: help}
	}
	m := &metrics{
		targets: prometheus.NewGauge(prometheus.GaugeOpts(opts("load_targets", "Pods that are asked for their load."))),
		scrapes: prometheus.NewCounterVec(prometheus.CounterOpts(opts("load_scrapes_total",
			"Requests for the load of pods by result; failure: no answer in time, or none that tells a load.")), []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "anyedge", Subsystem: "discovery", Name: "load_scrape_duration_seconds",
			Help:    "How long requests for the load of pods took, failed ones included.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 4, 8), // 100 us to 1.6 s
		}),
	}
	m.success, m.failure = m.scrapes.WithLabelValues("success"), m.scrapes.WithLabelValues("failure")
	return m
}

func (m *metrics) request(err error, took time.Duration) {
	if err != nil {
		m.failure.Inc()
	} else {
		m.success.Inc()
	}
	m.duration.Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (s *Scraper) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, ch) }

// Collect implements prometheus.Collector.
func (s *Scraper) Collect(ch chan<- prometheus.Metric) {
	s.metrics.targets.Collect(ch)
	s.metrics.scrapes.Collect(ch)
	s.metrics.duration.Collect(ch)
}
