package health

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the Monitor's; the state gauges say what the checks found, not what is announced.
type metrics struct {
	checkState, serviceStates, serviceDegraded *prometheus.GaugeVec
	duration                                   *prometheus.HistogramVec
	attempts, transitions                      *prometheus.CounterVec
	events, lost, deaths                       prometheus.Counter
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "anyedge", Subsystem: "health", Name: name, Help: help}
	}
	const state = "1 up, 0 down, -1 unknown: not yet told."
	return &metrics{
		checkState: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("check_state",
			"What one check found: "+state)), []string{"service", "check"}),
		serviceStates: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("service_state",
			"What the checks of one service found together: "+state)), []string{"service"}),
		serviceDegraded: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("service_degraded",
			"1 while a remote check of one service is down, which never makes the service down; else 0.")), []string{"service"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "anyedge", Subsystem: "health", Name: "check_duration_seconds",
			Help:    "How long the attempts of one check took, failed ones and timeouts included.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 4, 9), // 50 us to 3.3 s
		}, []string{"service", "check"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts(opts("attempts_total",
			"Attempts of one check by result; unsure says nothing of the service, only that it could not be looked at.")),
			[]string{"service", "check", "result"}),
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts(opts("transitions_total",
			"State changes of one check by the state entered.")), []string{"service", "check", "state"}),
		events: prometheus.NewCounter(prometheus.CounterOpts(opts("socket_events_total",
			"Sockets on watched ports whose end the kernel told."))),
		lost: prometheus.NewCounter(prometheus.CounterOpts(opts("socket_event_losses_total",
			"Times that the kernel dropped socket events; each is followed by a look at the socket table."))),
		deaths: prometheus.NewCounter(prometheus.CounterOpts(opts("process_deaths_total",
			"Watched processes that the kernel told early to be dying; stays 0 where it does not tell."))),
	}
}

// checkMetrics are the series of one check that every attempt counts in: to look them up by their labels costs more.
type checkMetrics struct {
	duration                  prometheus.Observer
	success, failure, nothing prometheus.Counter
}

func (m *metrics) of(c *check) checkMetrics {
	return checkMetrics{
		duration: m.duration.WithLabelValues(c.service.name, c.Name),
		success:  m.attempts.WithLabelValues(c.service.name, c.Name, "success"),
		failure:  m.attempts.WithLabelValues(c.service.name, c.Name, "failure"),
		nothing:  m.attempts.WithLabelValues(c.service.name, c.Name, "unsure"),
	}
}

// init makes every series exist from the start, so that a rate sees the first change.
func (m *metrics) init(services []*service) {
	for _, s := range services {
		m.serviceState(s)
		m.degraded(s)
		for _, c := range s.checks {
			m.state(c)
			c.metrics = m.of(c)
			for _, state := range []State{Up, Down} {
				m.transitions.WithLabelValues(s.name, c.Name, state.String())
			}
		}
	}
}

// forget deletes the series of a service that is gone.
func (m *metrics) forget(s *service) {
	of := prometheus.Labels{"service": s.name}
	for _, series := range []*prometheus.GaugeVec{m.checkState, m.serviceStates, m.serviceDegraded} {
		series.DeletePartialMatch(of)
	}
	for _, series := range []*prometheus.CounterVec{m.attempts, m.transitions} {
		series.DeletePartialMatch(of)
	}
	m.duration.DeletePartialMatch(of)
}

func (m checkMetrics) attempt(err error, took time.Duration) {
	switch {
	case err == nil:
		m.success.Inc()
	case unsure(err):
		m.nothing.Inc()
	default:
		m.failure.Inc()
	}
	m.duration.Observe(took.Seconds())
}

func (m *metrics) event(e socketEvent) {
	switch {
	case e.lost:
		m.lost.Inc()
	case !e.entered:
		m.events.Inc()
	}
}

func (m *metrics) death(e death) {
	if !e.lost {
		m.deaths.Inc()
	}
}

func (m *metrics) transition(c *check) {
	m.transitions.WithLabelValues(c.service.name, c.Name, c.counter.state.String()).Inc()
	m.state(c)
}

func (m *metrics) state(c *check) {
	m.checkState.WithLabelValues(c.service.name, c.Name).Set(gauge(c.counter.state))
}

func (m *metrics) serviceState(s *service) {
	m.serviceStates.WithLabelValues(s.name).Set(gauge(s.verdict.state))
}

func (m *metrics) degraded(s *service) {
	value := 0.0
	if s.degraded {
		value = 1
	}
	m.serviceDegraded.WithLabelValues(s.name).Set(value)
}

func gauge(s State) float64 {
	switch s {
	case Up:
		return 1
	case Down:
		return 0
	default:
		return -1
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.checkState, m.serviceStates, m.serviceDegraded, m.duration, m.attempts, m.transitions, m.events, m.lost, m.deaths,
	}
}

// Describe implements prometheus.Collector.
func (m *Monitor) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.metrics.collectors() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector; safe for concurrent use.
func (m *Monitor) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.metrics.collectors() {
		c.Collect(ch)
	}
}
