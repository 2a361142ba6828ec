package session

import "github.com/prometheus/client_golang/prometheus"

var _ prometheus.Collector = (*Sessions)(nil)

func heldDesc() *prometheus.Desc {
	return prometheus.NewDesc("anyedge_session_held", "1 while BFD keeps the BGP session with a neighbor closed.", []string{"neighbor"}, nil)
}

func holdsDesc() *prometheus.Desc {
	return prometheus.NewDesc("anyedge_session_holds_total", "How often BFD closed the BGP session with a neighbor, or did not let it open.", []string{"neighbor"}, nil)
}

// Describe implements prometheus.Collector; BFD's own metrics are among them.
func (s *Sessions) Describe(ch chan<- *prometheus.Desc) {
	ch <- heldDesc()
	ch <- holdsDesc()
	s.bfd.Describe(ch)
}

// Collect implements prometheus.Collector.
func (s *Sessions) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	for _, w := range s.watched {
		held := 0.0
		if w.status.Held != "" {
			held = 1
		}
		neighbor := w.status.Neighbor.String()
		ch <- prometheus.MustNewConstMetric(heldDesc(), prometheus.GaugeValue, held, neighbor)
		ch <- prometheus.MustNewConstMetric(holdsDesc(), prometheus.CounterValue, float64(w.holds), neighbor)
	}
	s.mu.Unlock()
	s.bfd.Collect(ch)
}
