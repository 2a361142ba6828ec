package dnsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/unixapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake knows one service, and writes down what it is asked.
type fake struct {
	mu    sync.Mutex
	asked []string
}

func (f *fake) note(what ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprint(what...))
}

func (f *fake) Status() Status { return testStatus }

func (f *fake) Service(name string) (Service, error) {
	if f.note("service ", name); name != "api.edge.example." {
		return Service{}, fmt.Errorf("service %q: %w", name, ErrNotFound)
	}
	return testService, nil
}

func (f *fake) Why(q Question) (Decision, error) {
	if f.note("why ", q); q.Type == "X" {
		return Decision{}, errors.New(`type "X": is none`)
	}
	return testDecision, nil
}

func (f *fake) Drain(service string, a netip.Addr) (Drained, error) {
	f.note("drain ", service, " ", a)
	return Drained{service, a, true, true}, nil
}

func (f *fake) Undrain(service string, a netip.Addr) (Drained, error) {
	f.note("undrain ", service, " ", a)
	return Drained{}, errors.New("disk full")
}

var (
	testTime     = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	testAge      = 1.5
	testSummary  = Summary{Name: "api.edge.example.", Policy: "capacity", Answers: 2, Endpoints: 2, Up: 1, Panic: []string{"IPv6: no endpoint is up"}}
	testEndpoint = Endpoint{
		Address: netip.MustParseAddr("2001:db8:1::10"), Port: 8080, State: "up", Since: testTime, Reason: "r", Capacity: 100, Weight: 80,
		Weighing: "feedback 0.80", LoadAge: &testAge, Share: 0.5, Picked: true, Draining: "by request",
	}
	testService = Service{testSummary, []Endpoint{testEndpoint}}
	testStatus  = Status{
		Site: "mec-1", Version: "v1", Listen: []netip.AddrPort{netip.MustParseAddrPort("[::1]:53")}, Synced: true, Changed: testTime,
		Reload: Reload{File: "f", Loaded: testTime, Tried: testTime, Error: "e"}, Services: []Summary{testSummary},
	}
	testDecision = Decision{
		Name: "api.edge.example.", Type: "AAAA", Client: netip.MustParseAddr("2001:db8::1"), Subnet: netip.MustParsePrefix("2001:db8:2::/56"), Site: "mec-1",
		Zone: "edge.example.", View: "inside", Rcode: "NOERROR", Answer: []string{"a"}, Reason: "why", Service: &testSummary, Candidates: []Endpoint{testEndpoint},
	}
)

var exact = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

// What is asked reaches the program, and what it says comes back whole.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	path, program := filepath.Join(t.TempDir(), "dns.sock"), new(fake)
	l, err := unixapi.Listen(path, "admin.socket")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, program, slog.New(slog.DiscardHandler)) }()
	c, a := NewClient(path), netip.MustParseAddr("2001:db8:1::10")
	status, err := c.Status(t.Context())
	same(t, testStatus, status, err)
	service, err := c.Service(t.Context(), "api.edge.example.")
	same(t, testService, service, err)
	decision, err := c.Why(t.Context(), Question{"api.edge.example.", "AAAA", a, netip.MustParsePrefix("2001:db8:2::/56")})
	same(t, testDecision, decision, err)
	decision, err = c.Why(t.Context(), Question{Name: "x y&z"})
	same(t, testDecision, decision, err)
	drained, err := c.Drain(t.Context(), "api.edge.example.", a)
	same(t, Drained{"api.edge.example.", a, true, true}, drained, err)
	if _, err := c.Undrain(t.Context(), "api.edge.example.", a); err == nil || err.Error() != "disk full" {
		t.Errorf("undrain: %v", err)
	}
	if _, err := c.Service(t.Context(), "no"); !errors.Is(err, ErrNotFound) || err.Error() != `service "no": not found` {
		t.Errorf("no such service: %v", err)
	}
	if _, err := c.Why(t.Context(), Question{Name: "a", Type: "X"}); err == nil || err.Error() != `type "X": is none` {
		t.Errorf("no such type: %v", err)
	}
	for query, want := range map[string]string{
		"client=x": `client "x": must be an IP address`, "subnet=::1": `subnet "::1": must be a prefix, such as 2001:db8::/56`,
	} {
		if err := c.api.Ask(t.Context(), "GET", "/v1/why?"+query, nil, nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v", query, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	want := []string{
		"service api.edge.example.", "why {api.edge.example. AAAA 2001:db8:1::10 2001:db8:2::/56}", "why {x y&z  invalid IP invalid Prefix}",
		"drain api.edge.example. 2001:db8:1::10", "undrain api.edge.example. 2001:db8:1::10", "service no", "why {a X invalid IP invalid Prefix}",
	}
	if diff := cmp.Diff(want, program.asked); diff != "" {
		t.Errorf("asked (-want +got)\n%s", diff)
	}
}

func same[T any](t *testing.T, want, got T, err error) {
	t.Helper()
	if diff := cmp.Diff(want, got, exact); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// What tools read.
func TestJSON(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(testService)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"api.edge.example.","policy":"capacity","answers":2,"endpoints":2,"up":1,"draining":0,"panic":["IPv6: no endpoint is up"],` +
		`"list":[{"address":"2001:db8:1::10","port":8080,"state":"up","since":"2026-01-01T00:00:00Z","reason":"r","capacity":100,"weight":80,` +
		`"weighing":"feedback 0.80","load_age_s":1.5,"share":0.5,"picked":true,"draining":"by request"}]}`
	if diff := cmp.Diff(want, string(b)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
