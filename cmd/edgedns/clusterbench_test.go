package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// bigCluster is what BenchmarkCluster has.
const (
	bigServices  = 10_000
	bigEndpoints = 100
)

// BenchmarkCluster tells what a cluster of 10,000 Services with 100 endpoints each takes: run it once with -benchtime 200x. An
// operation is a change of endpoints in the API until an answer tells of it.
func BenchmarkCluster(b *testing.B) {
	api := kubetest.NewAPI(b)
	for i := range bigServices {
		s := clusterService(fmt.Sprintf("service-%d.edge.example", i))
		s.Name, s.Annotations["anyedge/answers"], s.Annotations["anyedge/panic"] = fmt.Sprintf("service-%d", i), "1", "none"
		api.Set(s)
		api.Set(bigSlice(i, 0))
	}
	path := configFile(b, strings.Replace(clusterConfig(b, api), "kubeconfig: ", "status: false, pods: false, kubeconfig: ", 1)+"rate_limit: {off: true}\n")
	own := heap()
	began := time.Now()
	lines := startFile(b, path)
	waitFor(b, lines, "msg=synced")
	started := time.Since(began)
	megabytes := float64(heap()-own) / 1e6
	last := bigServices - 1
	name := fmt.Sprintf("service-%d.edge.example.", last)
	var took []time.Duration
	for i := 1; b.Loop(); i++ {
		slice := bigSlice(last, i%bigEndpoints)
		want := "NOERROR " + slice.Endpoints[i%bigEndpoints].Addresses[0] + "/5"
		began := time.Now()
		api.Set(slice)
		for ask(b, name, dns.TypeAAAA) != want {
			if time.Since(began) > time.Minute {
				b.Fatalf("not answered: %s, but %s", want, ask(b, name, dns.TypeAAAA))
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(megabytes, "MB")
	b.ReportMetric(started.Seconds(), "s-to-start")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1e3, "ms-p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1e3, "ms-p99")
}

// bigSlice has one endpoint that is ready.
func bigSlice(i, ready int) *discoveryv1.EndpointSlice {
	s := clusterSlice()
	service := fmt.Sprintf("service-%d", i)
	s.Name, s.Labels[discoveryv1.LabelServiceName] = service+"-x7k2p", service
	for j := range bigEndpoints {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("2001:db8:%x:%x::1", i+1, j+1)}, NodeName: new(fmt.Sprintf("node-%d", j%50)),
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: fmt.Sprintf("%s-7d4f9c6b5-%05d", service, j)},
			Conditions: discoveryv1.EndpointConditions{Ready: new(j == ready)},
		})
	}
	return s
}

// heap is what is held now.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
