package health

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// answerer is where serve answers DNS over UDP and takes TCP connections, in a process of its own so that its CPU time
// is not counted.
const answerer = "[::1]:5353"

// answer serves until the process is killed.
func answer() error {
	l, err := net.Listen("tcp", answerer)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	c, err := net.ListenPacket("udp", answerer)
	if err != nil {
		return err
	}
	s := dns.Server{PacketConn: c, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		rr, err := dns.NewRR(qname + " 5 IN AAAA 2001:db8:53::53")
		if err == nil {
			m.Answer = []dns.RR{rr}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	return nil
}

// Each iteration is a second of a monitor with a thousand checks a second: run it with -benchtime 5x. cpu-ms/s is what
// they cost of one core's 1000, of that sys-ms/s in the kernel, which on loopback does the work of both sides; heap-MiB
// is what they hold after a collection.
func BenchmarkThousandChecks(b *testing.B) {
	nettest.Need(b)
	target := netip.MustParseAddrPort(answerer)
	kinds := map[string]func(i int) Checker{
		"tcp": func(int) Checker { return TCP{Target: target} },
		"dns": func(int) Checker { return DNS{Target: target, Name: qname, Type: dns.TypeAAAA} },
	}
	for _, name := range []string{"tcp", "dns"} {
		b.Run(name, func(b *testing.B) { thousand(b, kinds[name]) })
	}
	b.Run("both", func(b *testing.B) {
		thousand(b, func(i int) Checker { return kinds[[]string{"tcp", "dns"}[i%2]](i) })
	})
}

func thousand(b *testing.B, checker func(i int) Checker) {
	startServer(b, "answers", answerer)
	var services []Service
	for i := range 1000 {
		services = append(services, Service{Name: fmt.Sprint("s", i), Checks: []Check{{Name: "check", Checker: checker(i), Rise: 1, Fall: 3}}})
	}
	m := start(b, services...)
	for up := 0; up < len(services); {
		<-m.Changed()
		up = 0
		for _, s := range m.Status() {
			if s.State == Up {
				up++
			}
		}
	}
	time.Sleep(2 * time.Second) // until all keep to their slots
	b.ResetTimer()
	cpu, sys := cpuTime(b)
	for range b.N {
		time.Sleep(time.Second)
	}
	cpuAfter, sysAfter := cpuTime(b)
	b.ReportMetric((cpuAfter-cpu).Seconds()*1000/float64(b.N), "cpu-ms/s")
	b.ReportMetric((sysAfter-sys).Seconds()*1000/float64(b.N), "sys-ms/s")
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	b.ReportMetric(float64(mem.HeapAlloc)/(1<<20), "heap-MiB")
	for _, s := range m.Status() {
		if s.State != Up {
			b.Errorf("%s: %v, %s", s.Service, s.State, s.Reason)
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
