package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/unixapi"
	"github.com/anyedge/anyedge/pkg/siteapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAgent takes every order, and reaches the end of it in two steps.
type fakeAgent struct {
	server *siteapi.Server
	mu     sync.Mutex
	state  string
	end    string // that follows state once that was told; empty: nothing does
	tells  int    // so often: in the answer to an order, and to who waits
	stuck  bool
}

func (f *fakeAgent) Status() siteapi.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tells--; f.tells == 0 && f.end != "" {
		go f.set(f.end)
	}
	p := netip.MustParsePrefix("2001:db8:53::53/128")
	s := siteapi.Service{
		Name: "dns", State: f.state, Since: time.Now().Add(-90 * time.Second), Reason: "because",
		VIPs:   []siteapi.VIP{{Address: p, Announce: p}, {Address: p, Announce: netip.MustParsePrefix("2001:db8:53::/48")}},
		Checks: []siteapi.Check{{Name: "socket", State: "up", Reason: "bound"}},
	}
	return siteapi.Status{Site: "mec-1", Version: "v1", Services: []siteapi.Service{s}, Neighbors: []siteapi.Neighbor{
		{Address: netip.MustParseAddr("fd00:1::1"), ASN: 65533, State: "established", Families: []string{"ipv6-unicast"}, NotCarried: []netip.Prefix{netip.MustParsePrefix("192.0.2.53/32")}},
	}}
}

func (f *fakeAgent) set(state string) {
	f.mu.Lock()
	f.state = state
	f.mu.Unlock()
	f.server.Notify()
}

func (f *fakeAgent) obey(services []string, between, end string) error {
	if len(services) > 0 && services[0] != "dns" {
		return fmt.Errorf("%w: %q", siteapi.ErrNoService, services[0])
	}
	f.mu.Lock()
	f.state, f.end, f.tells = between, end, 2
	if f.stuck {
		f.end = ""
	}
	f.mu.Unlock()
	f.server.Notify()
	return nil
}

func (f *fakeAgent) Drain(services ...string) error   { return f.obey(services, "draining", "drained") }
func (f *fakeAgent) Undrain(services ...string) error { return f.obey(services, "settling", "up") }

func serve(t *testing.T) (*fakeAgent, string) {
	t.Helper()
	f, path, _ := serveUntil(t)
	return f, path
}

// serveUntil serves until stop is called, or the test ends.
func serveUntil(t *testing.T) (f *fakeAgent, path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "agent.sock")
	l, err := unixapi.Listen(path, "api.socket")
	if err != nil {
		t.Fatal(err)
	}
	f = &fakeAgent{state: "up"}
	f.server = siteapi.NewServer(f, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ctx, l) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return f, path, stop
}

func edgectl(args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(args, &out, &err)
	return status, out.String(), err.String()
}

func TestStatus(t *testing.T) {
	_, socket := serve(t)
	status, out, errs := edgectl("status", "--socket", socket)
	want := `site mec-1, edgeagent v1

SERVICE  STATE  FOR    REASON
dns      up     1m30s  because

VIP              SERVICE  STATE  FOR  ANNOUNCED            REASON
2001:db8:53::53  dns      -      -    -                    -
2001:db8:53::53  dns      -      -    in 2001:db8:53::/48  -

CHECK       STATE  FOR  REASON
dns/socket  up     -    bound

NEIGHBOR   SESSION      FOR  AS     REMARK
fd00:1::1  established  -    65533  cannot carry [192.0.2.53/32]
`
	if diff := cmp.Diff(want, out); status != 0 || errs != "" || diff != "" {
		t.Errorf("%d %s (-want +got)\n%s", status, errs, diff)
	}
	_, out, _ = edgectl("status", "--socket", socket, "-o", "json")
	var s siteapi.Status
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Services[0].Name != "dns" {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestOrders(t *testing.T) {
	_, socket := serve(t)
	for _, tt := range []struct {
		args []string
		told string
	}{
		{[]string{"drain", "dns", "--wait"}, "dns draining: because\ndns drained: because\n"},
		{[]string{"undrain", "--wait"}, "dns settling: because\ndns up: because\n"},
		{[]string{"drain"}, ""},
	} {
		status, out, errs := edgectl(append(tt.args, "--socket", socket)...)
		if status != 0 || out != "" || errs != tt.told {
			t.Errorf("%v: %d %q %q", tt.args, status, out, errs)
		}
	}
}

func TestErrors(t *testing.T) {
	f, socket := serve(t)
	f.stuck = true
	for want, args := range map[string][]string{
		"edgectl: no edgeagent at /nosuch/socket: is it running":          {"status", "--socket", "/nosuch/socket"},
		`no such service: "web"`:                                          {"drain", "web", "--socket", socket},
		"dns is still draining after 3s (because); the order stands":      {"drain", "--wait", "--timeout", "3s", "--socket", socket},
		"--output xml: must be":                                           {"status", "-o", "xml"},
		"leave it out":                                                    {"drain", ""},
		"unknown command \"up\"":                                          {"up"},
		`no VIP and no service "web": the agent has dns, 2001:db8:53::53`: {"explain", "web", "--socket", socket},
		"accepts at most 1 arg":                                           {"drain", "a", "b"},
	} {
		if status, _, errs := edgectl(args...); status != 1 || !strings.Contains(errs, want) {
			t.Errorf("%v: %d %q, want %s", args, status, errs, want)
		}
	}
}

func TestCompletion(t *testing.T) {
	_, socket := serve(t)
	if status, out, _ := edgectl("__complete", "--socket", socket, "explain", ""); status != 0 || !strings.HasPrefix(out, "dns\n2001:db8:53::53\n") {
		t.Errorf("%d %q", status, out)
	}
	if status, out, _ := edgectl("__complete", "--socket", socket, "drain", ""); status != 0 || !strings.HasPrefix(out, "dns\n") {
		t.Errorf("%d %q", status, out)
	}
}

// edgectl watch tells each state, and ends with an error when the agent does.
func TestWatch(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			f, socket, stop := serveUntil(t)
			told := &lines{said: make(chan string, 10)}
			ended := make(chan int, 1)
			var errs bytes.Buffer
			go func() { ended <- run([]string{"watch", "-o", format, "--socket", socket}, told, &errs) }()
			state := func() string {
				line := <-told.said
				if format == "json" {
					var s siteapi.Status
					if err := json.Unmarshal([]byte(line), &s); err != nil {
						t.Fatalf("%q: %v", line, err)
					}
					return "dns " + s.Services[0].State
				}
				_, what, _ := strings.Cut(line, " service ")
				name, _, _ := strings.Cut(what, ":")
				return name
			}
			var got []string
			for _, next := range []string{"draining", "drained"} {
				got = append(got, state())
				f.set(next)
			}
			got = append(got, state())
			stop()
			if status := <-ended; status != 1 || !strings.Contains(errs.String(), "edgeagent") {
				t.Errorf("%d %q", status, errs.String())
			}
			if diff := cmp.Diff([]string{"dns up", "dns draining", "dns drained"}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// lines hands out what is written to it: each write begins with a line of its own.
type lines struct{ said chan string }

func (l *lines) Write(b []byte) (int, error) {
	if len(b) > 0 {
		l.said <- string(b)
	}
	return len(b), nil
}

func TestTellerTellsOnce(t *testing.T) {
	f := &fakeAgent{state: "up", server: siteapi.NewServer(nil, nil)}
	var out strings.Builder
	teller := newTeller(&out)
	for range 2 {
		if err := teller.tell(f.Status()); err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(out.String(), "\n"); lines != 2 || !strings.Contains(out.String(), "service dns up: because") {
		t.Errorf("%d lines: %s", lines, out.String())
	}
}
