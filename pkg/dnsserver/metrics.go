package dnsserver

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/anyedge/anyedge/pkg/steering"
)

// metrics are made whole at the start.
type metrics struct {
	tallied
	connections prometheus.Gauge
	refused     prometheus.Counter
	evicted     prometheus.Counter
	collectors  []prometheus.Collector
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		tallied: newTallied(s.sockets, &s.numbers),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "anyedge_dns_tcp_connections", Help: "Open TCP connections.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "anyedge_dns_tcp_refused_connections_total", Help: "Connections closed at once because their client had as many as one may.",
		}),
		evicted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "anyedge_dns_tcp_evicted_connections_total", Help: "Connections closed because all were taken and somebody came.",
		}),
	}
	m.collectors = []prometheus.Collector{&m.tallied, m.connections, m.refused, m.evicted}
	m.makeContent(s)
	return m
}

// makeContent makes the gauges that are read from the current snapshot.
func (m *metrics) makeContent(s *Server) {
	gauge := func(name, help string, labels prometheus.Labels, value func(*snapshot) float64) {
		m.collectors = append(m.collectors, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 {
				if now := s.current.Load(); now != nil {
					return value(now)
				}
				return 0
			}))
	}
	gauge("anyedge_dns_services", "Names that are steered.", nil, func(s *snapshot) float64 { return float64(len(s.services)) })
	gauge("anyedge_dns_synced", "1 once the sources have told all they know; 0 means SERVFAIL.", nil, func(s *snapshot) float64 {
		if s.synced {
			return 1
		}
		return 0
	})
	gauge("anyedge_dns_snapshot_age_seconds", "Since the content last changed; large while all is well.", nil, func(s *snapshot) float64 {
		return time.Since(time.Unix(0, s.made.Load())).Seconds()
	})
	for _, state := range []steering.State{steering.Unknown, steering.Up, steering.Down} {
		gauge("anyedge_dns_endpoints", "Endpoints, by state.", prometheus.Labels{"state": state.String()}, func(s *snapshot) float64 {
			return float64(s.states[state].Load())
		})
	}
	gauge("anyedge_dns_stale_services", "Services whose source cannot be read now, answered with what is known of them.", nil, func(s *snapshot) float64 { return float64(s.stale()) })
	for f, label := range map[steering.Family]string{steering.IPv4: "1", steering.IPv6: "2"} {
		gauge("anyedge_dns_panicking_services", "Services with no endpoint up, answered with all of them, by address family.",
			prometheus.Labels{"family": label}, func(s *snapshot) float64 { return float64(s.panicking(f)) })
	}
}

func (s *snapshot) stale() (n int) {
	for _, c := range s.services {
		if c.stale.Load() != nil {
			n++
		}
	}
	return n
}

func (s *snapshot) panicking(f steering.Family) (n int) {
	for _, c := range s.services {
		if c.load().pickers[f].Panic() != "" {
			n++
		}
	}
	return n
}

// Describe implements prometheus.Collector.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range s.metrics.collectors {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	for _, c := range s.metrics.collectors {
		c.Collect(ch)
	}
}
