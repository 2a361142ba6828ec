package bfd

import "github.com/prometheus/client_golang/prometheus"

var _ prometheus.Collector = (*Sessions)(nil)

// descriptions of what is read at every scrape.
type descriptions struct {
	up, failed, sent, stoodIn, received, detection, gap, late, realtime, discarded *prometheus.Desc
}

func describe() descriptions {
	session := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("anyedge_bfd_"+name, help, []string{"peer", "interface"}, nil)
	}
	return descriptions{
		up:        session("session_up", "1 while the BFD session is up."),
		failed:    session("session_failed", "1 from a failure of the BFD session until it is up again; 0 after AdminDown."),
		sent:      session("packets_sent_total", "Control packets given to the kernel."),
		stoodIn:   session("packets_stood_in_total", "Control packets that another thread sent because the first one was late."),
		received:  session("packets_received_total", "Control packets of the peer that counted."),
		detection: session("detection_time_seconds", "Silence of the peer that is a failure; 0 while it is not heard."),
		gap:       session("longest_gap_seconds", "Longest time between two packets of the peer while up, as the kernel saw it."),
		late: prometheus.NewDesc("anyedge_bfd_late_seconds",
			"Worst lateness ever of the thread that runs the sessions; another one sends for it meanwhile.", nil, nil),
		realtime: prometheus.NewDesc("anyedge_bfd_realtime", "1 if the thread that sends has real-time scheduling.", nil, nil),
		discarded: prometheus.NewDesc("anyedge_bfd_packets_discarded_total",
			"Packets that did not count, by rule of RFC 5880 section 6.8.6.", []string{"reason"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (s *Sessions) Describe(ch chan<- *prometheus.Desc) {
	d := describe()
	for _, one := range []*prometheus.Desc{d.up, d.failed, d.sent, d.stoodIn, d.received, d.detection, d.gap, d.late, d.realtime, d.discarded} {
		ch <- one
	}
}

// Collect implements prometheus.Collector.
func (s *Sessions) Collect(ch chan<- prometheus.Metric) {
	d := describe()
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	realtime := false
	for _, st := range s.Status() {
		realtime = realtime || st.RTScheduled
		for desc, m := range map[*prometheus.Desc]struct {
			kind  prometheus.ValueType
			value float64
		}{
			d.up: {gauge, number(st.State == Up)}, d.failed: {gauge, number(st.Failed)},
			d.sent: {counter, float64(st.Sent)}, d.received: {counter, float64(st.Received)},
			d.stoodIn:   {counter, float64(st.StoodIn)},
			d.detection: {gauge, st.DetectionTime.Seconds()}, d.gap: {gauge, st.Gap.Seconds()},
		} {
			ch <- prometheus.MustNewConstMetric(desc, m.kind, m.value, st.Peer.String(), st.Interface)
		}
	}
	ch <- prometheus.MustNewConstMetric(d.late, gauge, s.Late().Seconds())
	ch <- prometheus.MustNewConstMetric(d.realtime, gauge, number(realtime))
	for reason, n := range s.Discarded() {
		ch <- prometheus.MustNewConstMetric(d.discarded, counter, float64(n), reason)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
