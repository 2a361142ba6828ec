package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/probe"
)

func TestMain(m *testing.M) { nettest.Main(func() { goleak.VerifyTestMain(m) }) }

// start runs an App on the loopback address until the test, or the function that is returned, ends it.
func start(t *testing.T, cfg Config) (base string, stop func() error) {
	t.Helper()
	cfg.Name, cfg.Listen = "pod-1", []netip.AddrPort{netip.MustParseAddrPort("[::1]:0")}
	registry := prometheus.NewPedanticRegistry()
	cfg.Gatherer = registry
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	registry.MustRegister(a)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	select {
	case <-a.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + a.Addrs()[0].String(), stop
}

// get does not keep connections: nothing of it outlives the test.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(b)
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	base, _ := start(t, Config{})
	status, body := get(t, base+"/any/path?cpu=2ms&delay=3ms")
	var got Identity
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if got.ServiceMs < 5 || got.Client == "" {
		t.Errorf("%+v; want at least 5 ms, and a client", got)
	}
	got.ServiceMs, got.Client = 0, ""
	want := Identity{Name: "pod-1", Address: strings.TrimPrefix(base, "http://"), RequestsInFlight: 1, CPUMs: 2, DelayMs: 3}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	status, body = get(t, base+"/load")
	var load Load
	if err := json.Unmarshal([]byte(body), &load); err != nil || status != 200 {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if load.Name != "pod-1" || load.RequestsInFlight != 0 || load.RPS <= 0 || load.EPS != 0 || load.CPUUtilization <= 0 || load.LatencyMeanMs < 5 {
		t.Errorf("%+v", load)
	}
	if status, body = get(t, base+"/metrics"); status != 200 || !strings.Contains(body, `anyedge_app_requests_total{outcome="answered"} 1`) {
		t.Errorf("%d %s", status, body)
	}
	if status, body = get(t, base+"/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("%d %s", status, body)
	}
}

// One request waits; the next is one too many.
func TestTooManyRequests(t *testing.T) {
	t.Parallel()
	base, _ := start(t, Config{MaxRequests: 1})
	first := make(chan struct{})
	ctx, giveUp := context.WithCancel(context.Background())
	go func() {
		defer close(first)
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, base+"?delay=30s", nil)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
			t.Error("the request that was given up was answered")
		}
	}()
	await(t, base, func(l Load) bool { return l.RequestsInFlight == 1 && l.ApplicationUtilization == 1 })
	if status, _ := get(t, base); status != http.StatusServiceUnavailable {
		t.Errorf("status %d; want 503", status)
	}
	giveUp()
	<-first
	await(t, base, func(l Load) bool { return l.RequestsInFlight == 0 && l.EPS > 0 })
}

// await asks for the load until it is as wanted.
func await(t *testing.T, base string, as func(Load) bool) {
	t.Helper()
	var l Load
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		_, body := get(t, base+"/load")
		if json.Unmarshal([]byte(body), &l) == nil && as(l) {
			return
		}
	}
	t.Fatalf("the load stays %+v", l)
}

// What is under way ends first.
func TestStopsGracefully(t *testing.T) {
	t.Parallel()
	base, stop := start(t, Config{})
	status := make(chan int)
	go func() {
		s, _ := get(t, base+"?delay=200ms")
		status <- s
	}()
	await(t, base, func(l Load) bool { return l.RequestsInFlight == 1 })
	stopped := make(chan error)
	go func() { stopped <- stop() }()
	if s := <-status; s != 200 {
		t.Errorf("status %d; want 200", s)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestAnswersProbes(t *testing.T) {
	t.Parallel()
	base, _ := start(t, Config{})
	p, err := probe.NewProber(probe.ProberConfig{
		Target:   netip.MustParseAddrPort(strings.TrimPrefix(base, "http://")),
		Interval: 10 * time.Millisecond, Duration: 100 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := p.Run(t.Context()); err != nil || r.Received == 0 || r.BySite["pod-1"] != r.Received {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestMetricNames(t *testing.T) {
	t.Parallel()
	a, err := New(Config{Name: "x", Listen: []netip.AddrPort{netip.MustParseAddrPort("[::1]:0")}})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.CollectAndLint(a)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestBadConfigs(t *testing.T) {
	t.Parallel()
	listen := []netip.AddrPort{netip.MustParseAddrPort("[::1]:0")}
	for want, cfg := range map[string]Config{
		"requests at a time -1: want 1 to 65536": {Name: "a", Listen: listen, MaxRequests: -1},
		"CPUs -1: want 1 to 65536":               {Name: "a", Listen: listen, CPUs: -1},
		"grace -1s: want more than 0":            {Name: "a", Listen: listen, Grace: -time.Second},
		"no address to listen on":                {Name: "a"},
		`site "a b": site name: 1 to 32 printable ASCII characters without spaces`: {Name: "a b", Listen: listen},
	} {
		if _, err := New(cfg); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestCosts(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"":                      "0s 0s",
		"cpu=5ms&delay=20ms":    "5ms 20ms",
		"delay=30s":             "0s 30s",
		"cpu=1s":                "1s 0s",
		"other=1":               "0s 0s",
		"cpu=1001ms":            `cpu="1001ms": want one time from 0s to 1s, such as 5ms`,
		"delay=31s":             `delay="31s": want one time from 0s to 30s, such as 5ms`,
		"cpu=-1ms":              `cpu="-1ms": want one time from 0s to 1s, such as 5ms`,
		"cpu=5":                 `cpu="5": want one time from 0s to 1s, such as 5ms`,
		"cpu=":                  `cpu="": want one time from 0s to 1s, such as 5ms`,
		"cpu=1ms&cpu=1ms":       `cpu="1ms": want one time from 0s to 1s, such as 5ms`,
		"cpu=9999999999999999h": `cpu="9999999999999999h": want one time from 0s to 1s, such as 5ms`,
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseCost(values)
		got := fmt.Sprint(c.cpu, " ", c.delay)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s; want %s", query, got, want)
		}
	}
}

// Burning takes CPU time, not only time, and ends with its context.
func TestBurn(t *testing.T) {
	t.Parallel()
	b := newBurner(1)
	if err := b.burn(t.Context(), 3*time.Millisecond); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.burn(ctx, maxCost); err == nil {
		t.Error("burnt for nobody")
	}
	b <- struct{}{}
	if err := b.burn(ctx, time.Millisecond); err == nil {
		t.Error("burnt without a CPU")
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	var w window
	at := func(s float64) time.Time { return time.Unix(1000, int64(s*1e9)) }
	ok := served{latency: 2 * time.Millisecond, cpu: time.Millisecond}
	steps := []struct {
		at   float64
		add  *served
		n    int
		fail int
		span time.Duration
	}{
		{0, nil, 0, 0, time.Second},
		{0.5, &ok, 1, 0, time.Second},
		{1.5, &served{failed: true}, 2, 1, 1500 * time.Millisecond},
		{9.5, &ok, 3, 1, 9500 * time.Millisecond},
		{10.5, nil, 2, 1, 9500 * time.Millisecond}, // the first second is gone
		{11.5, nil, 1, 0, 9500 * time.Millisecond},
		{11.2, &ok, 2, 0, 9200 * time.Millisecond}, // requests end in any order
		{100, nil, 0, 0, 9 * time.Second},
		{50, &ok, 0, 0, time.Second}, // too old
	}
	for _, s := range steps {
		if s.add != nil {
			w.add(at(s.at), *s.add)
		}
		sum, span := w.sum(at(s.at))
		if sum.n != s.n || sum.failed != s.fail || span != s.span {
			t.Errorf("at %g: %+v in %s; want %d, %d failed, in %s", s.at, sum, span, s.n, s.fail, s.span)
		}
		if want := time.Duration(s.n-s.fail) * ok.latency; sum.latency != want {
			t.Errorf("at %g: latency %s; want %s", s.at, sum.latency, want)
		}
	}
}
