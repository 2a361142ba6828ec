package dnsserver

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/anyedge/anyedge/pkg/steering"
)

// knownTypes are the query types with a label of their own; clients must not be able to make series.
var knownTypes = []uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeSOA, dns.TypeTXT, dns.TypeSRV, dns.TypeSVCB, dns.TypeHTTPS, dns.TypePTR,
	dns.TypeMX, dns.TypeCNAME, dns.TypeCAA, dns.TypeDS, dns.TypeDNSKEY, dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR,
}

const other = "other"

// requestKey picks a counter. The family labels are CoreDNS's: 1 is IPv4, 2 is IPv6.
type requestKey struct {
	proto proto
	v4    bool
	qtype uint16 // 0: other
}

// metrics are made whole at the start, so that counting needs neither a lock nor a label.
type metrics struct {
	requests    map[requestKey]prometheus.Counter
	responses   map[int]prometheus.Counter // by rcode; -1: other
	drops       [broken + 1]prometheus.Counter
	duration    prometheus.Histogram
	writeErrors prometheus.Counter
	connections prometheus.Gauge
	refused     prometheus.Counter
	collectors  []prometheus.Collector
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "anyedge_dns_request_duration_seconds", Help: "From a query read to its answer made; not the time in sockets.",
			Buckets: []float64{5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 0.1},
		}),
		writeErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "anyedge_dns_write_errors_total", Help: "Answers that the kernel or the client did not take.",
		}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "anyedge_dns_tcp_connections", Help: "Open TCP connections.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "anyedge_dns_tcp_refused_connections_total", Help: "Connections closed at once because their client had as many as one may.",
		}),
	}
	m.collectors = []prometheus.Collector{m.duration, m.writeErrors, m.connections, m.refused}
	m.makeRequests()
	m.makeResponses()
	m.makeDrops()
	m.makeContent(s)
	return m
}

func (m *metrics) makeRequests() {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "anyedge_dns_requests_total", Help: "Queries that were answered, by transport, address family (1: IPv4, 2: IPv6) and type.",
	}, []string{"proto", "family", "type"})
	m.requests = make(map[requestKey]prometheus.Counter)
	for p, protoLabel := range map[proto]string{udp: "udp", tcp: "tcp"} {
		for v4, familyLabel := range map[bool]string{true: "1", false: "2"} {
			m.requests[requestKey{p, v4, 0}] = vec.WithLabelValues(protoLabel, familyLabel, other)
			for _, t := range knownTypes {
				m.requests[requestKey{p, v4, t}] = vec.WithLabelValues(protoLabel, familyLabel, dns.TypeToString[t])
			}
		}
	}
	m.collectors = append(m.collectors, vec)
}

func (m *metrics) makeResponses() {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "anyedge_dns_responses_total", Help: "Answers, by response code.",
	}, []string{"rcode"})
	m.responses = map[int]prometheus.Counter{-1: vec.WithLabelValues(other), dns.RcodeBadVers: vec.WithLabelValues("BADVERS")}
	for rcode := dns.RcodeSuccess; rcode <= dns.RcodeRefused; rcode++ {
		m.responses[rcode] = vec.WithLabelValues(dns.RcodeToString[rcode])
	}
	m.collectors = append(m.collectors, vec)
}

func (m *metrics) makeDrops() {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "anyedge_dns_dropped_requests_total", Help: "Messages that got no answer, by reason.",
	}, []string{"reason"})
	for reason, label := range map[dropReason]string{notAQuery: "response", tooShort: "short", noPort: "port_0", broken: "panic"} {
		m.drops[reason] = vec.WithLabelValues(label)
	}
	m.collectors = append(m.collectors, vec)
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
		return time.Since(s.made).Seconds()
	})
	for _, state := range []steering.State{steering.Unknown, steering.Up, steering.Down} {
		gauge("anyedge_dns_endpoints", "Endpoints, by state.", prometheus.Labels{"state": state.String()}, func(s *snapshot) float64 {
			return float64(s.states[state])
		})
	}
	for f, label := range map[steering.Family]string{steering.IPv4: "1", steering.IPv6: "2"} {
		gauge("anyedge_dns_panicking_services", "Services with no endpoint up, answered with all of them, by address family.",
			prometheus.Labels{"family": label}, func(s *snapshot) float64 { return float64(s.panicking(f)) })
	}
}

func (s *snapshot) panicking(f steering.Family) (n int) {
	for _, sv := range s.services {
		if sv.pickers[f].Panic() != "" {
			n++
		}
	}
	return n
}

// count counts one message that was read.
func (m *metrics) count(x exchange, p proto, client netip.Addr, took time.Duration) {
	if x.dropped != answered {
		m.drop(x.dropped)
		return
	}
	key := requestKey{p, client.Unmap().Is4(), x.qtype}
	c := m.requests[key]
	if c == nil {
		key.qtype = 0
		c = m.requests[key]
	}
	c.Inc()
	r := m.responses[x.rcode]
	if r == nil {
		r = m.responses[-1]
	}
	r.Inc()
	m.duration.Observe(took.Seconds())
}

func (m *metrics) drop(reason dropReason) { m.drops[reason].Inc() }

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
