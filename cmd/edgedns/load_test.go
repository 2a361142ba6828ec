package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/app"
	"github.com/anyedge/anyedge/pkg/steering"
)

// loadConfig has three pods that are asked for their load ten times a second, and no checks.
const loadConfig = `site: mec-1
listen: ["[::1]:53"]
zones:
  - {name: edge.example., ttl: 1s, ns: [{name: ns.edge.example., addresses: ["2001:db8:53::53"]}]}
services:
  - name: api.edge.example.
    policy: capacity
    answers: 1
    load: {type: json, port: 8081, interval: 100ms, timeout: 50ms}
    endpoints:
      - {address: 127.0.0.1, port: 8080, capacity: 10}
      - {address: 127.0.0.2, port: 8080, capacity: 10}
      - {address: 127.0.0.3, port: 8080, capacity: 10}
metrics: {listen: "[::1]:9411"}
rate_limit: {rate: 1000000} # the test is one client that asks as fast as it can
`

// loadedPod is edgeprobe app on port 8080 of an address. What it tells of its load is passed on at port 8081, unless that
// is stalled.
func loadedPod(t *testing.T, address string) (stalled *atomic.Bool) {
	t.Helper()
	a, err := app.New(app.Config{Name: "pod", Listen: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(address), 8080)}, Grace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", address+":8081")
	if err != nil {
		t.Fatal(err)
	}
	stalled = new(atomic.Bool)
	proxy := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if stalled.Load() {
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, get(r.Context(), "http://"+address+":8080"+r.URL.Path))
	})}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	running.Go(func() { _ = proxy.Serve(l) })
	t.Cleanup(func() { cancel(); _ = proxy.Close(); running.Wait() })
	<-a.Ready()
	return stalled
}

func get(ctx context.Context, url string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return string(body)
}

// visitors ask for the name and then the pod, a hundred times a second; the pod at slow takes eight times as long. Every
// answer must be a good one.
func visitors(t *testing.T, slow string) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; <-tick.C {
			all.Go(func() {
				answer := ask(t, "api.edge.example.", dns.TypeA)
				var pod string
				if _, err := fmt.Sscanf(strings.ReplaceAll(answer, "/", " "), "NOERROR %s 1", &pod); err != nil {
					if !strings.Contains(answer, "timeout") && t.Context().Err() == nil { // a machine that is busy, the end
						t.Errorf("answered %q", answer)
					}
					return
				}
				delay := "20ms"
				if pod == slow {
					delay = "160ms"
				}
				get(ctx, "http://"+pod+":8080/?delay="+delay)
			})
		}
	})
	t.Cleanup(func() { cancel(); all.Wait() })
}

// value reads one line of the metrics page; -1: there is none.
func value(t *testing.T, page, series string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\S+)$`).FindStringSubmatch(page)
	if m == nil {
		return -1
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func podSeries(name, address string) string {
	return fmt.Sprintf(`anyedge_dns_endpoint_%s{address="%s",service="api.edge.example."}`, name, address)
}

// weightsUntil reads the weights of the pods until they are as wanted.
func weightsUntil(t *testing.T, what string, ok func(a, b, c float64) bool) string {
	t.Helper()
	var w [3]float64
	for range 3000 {
		page := scrape(t)
		for i := range w {
			w[i] = value(t, page, podSeries("weight", fmt.Sprintf("127.0.0.%d", i+1)))
		}
		if ok(w[0], w[1], w[2]) {
			t.Logf("%s: weights %v", what, w)
			return page
		}
		time.Sleep(20 * time.Millisecond) // the loads' interval decides
	}
	t.Fatalf("%s: weights stay %v", what, w)
	return ""
}

// Load shifts to the pods that are faster, at the pace at which they tell; a pod that stops telling is back at its capacity; a
// reload forgets nothing; and no answer is ever worse than before.
func TestLoadSteers(t *testing.T) {
	path := configFile(t, loadConfig+"admin: {socket: "+filepath.Join(t.TempDir(), "dns.sock")+"}\n")
	lines := startFile(t, path)
	for _, address := range []string{"127.0.0.1", "127.0.0.2"} {
		loadedPod(t, address)
	}
	stalled := loadedPod(t, "127.0.0.3")
	visitors(t, "127.0.0.3")
	shifted := func(a, b, c float64) bool { return c > 0 && c < a/2 && c < b/2 }
	page := weightsUntil(t, "the third pod is slow", shifted)
	documented(t, page)
	if age := value(t, page, podSeries("load_age_seconds", "127.0.0.3")); age < 0 {
		t.Error("the age of its load is not told")
	}
	for series, most := range map[string]float64{"anyedge_discovery_load_targets": 3, "anyedge_dns_synced": 1, "anyedge_dns_unlisted_endpoints": 0} {
		if got := value(t, page, series); got != most {
			t.Errorf("%s is %g, want %g", series, got, most)
		}
	}

	answersShift(t)
	if status, stdout, stderr := runOnce(t, "services", "api.edge.example", "--config", path); status != 0 || !strings.Contains(stdout, "in flight ") || !strings.Contains(stdout, ": feedback 0.") {
		t.Errorf("status %d, stdout\n%s\nstderr %s", status, stdout, stderr)
	}
	reloadKeeps(t, path, lines, shifted)

	stalled.Store(true)
	page = weightsUntil(t, "it does not tell any more", func(_, _, c float64) bool { return c == 10 })
	if failed := value(t, page, `anyedge_discovery_load_scrapes_total{result="failure"}`); failed < 1 {
		t.Errorf("%g requests for a load failed", failed)
	}
	stalled.Store(false)
	weightsUntil(t, "it tells again", shifted)
}

// answersShift waits until the slow pod has less than half its share of the answers.
func answersShift(t *testing.T) {
	t.Helper()
	var count int
	for range 300 {
		count = 0
		for range 200 {
			if strings.Contains(ask(t, "api.edge.example.", dns.TypeA), "127.0.0.3") {
				count++
			}
		}
		if count <= 33 {
			return
		}
		time.Sleep(100 * time.Millisecond) // the loads' interval decides
	}
	t.Errorf("the slow pod has %d of 200 answers", count)
}

// reloadKeeps adds a pod that is half used by others, and takes it away again. The weights of those that stay are as they
// were; where this test was not run for a while meanwhile, they have grown old: then it is tried again.
func reloadKeeps(t *testing.T, path string, lines <-chan string, shifted func(a, b, c float64) bool) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	more := strings.Replace(string(before), "    endpoints:\n", "    endpoints:\n      - {address: 127.0.0.4, port: 8080, capacity: 10, load: 0.5}\n", 1)
	var w [4]float64
	for range 5 {
		weightsUntil(t, "before a reload", shifted)
		reload(t, path, more, lines, taken)
		page := scrape(t)
		for i := range w {
			w[i] = value(t, page, podSeries("weight", fmt.Sprintf("127.0.0.%d", i+1)))
		}
		reload(t, path, string(before), lines, taken)
		if shifted(w[0], w[1], w[2]) && w[3] == 5 {
			return
		}
	}
	t.Errorf("after a reload the weights are %v; want those from before, and 5", w)
}

// How long a check takes may be the load; what becomes up starts slowly.
func TestCheckIsLoad(t *testing.T) {
	start(t, strings.Replace(strings.Replace(testConfig, "answers: 2\n", "answers: 1\n    policy: capacity\n    load: {type: check}\n    slow_start: 2s\n", 1),
		"address: \"2001:db8:1::10\"", "address: \"::1\", port: 7001, check: {type: tcp, interval: 1h, rise: 1}", 1))
	pod(t, "127.0.0.1:7001")
	eventually(t, "api.edge.example.", dns.TypeA, "NOERROR 127.0.0.1/5")
	pod(t, "127.0.0.2:7001")
	both := func(w float64) func(first, second, _ float64) bool {
		return func(first, second, _ float64) bool { return first > 0 && second > 0 && (second < first) == (w < 1) }
	}
	weightsUntil(t, "the second pod starts slowly", both(0.5))
	// What their checks take here differs by chance, and so does what comes of it: only that it counts is certain.
	for _, address := range []string{"127.0.0.1", "127.0.0.2"} {
		for n := 0; value(t, scrape(t), podSeries("load_age_seconds", address)) < 0; n++ {
			if n == 3000 {
				t.Fatalf("the age of the load of %s is not told", address)
			}
			time.Sleep(20 * time.Millisecond) // the checks' interval decides
		}
	}
}

// However often something else is done, loads are looked at in time, and never more often than that pays.
func TestNextLook(t *testing.T) {
	t0 := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return t0.Add(d) }
	ramping := func(l *loads) {
		l.weights.Weigh(t0, &steering.Service{
			Name: "api.edge.example.", Policy: steering.Capacity, Answers: 1, SlowStart: 30 * time.Second,
			Endpoints: []steering.Endpoint{{Address: netip.MustParseAddr("2001:db8::1"), Capacity: 1, State: steering.Up, Since: t0}},
		}, nil)
	}
	for _, tt := range []struct {
		name   string
		set    func(*loads)
		looked time.Time
		now    time.Time
		want   time.Time
	}{
		{"nothing to look at", func(*loads) {}, t0, at(time.Second), at(time.Second + idleWait)},
		{"loads of the file", func(l *loads) { l.file.period = time.Second }, t0, at(999 * time.Millisecond), at(time.Second)},
		{"loads of both", func(l *loads) { l.file.period, l.cluster.period = time.Second, 500*time.Millisecond }, t0, t0, at(500 * time.Millisecond)},
		{"a slow start that was looked at just before", ramping, at(10 * time.Second), at(10 * time.Second), at(10*time.Second + restWait)},
	} {
		l := &loads{looked: tt.looked}
		tt.set(l)
		if got := l.next(tt.now); !got.Equal(tt.want) {
			t.Errorf("%s: %s after the start, want %s", tt.name, got.Sub(t0), tt.want.Sub(t0))
		}
	}
}
