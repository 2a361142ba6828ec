package dnsserver

import (
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// shedCount is what the metric says.
func shedCount(t *testing.T, s *Server) uint64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(s)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "anyedge_dns_shed_requests_total" {
			return uint64(f.GetMetric()[0].GetCounter().GetValue())
		}
	}
	t.Fatal("no such metric")
	return 0
}

// Every query is either answered or counted as shed: here the loops are held until the kernel has had no room for some.
func TestShedIsCounted(t *testing.T) {
	nettest.Need(t)
	s := newServer(t, "[::1]:53")
	for _, sock := range s.sockets.udp {
		if err := sock.set(unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil { // the least there is: a few queries
			t.Fatal(err)
		}
	}
	c, err := net.Dial("udp", "[::1]:53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const sent = 1000
	query := pack(t, ask("a.b.edge.example. AAAA"))
	for range sent {
		if _, err := c.Write(query); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return shedCount(t, s) > 0 })
	stop := run(t, s)
	waitFor(t, func() bool { return shedCount(t, s)+counted(s, udp, false, typeIndex(dns.TypeAAAA)) == sent })
	shed := shedCount(t, s)
	stop()
	if after := shedCount(t, s); shed == sent || after != shed {
		t.Errorf("%d of %d shed, and %d after the end", shed, sent, after)
	}
}

// While garbage is collected all the time, no query is lost, whether the loops have a processor each or share one.
func TestNoQueryIsLostToCollections(t *testing.T) {
	nettest.Need(t)
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	for _, processors := range []int{1, 4} {
		func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
			s := newServer(t, "[::1]:53")
			defer run(t, s)()
			var clients sync.WaitGroup
			for range 4 {
				clients.Go(func() { askInTurn(t, "[::1]:53", 50) })
			}
			done := make(chan struct{})
			go func() { clients.Wait(); close(done) }()
			collect(done)
			if n := shedCount(t, s); n != 0 {
				t.Errorf("%d processors: %d queries shed", processors, n)
			}
		}()
	}
}

// askInTurn asks so many times, each when the one before was answered, and none twice.
func askInTurn(t *testing.T, server string, times int) {
	c, err := dns.Dial("udp", server)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	for i := range times {
		q := ask("api.edge.example. AAAA")
		q.Id = uint16(i)
		if err := c.WriteMsg(q); err != nil {
			t.Error(err)
			return
		}
		if m, err := c.ReadMsg(); err != nil || m.Id != q.Id || len(m.Answer) != 2 {
			t.Errorf("answer %d: %v, %v", i, m, err)
			return
		}
	}
}

// collect collects garbage until done.
func collect(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
			runtime.GC()
		}
	}
}
