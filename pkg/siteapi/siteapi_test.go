package siteapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/unixapi"
)

// net/http lingers half a second over a connection that it refused in the middle of a body.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// fakeAgent drains at once.
type fakeAgent struct {
	mu     sync.Mutex
	state  string
	orders []string
	err    error
}

func (f *fakeAgent) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Status{Site: "mec-1", Services: []Service{{Name: "dns", State: f.state}}}
}

func (f *fakeAgent) obey(what, state string, services []string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orders = append(f.orders, fmt.Sprint(what, services))
	if f.err == nil {
		f.state = state
	}
	return f.err
}

func (f *fakeAgent) Drain(services ...string) error   { return f.obey("drain", "draining", services) }
func (f *fakeAgent) Undrain(services ...string) error { return f.obey("undrain", "up", services) }

func socket(t *testing.T) string { return filepath.Join(t.TempDir(), "run", "agent.sock") }

// serve starts a server that ends with the test, or when stop is called.
func serve(t *testing.T, agent Agent) (s *Server, path string, stop func()) {
	t.Helper()
	path = socket(t)
	l, err := unixapi.Listen(path, "api.socket")
	if err != nil {
		t.Fatal(err)
	}
	s = NewServer(agent, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(stop)
	return s, path, stop
}

func TestOrders(t *testing.T) {
	t.Parallel()
	agent := &fakeAgent{state: "up"}
	_, path, _ := serve(t, agent)
	c := NewClient(path)
	for _, step := range []struct {
		do   func(context.Context, string) (Status, error)
		what string
		want string
	}{
		{c.Drain, "dns", "draining"}, {c.Undrain, "dns", "up"}, {c.Drain, "", "draining"},
	} {
		s, err := step.do(t.Context(), step.what)
		if err != nil || s.Services[0].State != step.want {
			t.Errorf("%+v, %v, want %s", s, err, step.want)
		}
	}
	if diff := cmp.Diff([]string{"drain[dns]", "undrain[dns]", "drain[]"}, agent.orders); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if s, err := c.Status(t.Context()); err != nil || s.Site != "mec-1" {
		t.Errorf("%+v, %v", s, err)
	}
	agent.err = fmt.Errorf("%w: %q", ErrNoService, "x")
	if _, err := c.Drain(t.Context(), "x"); !errors.Is(err, ErrNoService) || err.Error() != `no such service: "x"` {
		t.Errorf("unknown service: %v", err)
	}
	agent.err = errors.New("disk full")
	if _, err := c.Drain(t.Context(), "dns"); err == nil || err.Error() != "disk full" {
		t.Errorf("failing agent: %v", err)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	agent := &fakeAgent{state: "up"}
	s, path, stop := serve(t, agent)
	c := NewClient(path)
	var states []string
	err := c.Watch(t.Context(), func(st Status) error {
		states = append(states, st.Services[0].State)
		switch len(states) {
		case 1:
			s.Notify() // nothing changed: no line
			if _, err := c.Drain(t.Context(), "dns"); err != nil {
				t.Error(err)
			}
			s.Notify()
		case 2:
			stop()
		}
		return nil
	})
	if err == nil || !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "has gone") {
		t.Errorf("Watch of an agent that stops: %v", err)
	}
	if diff := cmp.Diff([]string{"up", "draining"}, states); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "no edgeagent at "+path) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	_, path, _ := serve(t, &fakeAgent{})
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", path)
	}}}
	for _, tt := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/v1/drain", "", 400}, {"POST", "/v1/drain", "[]", 400}, {"POST", "/v1/drain", `{"x":1}`, 400},
		{"POST", "/v1/drain", `{"service":"` + strings.Repeat("x", 4<<10) + `"}`, 400},
		{"GET", "/v1/drain", "", 405}, {"POST", "/v1/status", "", 405}, {"GET", "/", "", 404},
	} {
		r, err := http.NewRequestWithContext(t.Context(), tt.method, "http://agent"+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != tt.want {
			t.Errorf("%s %s %.20q: %d, want %d", tt.method, tt.path, tt.body, answer.StatusCode, tt.want)
		}
	}
}

// What tools read.
func TestJSON(t *testing.T) {
	t.Parallel()
	left := 0
	s := Status{
		Services:  []Service{{Name: "dns", VIPs: []VIP{{Guard: &VIPGuard{Holds: "budget", WithdrawalsLeft: &left}, Bridge: &VIPBridge{Targets: []Target{{"mec-2-a", 80}}}}}}},
		Neighbors: []Neighbor{{BFD: &BFD{State: "up", Interval: Milliseconds(10 * time.Millisecond), Detection: Milliseconds(33333 * time.Microsecond)}}},
		Peers:     []Peer{{Name: "mec-2-a", RTT: Milliseconds(12345678)}},
		Bridge:    &Bridge{Mode: "srv6", Problems: []Problem{{"mtu", "what", "remedy", true}}},
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"vips":[{"address":"","announce":"","bridge":{"targets":[{"peer":"mec-2-a","weight":80}],"since":"0001-01-01T00:00:00Z","packets":0,"bytes":0,"dropped":0},"guard":{"holds":"budget","withdrawals_left":0}}]`,
		`"interval_ms":10,"detection_ms":33.333,"real_time":false`,
		`"rtt_ms":12.345678,`,
		`"bridge":{"mode":"srv6","problems":[{"name":"mtu","what":"what","remedy":"remedy","fatal":true}]}`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in\n%s", want, b)
		}
	}
	var back Status
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, back, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("there and back (-want +got)\n%s", diff)
	}
}
