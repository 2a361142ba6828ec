package peers

import "github.com/prometheus/client_golang/prometheus"

var _ prometheus.Collector = (*Peers)(nil)

// metrics are the counters of Peers. Every series exists from the start.
type metrics struct {
	asked, lost, answered []prometheus.Counter // by peer, out of the vectors
	vectors               []*prometheus.CounterVec
	refused               *prometheus.CounterVec

	reachable, rtt, targets *prometheus.Desc
}

func newMetrics(peers []Peer) *metrics {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	asked := counter("anyedge_peers_requests_total", "Requests sent to a peer, also those that could not leave.", "peer")
	lost := counter("anyedge_peers_lost_total", "Requests to a peer of which a later one was answered first, or many later ones are not answered either.", "peer")
	answered := counter("anyedge_peers_answers_total", "Answers sent to a peer.", "peer")
	m := &metrics{
		vectors:   []*prometheus.CounterVec{asked, lost, answered},
		refused:   counter("anyedge_peers_refused_total", "Packets that were no valid request or answer, by reason.", "reason"),
		reachable: prometheus.NewDesc("anyedge_peers_reachable_vips", "VIPs for which a peer answers; does not say that it serves them.", []string{"peer", "site"}, nil),
		rtt:       prometheus.NewDesc("anyedge_peers_rtt_seconds", "The least RTT of the last 10 to 20 s to a peer, through the tunnel and back outside of it; absent while it is unreachable.", []string{"peer", "site"}, nil),
		targets:   prometheus.NewDesc("anyedge_peers_targets", "Peers to which the packets of a VIP could be bridged now.", []string{"vip"}, nil),
	}
	for _, peer := range peers {
		m.asked = append(m.asked, asked.WithLabelValues(peer.Name))
		m.lost = append(m.lost, lost.WithLabelValues(peer.Name))
		m.answered = append(m.answered, answered.WithLabelValues(peer.Name))
	}
	for _, why := range []string{"malformed", "unknown_peer", "other_address", "other_source", "too_many", "unasked"} {
		m.refused.WithLabelValues(why)
	}
	m.vectors = append(m.vectors, m.refused)
	return m
}

// Describe implements prometheus.Collector.
func (p *Peers) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range p.metrics.vectors {
		v.Describe(ch)
	}
	ch <- p.metrics.reachable
	ch <- p.metrics.rtt
	ch <- p.metrics.targets
}

// Collect implements prometheus.Collector.
func (p *Peers) Collect(ch chan<- prometheus.Metric) {
	for _, v := range p.metrics.vectors {
		v.Collect(ch)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, peer := range p.cfg.Peers {
		gauge(p.metrics.reachable, float64(p.reached[i]), peer.Name, peer.Site)
		var r rtt
		for vip := range p.pairs[i] {
			if at := &p.pairs[i][vip]; at.reachable && (r.current == 0 || at.rtt.least() < r.current) {
				r.current = at.rtt.least()
			}
		}
		if r.current > 0 {
			gauge(p.metrics.rtt, r.current.Seconds(), peer.Name, peer.Site)
		}
	}
	for i, vip := range p.cfg.VIPs {
		gauge(p.metrics.targets, float64(len(p.choices[i].targets)), vip.String())
	}
}
