package bgp

import (
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*Speaker)(nil)

// metrics are the counters of a Speaker. Every neighbor's series exist from the start.
type metrics struct {
	sessionUp   *prometheus.GaugeVec
	established *prometheus.CounterVec
	prefixes    prometheus.Gauge
	write       prometheus.Histogram
}

// sentDesc and receivedDesc describe what is read at every scrape.
func sentDesc() *prometheus.Desc {
	return prometheus.NewDesc("anyedge_bgp_updates_sent_total", "UPDATE messages written to a neighbor.", []string{"neighbor"}, nil)
}

func receivedDesc() *prometheus.Desc {
	return prometheus.NewDesc("anyedge_bgp_updates_received_total", "UPDATE messages received from a neighbor; none is accepted into the table.", []string{"neighbor"}, nil)
}

func newMetrics(neighbors []Neighbor) *metrics {
	label := []string{"neighbor"}
	m := &metrics{
		sessionUp: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "anyedge_bgp_session_up", Help: "1 while the session with a neighbor is established."}, label),
		established: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "anyedge_bgp_sessions_established_total", Help: "How often the session with a neighbor was established."}, label),
		prefixes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "anyedge_bgp_advertised_prefixes", Help: "Prefixes wanted at the neighbors; says nothing about what they know or prefer."}),
		write: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "anyedge_bgp_update_write_seconds", Help: "From a change of the wanted set to the last UPDATE of it written to a neighbor's socket.",
			Buckets: []float64{0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1, 5}}),
	}
	for _, n := range neighbors {
		m.sessionUp.WithLabelValues(n.Address.String())
		m.established.WithLabelValues(n.Address.String())
	}
	return m
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.sessionUp, m.established, m.prefixes, m.write}
}

func (m *metrics) up(n netip.Addr) {
	m.sessionUp.WithLabelValues(n.String()).Set(1)
	m.established.WithLabelValues(n.String()).Inc()
}

func (m *metrics) down(n netip.Addr) { m.sessionUp.WithLabelValues(n.String()).Set(0) }

func (m *metrics) wanted(n int) { m.prefixes.Set(float64(n)) }

// report observes how long a change took to leave.
func (m *metrics) report(o outcome) {
	if o.took > 0 {
		m.write.Observe(o.took.Seconds())
	}
}

// Describe implements prometheus.Collector.
func (s *Speaker) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range s.metrics.collectors() {
		c.Describe(ch)
	}
	ch <- sentDesc()
	ch <- receivedDesc()
}

// Collect implements prometheus.Collector.
func (s *Speaker) Collect(ch chan<- prometheus.Metric) {
	for _, c := range s.metrics.collectors() {
		c.Collect(ch)
	}
	for _, n := range s.Neighbors() {
		ch <- prometheus.MustNewConstMetric(sentDesc(), prometheus.CounterValue, float64(n.SentUpdates), n.Address.String())
		ch <- prometheus.MustNewConstMetric(receivedDesc(), prometheus.CounterValue, float64(n.ReceivedUpdates), n.Address.String())
	}
}
