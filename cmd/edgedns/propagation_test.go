package main

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/kube"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

const propagationConfig = `site: mec-1
listen: ["[::1]:53"]
zones: [{name: edge.example., ns: [{name: ns.edge.example., addresses: ["2001:db8:53::53"]}]}]
rate_limit: {off: true}
`

// BenchmarkPropagation is an endpoint that comes or goes, in milliseconds since its write at a real API server began: until the
// writer was answered (written), until another source of the same cluster had it (told), until an answer showed it (answered); and
// from told to answered (shown), which is below 0 where the server was faster than the other source.
func BenchmarkPropagation(b *testing.B) {
	c := kubetest.Start(b)
	ns := c.Namespace(b)
	service, slice := clusterService("web.edge.example"), clusterSlice("10.0.0.1")
	service.Namespace, slice.Namespace, slice.AddressType = ns, ns, "IPv4"
	path := "/apis/discovery.k8s.io/v1/namespaces/" + ns + "/endpointslices"
	c.Do(b, http.MethodPost, "/api/v1/namespaces/"+ns+"/services", service, nil)
	c.Do(b, http.MethodPost, path, slice, nil)
	admin := c.Kubeconfig(b, kubetest.Admin)
	startFile(b, configFile(b, propagationConfig+"kubernetes: {kubeconfig: "+admin+", namespaces: ["+ns+"]}\n"))
	other := otherSource(b, kube.Config{Kubeconfig: admin, Namespaces: []string{ns}, NoStatus: true})
	conn, err := dns.Dial("udp", "[::1]:53")
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	untilAnswered(b, conn, 1)
	untilTold(other)

	took := make(map[string][]float64)
	for n := 0; b.Loop(); n++ {
		addresses := []string{"10.0.0.1", "10.0.0.2"}[:1+(n+1)%2]
		o := clusterSlice(addresses...)
		o.Namespace, o.AddressType = ns, "IPv4"
		began := time.Now()
		written, told := make(chan float64), make(chan float64)
		go func() {
			if err := c.Try(kubetest.Admin, http.MethodPut, path+"/"+o.Name, o, nil); err != nil {
				b.Error(err)
			}
			written <- milliseconds(time.Since(began))
		}()
		go func() {
			untilTold(other)
			told <- milliseconds(time.Since(began))
		}()
		untilAnswered(b, conn, len(addresses))
		answered := milliseconds(time.Since(began))
		heard := <-told
		took["written"] = append(took["written"], <-written)
		took["told"] = append(took["told"], heard)
		took["answered"] = append(took["answered"], answered)
		took["shown"] = append(took["shown"], answered-heard)
	}
	for name, all := range took {
		slices.Sort(all)
		b.ReportMetric(all[len(all)/2], name+"-p50-ms")
		b.ReportMetric(all[len(all)*99/100], name+"-p99-ms")
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// otherSource runs until the benchmark ends.
func otherSource(b *testing.B, cfg kube.Config) *kube.Source {
	s, err := kube.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return s
}

func untilTold(s *kube.Source) {
	for len(s.Update().Set) == 0 {
		<-s.Changed()
	}
}

// untilAnswered asks five times a millisecond, so that somebody else finds time, until there are n addresses.
func untilAnswered(b *testing.B, conn *dns.Conn, n int) {
	q := new(dns.Msg).SetQuestion("web.edge.example.", dns.TypeA)
	c := dns.Client{Timeout: 10 * time.Second}
	for ; ; time.Sleep(200 * time.Microsecond) {
		m, _, err := c.ExchangeWithConn(q, conn)
		if err != nil {
			b.Fatal(err)
		}
		if len(m.Answer) == n {
			return
		}
	}
}
