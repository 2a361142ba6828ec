package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/app"
	"github.com/anyedge/anyedge/pkg/probe"
)

// A fakeDNS answers A questions with its addresses, and AAAA questions with none.
type fakeDNS struct {
	mu        sync.Mutex // guards following
	addresses []netip.Addr
	ttl       time.Duration
	err       error
	asked     int
}

func (f *fakeDNS) Ask(_ context.Context, q probe.Question) (probe.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	r := probe.Response{Rcode: "NOERROR", Site: "mec-1", TTL: f.ttl}
	if q.Type == "A" {
		r.Addresses = f.addresses
		for _, a := range f.addresses {
			r.Values = append(r.Values, a.String())
		}
	}
	return r, f.err
}

func (f *fakeDNS) set(addresses ...netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addresses = addresses
}

// startPod runs an app until the test, or the function that is returned, ends it.
func startPod(t *testing.T, name, listen string) (netip.AddrPort, func()) {
	t.Helper()
	nettest.Need(t)
	a, err := app.New(app.Config{Name: name, Listen: []netip.AddrPort{netip.MustParseAddrPort(listen)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	select {
	case <-a.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return a.Addrs()[0], stop
}

func newTestRun(t *testing.T, dns asker, port uint16, change func(*HTTPConfig)) *httpRun {
	t.Helper()
	cfg := HTTPConfig{
		Load:   Load{Clients: 10, Rate: 100, Fixed: true, Duration: 300 * time.Millisecond, Timeout: 10 * time.Second},
		Server: netip.MustParseAddrPort("127.0.0.1:53"), Name: "api.edge.example", Port: port, Path: "/",
		Retries: 2, ConnectTimeout: 5 * time.Second, MaxSockets: 100,
	}
	if change != nil {
		change(&cfg)
	}
	h, err := NewHTTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := newHTTPRun(h, dns)
	t.Cleanup(r.close)
	return r
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	pod, _ := startPod(t, "pod-1", "127.0.0.21:0")
	for name, keep := range map[string]bool{"keep-alive": true, "close": false} {
		dns := &fakeDNS{addresses: []netip.Addr{pod.Addr()}, ttl: time.Hour}
		got := newTestRun(t, dns, pod.Port(), func(cfg *HTTPConfig) { cfg.KeepAlive = keep }).run(t.Context())
		connections := 30
		if keep {
			connections = 10 // one of each client, at least: requests of one client are 100 ms apart
		}
		if got.Scheduled != 30 || got.OK != 30-got.Skipped || got.Failed != 0 || got.Lookups < 20 ||
			got.Connections < connections-got.Skipped || got.IPv4 != got.Connections || got.Gaps.Asking != 10 || got.Gaps.Clients != 0 {
			t.Errorf("%s: %+v", name, got)
		}
		if p := got.Pods[pod.Addr().String()]; p.Name != "pod-1" || p.OK != got.OK || p.Share != 1 {
			t.Errorf("%s: pods %+v", name, got.Pods)
		}
		var text strings.Builder
		if err := got.WriteText(&text); err != nil || !strings.Contains(text.String(), "pod-1") {
			t.Errorf("%s: %v\n%s", name, err, text.String())
		}
	}
}

// When a pod dies, who honours TTLs and asks again goes on; who keeps the first address for good does not.
func TestPodDies(t *testing.T) {
	t.Parallel()
	first, stop := startPod(t, "pod-1", "127.0.0.31:0")
	second, _ := startPod(t, "pod-2", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.32"), first.Port()).String())
	dns := &fakeDNS{addresses: []netip.Addr{first.Addr()}, ttl: time.Hour}
	one := func(ignore bool) *httpRun {
		return newTestRun(t, dns, first.Port(), func(cfg *HTTPConfig) { cfg.Clients, cfg.IgnoreTTL = 1, ignore })
	}
	honours, ignores := one(false), one(true)
	for _, r := range []*httpRun{honours, ignores} {
		if res := r.fetch(deadline(t), &r.clients[0]); res.failure != nil || res.reply.name != "pod-1" {
			t.Fatalf("%+v", res)
		}
	}
	stop()
	dns.set(second.Addr())
	if res := honours.fetch(deadline(t), &honours.clients[0]); res.failure != nil || res.reply.name != "pod-2" || res.retries != 1 {
		t.Errorf("honouring TTLs: %+v; want pod-2 after 1 retry", res)
	}
	if res := ignores.fetch(deadline(t), &ignores.clients[0]); res.failure == nil || res.failure.kind != kindConnect || res.retries != 2 || res.address != first.Addr() {
		t.Errorf("ignoring TTLs: %+v; want a failure to connect to %s after 2 retries", res, first)
	}
	honours.lookups.Wait()
	ignores.lookups.Wait()
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Requests that wait for a socket were due all the same: what they waited is in their latency, and none is left out.
func TestLatencyCountsFromWhenItWasDue(t *testing.T) {
	t.Parallel()
	const service = 50 * time.Millisecond
	pod := rawPod(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			time.Sleep(service)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	dns := &fakeDNS{addresses: []netip.Addr{pod.Addr()}, ttl: time.Hour}
	got := newTestRun(t, dns, pod.Port(), func(cfg *HTTPConfig) {
		cfg.Rate, cfg.Duration, cfg.MaxSockets = 1000, 10*time.Millisecond, 1
	}).run(t.Context())
	// They were due within 10 ms, and are served one after the other.
	least := float64(got.OK)*float64(service)/float64(time.Millisecond) - 10
	if got.Scheduled != 10 || got.OK != 10-got.Skipped || got.LatencyMs.Max < least || got.OK > 4 && got.LatencyMs.P50 < least/3 {
		t.Errorf("%d of %d skipped, %d ok, latency %+v; want the last one after %.0f ms", got.Skipped, got.Scheduled, got.OK, got.LatencyMs, least)
	}
}

// rawPod answers each connection by a function.
func rawPod(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestFailures(t *testing.T) {
	t.Parallel()
	answering := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, text)
		}
	}
	for name, tt := range map[string]struct {
		serve func(net.Conn)
		dns   error
		kind  string
	}{
		"status":          {answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), nil, kindStatus},
		"redirect":        {answering("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), nil, kindStatus},
		"closed":          {answering(""), nil, kindReset},
		"closed in head":  {answering("HTTP/1.1 200 OK\r\n"), nil, kindReset},
		"closed in body":  {answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), nil, kindReset},
		"no HTTP":         {answering("SSH-2.0-OpenSSH_9.2\r\n"), nil, kindProtocol},
		"endless head":    {answering("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxAnswer)), nil, kindProtocol},
		"endless 1xx":     {answering(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100)), nil, kindProtocol},
		"1xx is no error": {answering("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"), nil, ""},
		"until closed":    {answering("HTTP/1.0 200 OK\r\n\r\nhello"), nil, ""},
		"reset": {func(conn net.Conn) {
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_ = conn.(*net.TCPConn).SetLinger(0)
		}, nil, kindReset},
		"DNS": {answering(""), errors.New("no"), kindResolve},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pod := rawPod(t, tt.serve)
			r := newTestRun(t, &fakeDNS{addresses: []netip.Addr{pod.Addr()}, err: tt.dns}, pod.Port(), nil)
			kind := ""
			if res := r.fetch(deadline(t), &r.clients[0]); res.failure != nil {
				kind = res.failure.kind
			}
			r.lookups.Wait()
			if kind != tt.kind {
				t.Errorf("%q; want %q", kind, tt.kind)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	pod := rawPod(t, func(net.Conn) { <-release })
	r := newTestRun(t, &fakeDNS{addresses: []netip.Addr{pod.Addr()}}, pod.Port(), nil)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	res := r.fetch(ctx, &r.clients[0])
	close(release)
	r.lookups.Wait()
	if res.failure == nil || res.failure.kind != kindTimeout || res.address != pod.Addr() {
		t.Errorf("%+v; want a timeout", res)
	}
}

// A pod may close a kept connection at any time: that is no failure.
func TestStaleConnection(t *testing.T) {
	t.Parallel()
	var served atomic.Int32
	pod := rawPod(t, func(conn net.Conn) { // promises to keep the connection, and does not
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			served.Add(1)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	r := newTestRun(t, &fakeDNS{addresses: []netip.Addr{pod.Addr()}, ttl: time.Hour}, pod.Port(), func(cfg *HTTPConfig) { cfg.KeepAlive = true })
	for n := range 3 {
		if res := r.fetch(deadline(t), &r.clients[0]); res.failure != nil || res.stale != (n > 0) {
			t.Errorf("request %d: %+v", n, res)
		}
	}
	r.lookups.Wait()
	if served.Load() != 3 {
		t.Errorf("served %d requests; want 3", served.Load())
	}
}

func TestBadHTTPConfigs(t *testing.T) {
	t.Parallel()
	good := HTTPConfig{
		Load:   Load{Clients: 1, Rate: 1, Timeout: time.Second},
		Server: netip.MustParseAddrPort("[::1]:53"), Name: "a.example", Port: 80, Path: "/", ConnectTimeout: time.Second, MaxSockets: 1,
	}
	if _, err := NewHTTP(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*HTTPConfig){
		"server [::]:53: want the ADDRESS:PORT of a DNS server":                       func(c *HTTPConfig) { c.Server = netip.MustParseAddrPort("[::]:53") },
		"server invalid AddrPort: want the ADDRESS:PORT of a DNS server":              func(c *HTTPConfig) { c.Server = netip.AddrPort{} },
		"name: missing: that of the service":                                          func(c *HTTPConfig) { c.Name = "" },
		`DNS name "a..b": not a domain name`:                                          func(c *HTTPConfig) { c.Name = "a..b" },
		"port 0: want that of the pods, 1 to 65535":                                   func(c *HTTPConfig) { c.Port = 0 },
		`path "x": want / and what a URL may have, up to 2000 bytes`:                  func(c *HTTPConfig) { c.Path = "x" },
		`path "/ HTTP/1.1\r\nX: y": want / and what a URL may have, up to 2000 bytes`: func(c *HTTPConfig) { c.Path = "/ HTTP/1.1\r\nX: y" },
		"retries -1: want 0 to 100":                                                   func(c *HTTPConfig) { c.Retries = -1 },
		"connect timeout 0s: want more than 0":                                        func(c *HTTPConfig) { c.ConnectTimeout = 0 },
		"sockets 0: want 1 to 60000":                                                  func(c *HTTPConfig) { c.MaxSockets = 0 },
		"clients 0: want 1 to 1000000":                                                func(c *HTTPConfig) { c.Clients = 0 },
		"rate 0: want 0.001 to 1000000 requests per second":                           func(c *HTTPConfig) { c.Rate = 0 },
		"duration -1s: want 0 (until interrupted) or more":                            func(c *HTTPConfig) { c.Duration = -time.Second },
		"timeout 0s: want more than 0, up to 5m0s":                                    func(c *HTTPConfig) { c.Timeout = 0 },
	} {
		cfg := good
		change(&cfg)
		if _, err := NewHTTP(cfg); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// FuzzReadReply reads answers of any pod: never a panic, never more than is allowed, never an odd name.
func FuzzReadReply(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"name\": \"pod-1\"}"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{\"name\": \"pod-1\"}\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 Service Unavailable\r\n\r\nno"))
	f.Add([]byte("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		r, err := readReply(bufio.NewReader(bytes.NewReader(wire)))
		if err != nil {
			return
		}
		if r.status < 200 || len(strconv.Itoa(r.status)) != 3 || len(r.name) > maxName || strings.ContainsAny(r.name, " \n\r\t\x1b") {
			t.Errorf("%+v from %q", r, wire)
		}
	})
}
