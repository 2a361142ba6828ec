package kube

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// bigWorld has n Services with m endpoints each, translated.
func bigWorld(n, m int) (w *world, slices []*slice) {
	w = newWorld(rules{class: "anyedge"})
	for i := range n {
		name := fmt.Sprintf("service-%d", i)
		w.put(reduceService(with(aService("hostname="+name+".edge.example"), func(s *corev1.Service) { s.Name = name })))
		s := bigSlice(name, i, m)
		w.put(s)
		slices = append(slices, s)
	}
	w.update()
	return w, slices
}

// bigSlice has pods as a Deployment names them.
func bigSlice(service string, i, m int) *slice {
	var endpoints []string
	for j := range m {
		endpoints = append(endpoints, fmt.Sprintf("2001:db8:%x:%x::1 %s-7d4f9c6b5-%05d", i, j, service, j))
	}
	return reduceSlice(with(aSlice(service+"-x7k2p", endpoints...), func(s *discoveryv1.EndpointSlice) {
		s.Labels[discoveryv1.LabelServiceName] = service
		for j := range s.Endpoints {
			s.Endpoints[j].NodeName = new(fmt.Sprintf("node-%d", j%50))
		}
	}))
}

// BenchmarkChange is one endpoint that comes or goes, of 10,000 services with 100 each; and what memory they take.
func BenchmarkChange(b *testing.B) {
	before := heap()
	w, slices := bigWorld(10_000, 100)
	megabytes := float64(heap()-before) / 1e6
	for n := 0; b.Loop(); n++ {
		s := *slices[n%len(slices)]
		if n/len(slices)%2 == 0 {
			s.endpoints = s.endpoints[1:]
		}
		w.put(&s)
		if u := w.update(); len(u.Set) != 1 {
			b.Fatalf("%d services changed", len(u.Set))
		}
	}
	b.ReportMetric(megabytes, "MB")
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
