package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/client"
	"github.com/anyedge/anyedge/pkg/steering"
)

// Clients behind resolvers: 2,000 of them make 450 requests per second to ten pods, five that can serve 100 per second and
// five that can serve 50: 60 % of what there is. Pods, resolvers and clients share one network namespace.
//
// ANYEDGE_BEHIND=60s runs all arrangements, each for that long, for docs/measurements.md; by default those that stand for
// the others run, just long enough to see the shares.
const (
	behindFor     = "ANYEDGE_BEHIND"
	behindClients = 2000
	behindRate    = 450
	behindTimeout = 10 * time.Second
)

var capacities = []float64{100, 100, 100, 100, 100, 50, 50, 50, 50, 50}

func behindConfig() string {
	var b strings.Builder
	b.WriteString(`site: mec-1
listen: ["[::1]:53"]
zones:
  - {name: edge.example., ns: [{name: ns.edge.example., addresses: ["2001:db8:53::53"]}]}
  - {name: fast.example., ttl: 1s, ns: [{name: ns.edge.example.}]}
metrics: {listen: "[::1]:9411"}
services:
`)
	for _, s := range []string{
		"one.edge.example., policy: capacity", "two.edge.example., policy: capacity, answers: 2", "all.edge.example., policy: rr, answers: 10",
		"hash.edge.example., policy: hash", "two.fast.example., policy: capacity, answers: 2",
	} {
		fmt.Fprintf(&b, "  - name: %s\n    endpoints:\n", strings.ReplaceAll(s, ", ", "\n    "))
		for i, c := range capacities {
			fmt.Fprintf(&b, "      - {address: %q, port: 8080, capacity: %g}\n", podAddress(i), c)
		}
	}
	return b.String()
}

func podAddress(i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 5: 1, 15: byte(i + 1)})
}

// A queuePod serves one request after the other, each for as long as its capacity says, and burns no CPU.
type queuePod struct {
	service time.Duration

	mu       sync.Mutex // guards following
	free     time.Time
	arrivals []time.Time
	waits    []time.Duration
}

func (p *queuePod) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	done := time.NewTimer(time.Until(p.enter(time.Now())))
	defer done.Stop()
	select {
	case <-done.C:
		_, _ = io.WriteString(w, "{}\n")
	case <-r.Context().Done():
	}
}

// enter queues a request and returns when it will have been served.
func (p *queuePod) enter(now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free.Before(now) {
		p.free = now
	}
	p.arrivals = append(p.arrivals, now)
	p.waits = append(p.waits, p.free.Sub(now))
	p.free = p.free.Add(p.service)
	return p.free
}

// reset forgets what was, and returns it.
func (p *queuePod) reset() (arrivals []time.Time, waits []time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	arrivals, waits = p.arrivals, p.waits
	p.arrivals, p.waits, p.free = nil, nil, time.Time{}
	return arrivals, waits
}

func startPods(t *testing.T) (pods []*queuePod) {
	t.Helper()
	for i, c := range capacities {
		nettest.AddAddress(t, podAddress(i).String()+"/128")
		l, err := net.Listen("tcp", netip.AddrPortFrom(podAddress(i), 8080).String())
		if err != nil {
			t.Fatal(err)
		}
		p := &queuePod{service: time.Duration(float64(time.Second) / c)}
		server := &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
		ended := make(chan struct{})
		go func() { _ = server.Serve(l); close(ended) }()
		t.Cleanup(func() { _ = server.Close(); <-ended })
		pods = append(pods, p)
	}
	return pods
}

// An arrangement is how clients reach edgedns, and what they ask it.
type arrangement struct {
	name    string
	servers []string // the clients are split over them
	service string
	shared  bool // all clients get what a resolver keeps: one answer at a time
	always  bool // also in a short run
}

// podLoad is what came to the pods in one run.
type podLoad struct {
	requests []float64       // by pod
	worst    float64         // second of any pod, in parts of its capacity
	burst    float64         // most requests in any second
	waits    []time.Duration // in the queues, sorted
	answers  float64         // that edgedns gave
	failed   int
	errors   []string // of failed requests, by server that was asked
}

func (l podLoad) total() (n float64) {
	for _, r := range l.requests {
		n += r
	}
	return n
}

// TestBehindResolvers wants of each pod the load that docs/dns.md promises: by capacity nobody is a whole turn ahead or
// behind, where a turn is all that one answer brings - behind a resolver that keeps it for everybody those are many
// requests; by hash the clients of each prefix go where rendezvous hashing says. Chance of the clients' own comes on top.
func TestBehindResolvers(t *testing.T) {
	nettest.Need(t)
	length, text := 3*time.Second, os.Getenv(behindFor)
	if text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	var prefixes []string
	for i := range 40 {
		prefixes = append(prefixes, fmt.Sprintf("2001:db8:c%02d::53", i))
	}
	pods := startPods(t)
	start(t, atAnycast(t, behindConfig()))
	zones := stubZone + strings.Replace(stubZone, "edge", "fast", 1)
	unbound(t, "2001:db8:e::1", zones, "")
	for _, a := range prefixes {
		nettest.AddAddress(t, a+"/128")
	}
	unbound(t, "2001:db8:e::2", zones, "module-config: \"subnetcache validator iterator\"\n  send-client-subnet: 2001:db8:53::53\n  interface: "+
		strings.Join(prefixes, "\n  interface: "))
	bind(t, "2001:db8:e::4", staticStub+strings.Replace(staticStub, "edge", "fast", 1), "")

	out := new(strings.Builder)
	tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "clients ask\tfor\tanswers\trequests\teach brings\tlargest share/promise\tworst second\twait p50\tp99\tfailed\t")
	itself, unbound, ecs, bind := []string{"2001:db8:53::53"}, []string{"2001:db8:e::1"}, "unbound with ECS, 40 prefixes", []string{"2001:db8:e::4"}
	for _, a := range []arrangement{
		{"edgedns itself", itself, "one.edge.example.", false, false},
		{"edgedns itself", itself, "two.edge.example.", false, true},
		{"one unbound", unbound, "one.edge.example.", true, false},
		{"one unbound", unbound, "two.edge.example.", true, false},
		{"one unbound", unbound, "two.fast.example.", true, true},
		{"one unbound", unbound, "all.edge.example.", true, false},
		{ecs, prefixes, "one.edge.example.", false, false},
		{ecs, prefixes, "hash.edge.example.", false, true},
		{"one BIND", bind, "one.edge.example.", true, false},
		{"one BIND", bind, "two.fast.example.", true, true},
		{"one BIND", bind, "all.edge.example.", true, false},
	} {
		if !a.always && text == "" {
			continue
		}
		t.Run(a.name+", "+a.service, func(t *testing.T) {
			l := a.run(t, length, pods)
			off := a.judge(t, l)
			fmt.Fprintf(tab, "%s\t%s\t%.0f\t%.0f\t%.1f\t%.2f\t%.1f\t%.0f ms\t%.0f ms\t%d\t\n", a.name, a.service, l.answers, l.total(), l.total()/l.answers,
				off, l.worst, ms(l.waits[len(l.waits)/2]), ms(l.waits[len(l.waits)*99/100]), l.failed)
		})
	}
	_ = tab.Flush()
	t.Logf("%s each\n%s", length, out)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (a arrangement) run(t *testing.T, length time.Duration, pods []*queuePod) (l podLoad) {
	t.Helper()
	for _, p := range pods {
		p.reset()
	}
	before := addressAnswers(t)
	ctx, cancel := context.WithTimeout(t.Context(), length+2*behindTimeout)
	defer cancel()
	var clients sync.WaitGroup
	var mu sync.Mutex // guards l.failed
	for i, server := range a.servers {
		h, err := client.NewHTTP(client.HTTPConfig{
			Load: client.Load{
				Clients: behindClients / len(a.servers), Rate: behindRate / float64(len(a.servers)), Seed: uint64(i + 1),
				Duration: length, Timeout: behindTimeout,
			},
			Server: netip.AddrPortFrom(netip.MustParseAddr(server), 53), Name: a.service, Port: 8080, Path: "/",
			Shuffle: true, Retries: 2, ConnectTimeout: 2 * time.Second, MaxSockets: 8000,
		})
		if err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			report, err := h.Run(ctx)
			mu.Lock()
			defer mu.Unlock()
			if l.failed += report.Failed; err != nil {
				t.Error(err)
			}
			if report.Failed > 0 {
				l.errors = append(l.errors, fmt.Sprintf("%s: %v", server, report.Errors))
			}
		})
	}
	clients.Wait()
	l.answers = addressAnswers(t) - before
	var all []time.Time
	for i, p := range pods {
		arrivals, waits := p.reset()
		all = append(all, arrivals...)
		l.requests = append(l.requests, float64(len(arrivals)))
		l.waits = append(l.waits, waits...)
		l.worst = max(l.worst, worstSecond(arrivals)/capacities[i])
	}
	slices.SortFunc(all, time.Time.Compare)
	l.burst = worstSecond(all)
	slices.Sort(l.waits)
	if len(l.waits) == 0 {
		t.Fatalf("no request came to any pod; %d failed: %s", l.failed, l.errors)
	}
	return l
}

// worstSecond returns the most arrivals in any second.
func worstSecond(arrivals []time.Time) (most float64) {
	from := 0
	for to, at := range arrivals {
		for at.Sub(arrivals[from]) >= time.Second {
			from++
		}
		most = max(most, float64(to-from+1))
	}
	return most
}

var addressQueries = regexp.MustCompile(`anyedge_dns_requests_total\{[^}]*type="AAAA"[^}]*\} (\S+)`)

// addressAnswers returns how many queries for IPv6 addresses edgedns has answered.
func addressAnswers(t *testing.T) (n float64) {
	t.Helper()
	for _, m := range addressQueries.FindAllStringSubmatch(scrape(t), -1) {
		one, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		n += one
	}
	return n
}

// judge returns the largest share of a pod's load in what was promised to it.
func (a arrangement) judge(t *testing.T, l podLoad) (off float64) {
	t.Helper()
	turn := l.total() / l.answers
	if a.shared { // on a slow machine clients pile up, and one answer brings them all
		turn = max(turn, l.burst)
	}
	for i, promise := range a.promise() {
		want := promise * l.total()
		off = max(off, l.requests[i]/want)
		// Two turns: a resolver's first and last answers bring less than others. Five standard deviations of what is by chance.
		if most := 2*turn + 5*math.Sqrt(want*max(turn, 1)); math.Abs(l.requests[i]-want) > most {
			t.Errorf("pod %d had %.0f requests of %.0f, want %.0f by less than %.0f", i, l.requests[i], l.total(), want, most)
		}
	}
	return off
}

// promise returns each pod's share of the load.
func (a arrangement) promise() []float64 {
	shares := make([]float64, len(capacities))
	for i, c := range capacities {
		switch {
		case strings.HasPrefix(a.service, "all."):
			shares[i] = 1 / float64(len(capacities))
		case strings.HasPrefix(a.service, "hash."):
		default:
			shares[i] = c / 750
		}
	}
	if !strings.HasPrefix(a.service, "hash.") {
		return shares
	}
	s := steering.Service{Policy: steering.Hash, Answers: 1}
	for i, c := range capacities {
		s.Endpoints = append(s.Endpoints, steering.Endpoint{Address: podAddress(i), State: steering.Up, Capacity: c})
	}
	picker := steering.NewPicker(s, steering.IPv6, 0)
	for _, server := range a.servers { // a client's address is the one that it asks
		pod := picker.Pick(nil, netip.PrefixFrom(netip.MustParseAddr(server), 56).Masked())[0].As16()
		shares[pod[15]-1] += 1 / float64(len(a.servers))
	}
	return shares
}
