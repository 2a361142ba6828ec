package kube

import "github.com/prometheus/client_golang/prometheus"

// meterMetrics are the Meter's. None has a label of a pod or a node: there may be very many.
type meterMetrics struct {
	reads          *prometheus.CounterVec
	pods, kubelets *prometheus.Desc
}

func newMeterMetrics(m *Meter) *meterMetrics {
	all := &meterMetrics{
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "anyedge_kube_load_reads_total", Help: "Requests for what processor time pods use, by whom was asked and how that went.",
		}, []string{"source", "result"}),
		pods:     prometheus.NewDesc("anyedge_kube_load_pods", "Pods whose use of processors is wanted, known or not.", nil, nil),
		kubelets: prometheus.NewDesc("anyedge_kube_load_kubelets", "Kubelets that are asked for it.", nil, nil),
	}
	for source, asked := range map[string]bool{"kubelet": m.kubelets != nil, "metrics": m.api != nil} {
		if asked {
			all.reads.WithLabelValues(source, "success")
			all.reads.WithLabelValues(source, "failure")
		}
	}
	return all
}

func (m *meterMetrics) read(source string, err error) {
	result := "success"
	if err != nil {
		result = "failure"
	}
	m.reads.WithLabelValues(source, result).Inc()
}

// Describe implements prometheus.Collector.
func (m *Meter) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *Meter) Collect(ch chan<- prometheus.Metric) {
	m.metrics.reads.Collect(ch)
	m.mu.Lock()
	defer m.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(m.metrics.pods, prometheus.GaugeValue, float64(len(m.uses)))
	ch <- prometheus.MustNewConstMetric(m.metrics.kubelets, prometheus.GaugeValue, float64(len(m.failed)))
}
