package app

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Load is what /load tells. The names are those of ORCA (Open Request Cost Aggregation, xds.data.orca.v3
// OrcaLoadReport) where it has one; rates and latency are of the last 10 s.
type Load struct {
	Name                   string  `json:"name"`
	RequestsInFlight       int     `json:"requests_in_flight"`
	MaxRequests            int     `json:"max_requests"`
	ApplicationUtilization float64 `json:"application_utilization"` // requests in flight / max_requests
	CPUUtilization         float64 `json:"cpu_utilization"`         // CPU time burnt for requests / (time x CPUs of the app)
	RPS                    float64 `json:"rps_fractional"`          // requests answered or refused per second
	EPS                    float64 `json:"eps"`                     // of these, refused or given up by the client
	LatencyMeanMs          float64 `json:"latency_mean_ms"`         // of answered requests, the queue for a CPU included
	LatencyMaxMs           float64 `json:"latency_max_ms"`
}

// load counts requests. It is safe for concurrent use.
type load struct {
	maxRequests, cpus int
	inFlight          *prometheus.Desc
	utilization       *prometheus.Desc
	cpu               *prometheus.Desc
	duration          prometheus.Histogram
	requests          *prometheus.CounterVec // by outcome
	burnt             prometheus.Counter

	mu     sync.Mutex // guards following
	now    int        // requests in flight
	window window
}

// Outcomes of requests, as labels.
const (
	answered = "answered"
	refused  = "refused"
	givenUp  = "given_up"
)

func newLoad(maxRequests, cpus int) *load {
	l := &load{
		maxRequests: maxRequests, cpus: cpus,
		inFlight: prometheus.NewDesc("anyedge_app_requests_in_flight", "Requests being served now.", nil, nil),
		utilization: prometheus.NewDesc("anyedge_app_application_utilization_ratio",
			"Requests in flight by how many may be (ORCA application_utilization).", nil, nil),
		cpu: prometheus.NewDesc("anyedge_app_cpu_utilization_ratio",
			"CPU time that requests of the last 10 s burnt by time and CPUs of the app (ORCA cpu_utilization); not that of the process.", nil, nil),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "anyedge_app_request_duration_seconds", Help: "How long answered requests took, the queue for a CPU included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18),
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "anyedge_app_requests_total", Help: "Requests by outcome; refused: too many at a time; given_up: the client went away.",
		}, []string{"outcome"}),
		burnt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "anyedge_app_burnt_cpu_seconds_total", Help: "CPU time burnt because requests asked for it.",
		}),
	}
	for _, outcome := range []string{answered, refused, givenUp} {
		l.requests.WithLabelValues(outcome)
	}
	return l
}

// begin admits a request where there is room for one more, and returns how many there are then.
func (l *load) begin() (inFlight int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now >= l.maxRequests {
		return l.now, false
	}
	l.now++
	return l.now, true
}

// end counts a request that begin admitted.
func (l *load) end(start, end time.Time, cpu time.Duration, ok bool) {
	outcome := answered
	if ok {
		l.duration.Observe(end.Sub(start).Seconds())
		l.burnt.Add(cpu.Seconds())
	} else {
		outcome, cpu = givenUp, 0
	}
	l.requests.WithLabelValues(outcome).Inc()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now--
	l.window.add(end, served{latency: end.Sub(start), cpu: cpu, failed: !ok})
}

func (l *load) refuse(now time.Time) {
	l.requests.WithLabelValues(refused).Inc()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window.add(now, served{failed: true})
}

func (l *load) snapshot(now time.Time) Load {
	l.mu.Lock()
	defer l.mu.Unlock()
	sum, span := l.window.sum(now)
	r := Load{
		RequestsInFlight: l.now, MaxRequests: l.maxRequests,
		ApplicationUtilization: float64(l.now) / float64(l.maxRequests),
		CPUUtilization:         sum.cpu.Seconds() / span.Seconds() / float64(l.cpus),
		RPS:                    float64(sum.n) / span.Seconds(), EPS: float64(sum.failed) / span.Seconds(),
		LatencyMaxMs: ms(sum.slowest),
	}
	if ok := sum.n - sum.failed; ok > 0 {
		r.LatencyMeanMs = ms(sum.latency) / float64(ok)
	}
	return r
}

// Describe implements prometheus.Collector.
func (a *App) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(a, ch) }

// Collect implements prometheus.Collector.
func (a *App) Collect(ch chan<- prometheus.Metric) {
	now := a.load.snapshot(time.Now())
	for _, gauge := range []struct {
		desc  *prometheus.Desc
		value float64
	}{
		{a.load.inFlight, float64(now.RequestsInFlight)},
		{a.load.utilization, now.ApplicationUtilization},
		{a.load.cpu, now.CPUUtilization},
	} {
		ch <- prometheus.MustNewConstMetric(gauge.desc, prometheus.GaugeValue, gauge.value)
	}
	a.load.duration.Collect(ch)
	a.load.requests.Collect(ch)
	a.load.burnt.Collect(ch)
}
