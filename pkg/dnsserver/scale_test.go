package dnsserver

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/steering"
)

// BenchmarkScale tells what a site of 10,000 services with 100 endpoints each takes: run it once with -benchtime 1000x. An operation is
// a change of one endpoint until an answer knows of it.
func BenchmarkScale(b *testing.B) {
	c := testContent(true)
	c.Services = nil
	for i := range 10000 {
		sv := steering.Service{Name: fmt.Sprintf("svc%05d.edge.example.", i), Policy: steering.RoundRobin, Answers: 2, PortName: "http"}
		for j := range 100 {
			a := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 8), byte(i), 14: 1, 15: byte(j)})
			sv.Endpoints = append(sv.Endpoints, steering.Endpoint{Address: a, Port: 80, State: steering.Up})
		}
		c.Services = append(c.Services, sv)
	}
	own := heap()
	start := time.Now()
	s := contentServer(b, c, nil)
	set, held := time.Since(start), heap()-own
	var r reader
	last := len(c.Services) - 1
	query := pack(b, ask(c.Services[last].Name+" AAAA", edns(1232)))
	for i := 0; b.Loop(); i++ {
		sv := c.Services[last].Clone()
		for j := range sv.Endpoints { // all but one are down: it must be the answer
			sv.Endpoints[j].State = steering.Down
		}
		sv.Panic.Mode = steering.PanicNone
		sv.Endpoints[i%100].State = steering.Up
		if err := s.Update(sv); err != nil {
			b.Fatal(err)
		}
		out := s.answer(r.room[:], query, &r.question, testClient, s.metrics.shared(udp, false), moment{})
		if got := out[len(out)-optSize-1]; got != byte(i%100) {
			b.Fatalf("change %d: the answer ends with %d", i, got)
		}
	}
	runtime.KeepAlive(c)
	b.ReportMetric(set.Seconds(), "s-to-set")
	b.ReportMetric(float64(held)/1e6, "MB-of-server")
	b.ReportMetric(float64(own)/1e6, "MB-of-content")
}

// heap is what is held now.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
