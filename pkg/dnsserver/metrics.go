package dnsserver

import (
	"net"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/anyedge/anyedge/pkg/steering"
)

// metrics counts queries with the labels that CoreDNS uses, and tells what the snapshot holds.
type metrics struct {
	requests  *prometheus.CounterVec
	responses *prometheus.CounterVec
	duration  *prometheus.HistogramVec

	services, endpoints, panics, age *prometheus.Desc
}

func newMetrics() *metrics {
	const p = "anyedge_dns_"
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: p + "requests_total", Help: "Queries that were answered.",
		}, []string{"proto", "family", "type"}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: p + "responses_total", Help: "Answers by response code.",
		}, []string{"rcode"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: p + "request_duration_seconds", Help: "From the query read to the answer written; not the time in socket buffers.",
			Buckets: prometheus.ExponentialBuckets(5e-6, 4, 8),
		}, []string{"proto"}),
		services:  prometheus.NewDesc(p+"services", "Names that are steered.", nil, nil),
		endpoints: prometheus.NewDesc(p+"endpoints", "Endpoints by what their checks say; one without a check is up.", []string{"state"}, nil),
		panics:    prometheus.NewDesc(p+"panics", "Services and families without any endpoint that is up: answered with all.", nil, nil),
		age:       prometheus.NewDesc(p+"snapshot_timestamp_seconds", "When what is answered was compiled.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	m := s.metrics
	m.requests.Describe(ch)
	m.responses.Describe(ch)
	m.duration.Describe(ch)
	for _, d := range []*prometheus.Desc{m.services, m.endpoints, m.panics, m.age} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	m, snapshot := s.metrics, s.snapshot.Load()
	m.requests.Collect(ch)
	m.responses.Collect(ch)
	m.duration.Collect(ch)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(m.services, float64(snapshot.services))
	gauge(m.panics, float64(snapshot.panics))
	gauge(m.age, float64(snapshot.built.UnixMilli())/1e3)
	for _, state := range []steering.State{steering.Unknown, steering.Up, steering.Down} {
		gauge(m.endpoints, float64(snapshot.endpoints[state]), state.String())
	}
}

func (m *metrics) answered(proto string, from net.Addr, req, msg *dns.Msg, took time.Duration) {
	m.requests.WithLabelValues(proto, family(from), questionType(req)).Inc()
	m.responses.WithLabelValues(rcode(msg.Rcode)).Inc()
	m.duration.WithLabelValues(proto).Observe(took.Seconds())
}

func family(from net.Addr) string {
	host, _, err := net.SplitHostPort(from.String())
	if err == nil && net.ParseIP(host).To4() != nil {
		return "1" // IANA's address family numbers, as CoreDNS has them
	}
	return "2"
}

// questionType bounds the label's values: a client can ask for 65,536 types.
func questionType(req *dns.Msg) string {
	if len(req.Question) == 0 {
		return "other"
	}
	switch t := req.Question[0].Qtype; t {
	case dns.TypeA, dns.TypeAAAA, dns.TypeSOA, dns.TypeNS, dns.TypeTXT, dns.TypeSRV, dns.TypeSVCB, dns.TypeHTTPS, dns.TypePTR,
		dns.TypeMX, dns.TypeCNAME, dns.TypeDS, dns.TypeDNSKEY, dns.TypeANY:
		return dns.TypeToString[t]
	default:
		return "other"
	}
}

func rcode(code int) string {
	if s, ok := dns.RcodeToString[code]; ok {
		return s
	}
	return "other"
}
