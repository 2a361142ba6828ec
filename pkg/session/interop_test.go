package session_test

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/bfd"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bgp/bgptest"
	"github.com/anyedge/anyedge/pkg/session"
)

var (
	daemon = netip.MustParseAddr("fd00:1::2")
	vip    = netip.MustParsePrefix("2001:db8:53::53/128")
	link   = bgptest.Link{Near: []string{"fd00:1::1/64"}, Far: []string{"fd00:1::2/64"}}
)

const secret = "secret"

// documented returns a code block of docs/routing.md, slowed down: tests share their processors with others.
func documented(t *testing.T, name string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "routing.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n```"+name+"\n")
	block, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatalf("docs/routing.md has no block %s", name)
	}
	return strings.NewReplacer("bfd 3 50 50", "bfd 3 200 200", "interval 50", "interval 200").Replace(block) + "\n"
}

// A site is a speaker gated by BFD, and what became of it.
type site struct {
	t        *testing.T
	d        *bgptest.Daemon
	speaker  *bgp.Speaker
	sessions *session.Sessions
	mu       sync.Mutex
	events   []session.Event
}

// start runs both until the end of the test.
func start(t *testing.T, watch bfd.Config, strict bool) *site {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	s := &site{t: t}
	neighbor := bgp.Neighbor{Address: daemon, ASN: 65533, Password: secret, TTLSecurity: true}
	var err error
	s.speaker, err = bgp.NewSpeaker(bgp.Config{
		ASN: 64611, RouterID: netip.MustParseAddr("10.0.0.1"), Neighbors: []bgp.Neighbor{neighbor}, Allowed: []netip.Prefix{vip},
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	watch.Peer, watch.Either = neighbor.Address, neighbor.TTLSecurity
	if s.sessions, err = session.New(log, s.speaker, s.on, session.Neighbor{Config: watch, Strict: strict}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var g errgroup.Group
	g.Go(func() error { return s.speaker.Run(ctx) })
	g.Go(func() error { return s.sessions.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	<-s.speaker.Ready()
	if _, err := s.speaker.Set(t.Context(), bgp.Advertisement{Prefix: vip}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) on(e session.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

// held returns the times and reasons of all holds.
func (s *site) held() (l []session.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := ""
	for _, e := range s.events {
		if e.Held != "" && last == "" {
			l = append(l, e)
		}
		last = e.Held
	}
	return l
}

// wait waits until both are as asked for.
func (s *site) wait(ok func(bgp.NeighborStatus, session.Status) bool) {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) { // two sources of change
		n, st := s.speaker.Neighbors()[0], s.sessions.Status()[0]
		if ok(n, st) {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("bgp %+v\nbfd %+v\n%s", n, st, s.d.Query("show bfd peers;show bgp neighbors"))
		}
	}
}

func bothUp(n bgp.NeighborStatus, st session.Status) bool {
	return n.Established && st.BFD.State == bfd.Up && st.Held == ""
}

// settled waits for FRR, too: when BGP is established for the first time it makes a new BFD session of the old one, and
// closes BGP once.
func settled(n bgp.NeighborStatus, st session.Status) bool {
	return bothUp(n, st) && time.Since(st.BFD.Since) > 3*time.Second && time.Since(n.Since) > 3*time.Second
}

func heldDown(n bgp.NeighborStatus, st session.Status) bool { return !n.Established && st.Held != "" }

// flap silences the link, and lets packets pass again.
func (s *site) flap(d *bgptest.Daemon) (down, back time.Duration) {
	s.t.Helper()
	began := time.Now()
	d.Silence(true)
	s.wait(heldDown)
	down = time.Since(began)
	time.Sleep(500 * time.Millisecond) // an outage
	d.Silence(false)
	s.wait(func(_ bgp.NeighborStatus, st session.Status) bool { return st.BFD.State == bfd.Up })
	began = time.Now()
	s.wait(bothUp)
	return down, time.Since(began)
}

func TestFRR(t *testing.T) {
	nettest.Need(t)
	d := bgptest.StartFRR(t, link, documented(t, "frr bfd"), "zebra", "bfdd", "bgpd")
	s := start(t, bfd.Config{Interval: 200 * time.Millisecond, Multiplier: 3}, false)
	s.d = d
	story(t, s, d, "show bgp ipv6 unicast", "bgpd", "bfdd")
}

func TestBIRD(t *testing.T) {
	nettest.Need(t)
	d := bgptest.StartBIRD(t, link, documented(t, "bird bfd"))
	s := start(t, bfd.Config{Interval: 200 * time.Millisecond, Multiplier: 3}, false)
	s.d = d
	story(t, s, d, "show route", "bird", "")
}

// story is what happens to a session with either: a silent link twice, a program that hangs, and an end in order.
func story(t *testing.T, s *site, d *bgptest.Daemon, show, hanging, bfdAlone string) {
	s.d = d
	s.wait(settled)
	d.WaitFor(show, []string{vip.String()}, nil)
	down, back := s.flap(d)
	t.Logf("silent link: BGP down after %v, established %v after BFD was up again", down, back)
	d.WaitFor(show, []string{vip.String()}, nil)
	held := s.held()
	if reason := held[len(held)-1].Held; !strings.HasPrefix(reason, "BFD down: ") {
		t.Errorf("held because %q", reason)
	}
	if bfdAlone == "" { // BGP and BFD are one program
		began := time.Now()
		d.Signal(hanging, syscall.SIGSTOP)
		s.wait(heldDown)
		t.Logf("hung router: BGP down after %v", time.Since(began))
		d.Signal(hanging, syscall.SIGCONT)
		s.wait(bothUp)
		d.WaitFor(show, []string{vip.String()}, nil)
	}
}

// A router without BFD is served without, unless BFD is a must.
func TestRouterWithoutBFD(t *testing.T) {
	nettest.Need(t)
	without := strings.ReplaceAll(documented(t, "bird bfd"), "\tbfd on;\n", "")
	without = strings.ReplaceAll(without, "protocol bfd { interface \"*\" { interval 200 ms; multiplier 3; }; }\n", "")
	for name, strict := range map[string]bool{"lenient": false, "strict": true} {
		t.Run(name, func(t *testing.T) {
			d := bgptest.StartBIRD(t, link, without)
			s := start(t, bfd.Config{}, strict)
			if !strict {
				d.WaitFor("show route", []string{vip.String()}, nil)
				return
			}
			time.Sleep(3 * time.Second) // longer than a session takes
			if n := s.speaker.Neighbors()[0]; n.Established || n.Held != "BFD is not up yet" {
				t.Errorf("status %+v", n)
			}
		})
	}
}

// An operator who switches BFD off does not lose the session (RFC 5882 section 3.2).
func TestAdminDown(t *testing.T) {
	nettest.Need(t)
	d := bgptest.StartFRR(t, link, documented(t, "frr bfd")+documented(t, "frr strict"), "zebra", "bfdd", "bgpd")
	s := start(t, bfd.Config{}, true)
	s.d = d
	s.wait(settled)
	before := len(s.held())
	d.Query("configure terminal\nbfd\npeer fd00:1::1 multihop local-address fd00:1::2\nshutdown")
	s.wait(func(n bgp.NeighborStatus, st session.Status) bool { return st.BFD.RemoteState == bfd.AdminDown })
	time.Sleep(time.Second)
	if n := s.speaker.Neighbors()[0]; !n.Established || len(s.held()) != before {
		t.Errorf("status %+v, held %+v", n, s.held())
	}
}
