package discovery

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/app"
	"github.com/anyedge/anyedge/pkg/steering"
)

// run runs a scraper until the test ends.
func run(t testing.TB, s *Scraper) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// fakePods are reached over pipes, so that a fake clock does for them; each answers with its page, or not at all.
type fakePods map[netip.AddrPort]func() string

func (p fakePods) dial(ctx context.Context, _, address string) (net.Conn, error) {
	page := p[netip.MustParseAddrPort(address)]
	if page == nil { // nobody is there: as if it were lost on the way
		<-ctx.Done()
		return nil, ctx.Err()
	}
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		requests := bufio.NewReader(there)
		for {
			if _, err := http.ReadRequest(requests); err != nil {
				return
			}
			body := page()
			if _, err := fmt.Fprintf(there, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
				return
			}
		}
	}()
	return here, nil
}

func fakeTarget(n uint16) Target {
	return Target{
		Address: netip.AddrPortFrom(netip.IPv6Loopback(), n), Path: "/metrics", Format: Prometheus,
		Interval: time.Second, Timeout: 500 * time.Millisecond,
	}
}

func inFlight(n int) func() string {
	return func() string { return fmt.Sprintf("http_requests_in_flight %d\n", n) }
}

// The latest load of each target is known, of those that stay also after Set, of others not.
func TestScraper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := fakeTarget(1), fakeTarget(2), fakeTarget(3)
		busy := 1
		s := NewScraper(nil)
		s.dial = fakePods{
			a.Address: func() string { busy++; return inFlight(busy)() },
			b.Address: inFlight(20), c.Address: inFlight(30),
		}.dial
		s.shift = 0.25 // no slot of theirs begins or ends with a second
		latest := func() string {
			var got []string
			for _, target := range []Target{a, b, c} {
				got = append(got, fmt.Sprint(s.Latest(target).InFlight.Value))
			}
			return strings.Join(got, " ")
		}
		s.Set(a, b, a)
		run(t, s)
		for _, step := range []struct {
			set  []Target
			want string
		}{
			{nil, "2 20 0"},
			{nil, "3 20 0"},
			{[]Target{c, a}, "4 0 30"},
			{[]Target{a}, "5 0 0"},
			{[]Target{}, "0 0 0"},
			{[]Target{a, b}, "6 20 0"}, // what is gone begins anew
		} {
			if step.set != nil {
				s.Set(step.set...)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if got := latest(); got != step.want {
				t.Errorf("loads are %s, want %s", got, step.want)
			}
		}
	})
}

// Pods that hang hold up each other and nobody else, however many they are; each stays with what it told last.
func TestHungPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods, targets := make(fakePods), []Target(nil)
		for i := range uint16(100) {
			target := fakeTarget(i + 1)
			if i%10 == 0 {
				pods[target.Address] = inFlight(7)
			}
			targets = append(targets, target)
		}
		s := NewScraper(nil)
		s.dial = pods.dial
		s.lanes = [2]chan struct{}{make(chan struct{}, 4), make(chan struct{}, 4)}
		s.Set(targets...)
		run(t, s)
		time.Sleep(20 * time.Second)
		for range 10 {
			time.Sleep(time.Second)
			for _, target := range targets {
				if _, works := pods[target.Address]; works {
					if l := s.Latest(target); l.InFlight != steering.Read(7) || time.Since(l.At) > 1200*time.Millisecond {
						t.Fatalf("%s is known by %+v, %s old", target.Address, l, time.Since(l.At))
					}
				}
			}
		}
	})
}

// What happens to a pod is logged once, with its reason.
func TestScraperTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		target := fakeTarget(1)
		var page atomic.Value
		page.Store(inFlight(1))
		var log bytes.Buffer
		s := NewScraper(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})))
		s.dial = fakePods{target.Address: func() string { return page.Load().(func() string)() }}.dial
		s.Set(target)
		run(t, s)
		time.Sleep(3 * time.Second)
		page.Store(func() string { return "up 1\n" })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got, want := s.Trouble(target), "tells none of the metrics that are looked for"; got != want {
			t.Errorf("trouble %q, want %q", got, want)
		}
		page.Store(func() string { time.Sleep(time.Second); return "" })
		time.Sleep(3 * time.Second)
		page.Store(inFlight(2))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		want := `level=WARN msg="load is not told" target=[::1]:1 path=/metrics err="tells none of the metrics that are looked for"
level=INFO msg="load is told again" target=[::1]:1 path=/metrics
`
		if diff := cmp.Diff(want, log.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := s.Latest(target).InFlight; got != steering.Read(2) {
			t.Errorf("in flight %v", got)
		}
		if got := s.Trouble(target) + s.Trouble(fakeTarget(2)); got != "" {
			t.Errorf("trouble %q", got)
		}
	})
}

func TestExplain(t *testing.T) {
	t.Parallel()
	nettest.Need(t)
	target := fakeTarget(1)
	s := NewScraper(nil)
	dead := s.add(target, make(map[layoutKey]*layout))
	dead.line = newLine(target, s.dial)
	if err := s.ask(t.Context(), dead, time.Now()); text(err) != "connect: connection refused" {
		t.Errorf("nobody listens: %v", err)
	}
	silent := newPod(t, func(conn net.Conn, _ *bufio.Reader) { _, _ = io.Copy(io.Discard, conn) })
	target.Address, target.Timeout = silent.addr, 10*time.Millisecond
	hung := s.add(target, make(map[layoutKey]*layout))
	hung.line = newLine(target, s.dial)
	if err := s.ask(t.Context(), hung, time.Now()); text(err) != "no answer within 10ms" {
		t.Errorf("nobody answers: %v", err)
	}
	hung.line.hangUp()
}

// startApp runs edgeprobe app until the test ends.
func startApp(t testing.TB, cfg app.Config) netip.AddrPort {
	t.Helper()
	nettest.Need(t)
	registry := prometheus.NewPedanticRegistry()
	cfg.Name, cfg.Listen, cfg.Gatherer = "pod", []netip.AddrPort{netip.MustParseAddrPort("[::1]:0")}, registry
	a, err := app.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	registry.MustRegister(a)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-a.Ready()
	return a.Addrs()[0]
}

// edgeprobe app tells the same load in all its ways: requests in flight, how long one took, what it burnt.
func TestApp(t *testing.T) {
	t.Parallel()
	addr := startApp(t, app.Config{})
	target := Target{Address: addr, Path: "/metrics", Format: Prometheus, Interval: 20 * time.Millisecond, Timeout: 20 * time.Second}
	other := target
	other.Path, other.Format = "/load", JSON
	s := NewScraper(nil)
	s.Set(target, other)
	run(t, s)
	ctx, giveUp := context.WithCancel(t.Context())
	waits := make(chan struct{})
	go func() {
		defer close(waits)
		get(ctx, fmt.Sprintf("http://%s/?delay=30s", addr))
	}()
	defer func() { giveUp(); <-waits }()
	for _, target := range []Target{target, other} {
		await(t, func() bool {
			get(t.Context(), fmt.Sprintf("http://%s/?cpu=1ms&delay=5ms", addr))
			l := s.Latest(target)
			return l.InFlight.Known && l.InFlight.Value >= 1 && l.Latency.Value > 0.005 && l.Latency.Value < 20 && l.CPU.Value > 0
		}, func() any { return s.Latest(target) })
	}
}

func get(ctx context.Context, url string) {
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if response, err := client.Do(request); err == nil {
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
}

// await waits until ok, at most for 20 s, and tells what there is instead.
func await(t *testing.T, ok func() bool, is func() any) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it stays %+v", is())
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := NewScraper(nil)
	s.Set(fakeTarget(1), fakeTarget(2), fakeTarget(1))
	s.metrics.request(nil, time.Millisecond)
	s.metrics.request(io.EOF, time.Second)
	problems, err := testutil.CollectAndLint(s)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	const want = `# HELP anyedge_discovery_load_scrapes_total Requests for the load of pods by result; failure: no answer in time, or none that tells a load.
# TYPE anyedge_discovery_load_scrapes_total counter
anyedge_discovery_load_scrapes_total{result="failure"} 1
anyedge_discovery_load_scrapes_total{result="success"} 1
# HELP anyedge_discovery_load_targets Pods that are asked for their load.
# TYPE anyedge_discovery_load_targets gauge
anyedge_discovery_load_targets 2
`
	if err := testutil.CollectAndCompare(s, strings.NewReader(want), "anyedge_discovery_load_scrapes_total", "anyedge_discovery_load_targets"); err != nil {
		t.Error(err)
	}
}
