package kube

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of a follower.
type metrics struct {
	lists, errors, writes *prometheus.CounterVec
	age, objects, synced  *prometheus.Desc
}

func newMetrics(f *follower) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "anyedge_kube_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("anyedge_kube_"+name, help, labels, nil)
	}
	m := &metrics{
		lists:   counter("lists_total", "Whole lists read: at the start, after an interruption, and every resync.", "resource"),
		errors:  counter("errors_total", "Lists and watches that failed, by the API's reason; Unreachable: it gave none. Expired is how it asks for a new list.", "resource", "reason"),
		writes:  counter("status_writes_total", "Statuses and events written, by how that went.", "result"),
		age:     gauge("watch_age_seconds", "Since the API last told anything, a bookmark at least; more than a few minutes: it tells nothing any more.", "resource"),
		objects: gauge("objects", "Objects of the API that answers are made of, as they were last read.", "resource"),
		synced:  gauge("synced", "1 once everything was read; it stays so when the API goes away."),
	}
	for _, r := range f.readers {
		m.lists.WithLabelValues(r.resource.name)
	}
	return m
}

// Describe implements prometheus.Collector.
func (s *Source) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, ch) }

// Collect implements prometheus.Collector.
func (s *Source) Collect(ch chan<- prometheus.Metric) {
	s.collect(ch)
	s.mu.Lock()
	defer s.mu.Unlock()
	ch <- gauge(s.names, float64(len(s.world.served)))
}

// collect tells what there is to tell of every follower.
func (f *follower) collect(ch chan<- prometheus.Metric) {
	m := f.metrics
	m.lists.Collect(ch)
	m.errors.Collect(ch)
	m.writes.Collect(ch)
	f.mu.Lock()
	defer f.mu.Unlock()
	objects, age := make(map[string]int), make(map[string]time.Duration)
	for _, r := range f.readers {
		objects[r.resource.name] += f.store.held(r.resource.reduced).count(r.namespace)
		if heard := r.heard.Load(); heard != 0 {
			age[r.resource.name] = max(age[r.resource.name], time.Since(time.Unix(0, heard)))
		}
	}
	for name, n := range objects {
		ch <- gauge(m.objects, float64(n), name)
	}
	for name, d := range age {
		ch <- gauge(m.age, d.Seconds(), name)
	}
	ch <- gauge(m.synced, boolean(f.synced))
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
