package discovery

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

const podAddress = "[::1]:8080"

// startPage has a process of its own serve the metrics of edgeprobe app at podAddress.
func startPage(b *testing.B) {
	b.Helper()
	nettest.Need(b)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envServe+"="+podAddress)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 1000 {
		if conn, err := net.Dial("tcp", podAddress); err == nil {
			conn.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatal("the pod does not start")
}

// Each iteration is a second in which a thousand pods are asked for a page of 160 lines over a connection of their own: run it
// with -benchtime 5x. cpu-ms/s is what that costs of one core's 1000, of that sys-ms/s in the kernel, which on loopback does
// the work of both sides; heap-MiB is what is held after a collection.
func BenchmarkThousandPods(b *testing.B) {
	startPage(b)
	s := NewScraper(nil)
	var targets []Target
	for i := range 1000 {
		targets = append(targets, Target{
			Address: netip.MustParseAddrPort(podAddress), Path: fmt.Sprint("/metrics?", i), Format: Prometheus,
			Interval: time.Second, Timeout: time.Second,
		})
	}
	s.Set(targets...)
	run(b, s)
	time.Sleep(3 * time.Second) // until all have connections
	var before, after runtime.MemStats
	b.ResetTimer()
	runtime.ReadMemStats(&before)
	cpu, sys := cpuTime(b)
	for range b.N {
		time.Sleep(time.Second)
	}
	cpuAfter, sysAfter := cpuTime(b)
	runtime.ReadMemStats(&after)
	n := float64(b.N)
	b.ReportMetric((cpuAfter-cpu).Seconds()*1000/n, "cpu-ms/s")
	b.ReportMetric((sysAfter-sys).Seconds()*1000/n, "sys-ms/s")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/n/1000, "allocs/scrape")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/n/1000, "B/scrape")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc)/(1<<20), "heap-MiB")
	for _, t := range targets {
		if l := s.Latest(t); time.Since(l.At) > 2*time.Second {
			b.Fatalf("%s%s: %+v", t.Address, t.Path, l)
		}
	}
}

// BenchmarkScrape is one request and what comes of it, beside the same by the packages that one would take first.
func BenchmarkScrape(b *testing.B) {
	startPage(b)
	b.Run("line", func(b *testing.B) {
		s := NewScraper(nil)
		t := s.add(Target{Address: netip.MustParseAddrPort(podAddress), Path: "/metrics", Format: Prometheus, Timeout: time.Second}, make(map[layoutKey]*layout))
		t.line, t.values = newLine(t.Target, s.dial), make([]float64, len(t.layout.columns))
		defer t.line.hangUp()
		measure(b, func() error { return s.ask(b.Context(), t, time.Now()) })
	})
	b.Run("http.Client and expfmt", func(b *testing.B) {
		client := http.Client{Transport: new(http.Transport), Timeout: time.Second}
		defer client.CloseIdleConnections()
		measure(b, func() error {
			response, err := client.Get("http://" + podAddress + "/metrics")
			if err != nil {
				return err
			}
			defer response.Body.Close()
			parser := expfmt.NewTextParser(model.LegacyValidation)
			_, err = parser.TextToMetricFamilies(response.Body)
			return err
		})
	})
}

// measure reports CPU time, not only time: the pod's is not in it.
func measure(b *testing.B, f func() error) {
	b.ReportAllocs()
	cpu, _ := cpuTime(b)
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	after, _ := cpuTime(b)
	b.ReportMetric(float64(after-cpu)/1000/float64(b.N), "cpu-us/op")
}

func BenchmarkScanMetrics(b *testing.B) {
	page, err := os.ReadFile("testdata/app.prom")
	if err != nil {
		b.Fatal(err)
	}
	l := newLayout(Target{Format: Prometheus})
	values := make([]float64, len(l.columns))
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		if err := l.fill(values, Prometheus, nil, page); err != nil {
			b.Fatal(err)
		}
	}
}

func cpuTime(b *testing.B) (all, kernel time.Duration) {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), time.Duration(u.Stime.Nano())
}
