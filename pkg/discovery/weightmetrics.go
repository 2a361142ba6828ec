package discovery

import (
	"cmp"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSeries is how many endpoints have series of their own: Prometheus would carry a million, but not for long.
const maxSeries = 1000

var (
	weightDesc = prometheus.NewDesc("anyedge_dns_endpoint_weight",
		"What one endpoint is to get of its service's answers, in the unit of its capacity: that by load and slow start. "+
			"Only endpoints that are weighed by those.", []string{"service", "address"}, nil)
	loadAgeDesc = prometheus.NewDesc("anyedge_dns_endpoint_load_age_seconds",
		"Since one endpoint's load was measured last; more than two periods: it counts less and less.", []string{"service", "address"}, nil)
	unlistedDesc = prometheus.NewDesc("anyedge_dns_unlisted_endpoints",
		"Endpoints that are weighed and have no series of their own, because there are too many.", nil, nil)
)

// Describe implements prometheus.Collector.
func (w *Weights) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{weightDesc, loadAgeDesc, unlistedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. Of two endpoints of a service with one address, on different ports, the first counts.
func (w *Weights) Collect(ch chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	listed, unlisted := 0, 0
	for _, name := range slices.SortedFunc(maps.Keys(w.services), cmp.Compare) {
		k, seen := w.services[name], make(map[string]bool)
		for i, e := range k.endpoints {
			address := e.Address.String()
			switch {
			case seen[address]:
				continue
			case listed == maxSeries:
				unlisted++
				continue
			}
			seen[address] = true
			listed++
			ch <- prometheus.MustNewConstMetric(weightDesc, prometheus.GaugeValue, e.Weight(), name, address)
			if k.weights[i].Signal != 0 {
				ch <- prometheus.MustNewConstMetric(loadAgeDesc, prometheus.GaugeValue, k.weights[i].Age.Seconds(), name, address)
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(unlistedDesc, prometheus.GaugeValue, float64(unlisted))
}
