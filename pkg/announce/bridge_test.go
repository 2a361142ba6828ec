package announce

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/pkg/health"
)

// fakeBridge takes every set, unless it is told to fail.
type fakeBridge struct {
	*recorder
	mu      sync.Mutex
	found   []Bridging
	busy    time.Time
	err     error
	changed chan struct{}
}

func (f *fakeBridge) Set(_ context.Context, wanted ...Bridging) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, w := range wanted {
		list = append(list, w.VIP.Addr().String()+"->"+names(w.Targets))
	}
	if f.err != nil {
		f.add("bridge: set [%s]: %v", strings.Join(list, " "), f.err)
	} else {
		f.add("bridge: set [%s]", strings.Join(list, " "))
	}
	return f.err
}

func (f *fakeBridge) Busy(netip.Prefix) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.busy
}

func (f *fakeBridge) Found() []Bridging        { return f.found }
func (f *fakeBridge) Changed() <-chan struct{} { return f.changed }

// carry has a packet come over every bridge now.
func (f *fakeBridge) carry() {
	f.mu.Lock()
	f.busy = time.Now()
	f.mu.Unlock()
	notify(f.changed)
}

func (f *fakeBridge) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// fakePeers says the same of every VIP.
type fakePeers struct {
	*recorder
	mu        sync.Mutex
	targets   []Target
	announced []string
	changed   chan struct{}
}

func (f *fakePeers) Targets(netip.Addr) []Target {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.targets
}

func (f *fakePeers) Announced(netip.Addr) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.announced
}

func (f *fakePeers) Urgent(vips ...netip.Addr) { f.add("peers: urgent %v", vips) }
func (f *fakePeers) Changed() <-chan struct{}  { return f.changed }

// are makes these peers serve and announce.
func (f *fakePeers) are(peers ...string) {
	f.mu.Lock()
	f.targets, f.announced = nil, peers
	for _, p := range peers {
		f.targets = append(f.targets, Target{p, 1})
	}
	f.mu.Unlock()
	notify(f.changed)
}

// bridgeStage has a bridge and one peer, mec-2-a; no router sends anything back, which nobody needs.
func bridgeStage(t *testing.T, services ...Service) (*stage, *fakeBridge, *fakePeers) {
	s := newStage(t, services...)
	b := &fakeBridge{recorder: s.record, changed: make(chan struct{}, 1)}
	p := &fakePeers{recorder: s.record, changed: make(chan struct{}, 1)}
	s.speaker.heard = nil
	p.are("mec-2-a")
	s.build(Parts{Bridge: b, Peers: p}, Config{Services: services})
	return s, b, p
}

// healthy starts the stage and lets all services be announced.
func (s *stage) healthy(services ...Service) {
	s.start()
	for _, one := range services {
		s.health.set(one.Name, health.Up)
	}
	s.sleep(2 * time.Second)
	s.record.take()
}

const (
	v80 = "2001:db8:80::80"
	a80 = v80 + "/128"
)

// TestFailover is the whole way of a service that dies and comes back: bridge before speaker, at the same moment.
func TestFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, b, _ := bridgeStage(t, app())
		s.healthy(app())
		s.health.set("app", health.Down)
		s.expect("2s bridge: set ["+v80+"->mec-2-a]", "2s peers: urgent ["+v80+"]")
		s.is(Bridged)
		for range 5 { // traffic does not move at once
			s.sleep(400 * time.Millisecond)
			b.carry()
		}
		s.expect("3s speaker: set [sick " + a80 + "]")
		s.is(DePreferred)
		s.sleep(time.Second)
		s.expect("5s speaker: set []")
		s.is(Withdrawn)
		s.sleep(time.Second)
		s.expect("6s bridge: set []", "6s peers: urgent []")
		s.health.set("app", health.Up)
		s.sleep(time.Second)
		s.expect("7s speaker: set [" + a80 + "]")
		s.is(Up)
	})
}

// TestRestartWithinGrace: routers hear nothing of a quick restart.
func TestRestartWithinGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, b, _ := bridgeStage(t, app())
		s.healthy(app())
		s.health.set("app", health.Down)
		s.sleep(900 * time.Millisecond)
		s.health.set("app", health.Up)
		for range 4 {
			b.carry()
			s.sleep(250 * time.Millisecond)
		}
		s.expect("2s bridge: set ["+v80+"->mec-2-a]", "2s peers: urgent ["+v80+"]", "3.9s bridge: set []", "3.9s peers: urgent []")
		s.is(Up)
	})
}

// TestRestartAtTheEndOfGrace: a service that works again within the grace second, but must pass its checks more often to
// count as up, has not to be told of either; one that only seems to work is.
func TestRestartAtTheEndOfGrace(t *testing.T) {
	t.Parallel()
	for name, works := range map[string]bool{"works": true, "fails again": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, b, _ := bridgeStage(t, app())
				s.healthy(app())
				s.health.set("app", health.Down)
				s.sleep(900 * time.Millisecond)
				s.health.rise("app", true)
				s.sleep(600 * time.Millisecond)
				b.carry()
				want := []string{"2s bridge: set [" + v80 + "->mec-2-a]", "2s peers: urgent [" + v80 + "]"}
				if works {
					s.health.set("app", health.Up)
					want = append(want, "4.5s bridge: set []", "4.5s peers: urgent []")
				} else {
					s.health.rise("app", false)
					want = append(want, "3.5s speaker: set [sick "+a80+"]", "4.5s speaker: set []")
				}
				s.sleep(time.Second)
				s.expect(want...)
			})
		})
	}
}

// TestRetarget: targets come and go while a VIP is bridged.
func TestRetarget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, p := bridgeStage(t, app())
		s.healthy(app())
		s.health.set("app", health.Down)
		synctest.Wait()
		p.are("mec-3-a")
		s.expect("2s bridge: set ["+v80+"->mec-2-a]", "2s peers: urgent ["+v80+"]", "2s bridge: set ["+v80+"->mec-3-a]")
		p.are()
		s.expect("2s bridge: set []", "2s speaker: set [sick "+a80+"]", "2s peers: urgent []")
		s.is(Held)
		if got := s.Status()[0].VIPs[0].Hold; got != LastAnnouncer {
			t.Errorf("held by %s", got)
		}
		s.speaker.hear(router)
		s.expect("2s speaker: set []")
		s.is(Withdrawn)
	})
}

// errVIP speaks of one VIP.
type errVIP struct{ vip netip.Prefix }

func (e errVIP) Error() string     { return "no way for " + e.vip.String() }
func (e errVIP) VIP() netip.Prefix { return e.vip }

// TestBridgeFails: what cannot be bridged goes the other way in the same step, and is tried again later.
func TestBridgeFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		two := app()
		two.VIPs = append(two.VIPs, plain("192.0.2.80/32"))
		s, b, _ := bridgeStage(t, two)
		s.healthy(two)
		b.fail(errors.Join(errVIP{p("192.0.2.80/32")}))
		s.health.set("app", health.Down)
		s.expect(
			"2s bridge: set ["+v80+"->mec-2-a 192.0.2.80->mec-2-a]: no way for 192.0.2.80/32",
			"2s bridge: set ["+v80+"->mec-2-a]: no way for 192.0.2.80/32", // the fake does not look at what it is asked for
			"2s speaker: set ["+a80+"]",
			"2s peers: urgent ["+v80+"]",
		)
		var got []State
		for _, v := range s.Status()[0].VIPs {
			got = append(got, v.State)
		}
		if diff := cmp.Diff([]State{Bridged, Withdrawn}, got); diff != "" {
			t.Errorf("a VIP goes its own way (-want +got)\n%s", diff)
		}
		if got := testutil.ToFloat64(s.metrics.errors.WithLabelValues("bridge")); got != 2 {
			t.Errorf("%v errors", got)
		}
	})
}

// TestRestartOfTheAgent: what an earlier process bridged stays bridged until it is served here again.
func TestRestartOfTheAgent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, b, peers := bridgeStage(t, app(), dns())
		b.found = []Bridging{{p("2001:db8:53::53/128"), []Target{{"mec-2-a", 1}}}, {p(a80), []Target{{"mec-2-a", 1}}}}
		peers.are() // were not asked yet
		s.start()
		s.expect("0s bridge: set ["+v80+"->mec-2-a 2001:db8:53::53->mec-2-a]", "0s peers: urgent ["+v80+" 2001:db8:53::53]")
		s.health.set("app", health.Down)
		s.health.set("dns", health.Up)
		s.expect("0s speaker: set [sick " + a80 + "]")
		peers.are("mec-2-a")
		s.sleep(time.Second)
		s.expect("1s speaker: set []")
		s.sleep(time.Second)
		s.expect("2s bridge: set []", "2s speaker: set [2001:db8:53::53/128]", "2s peers: urgent []")
		if got := []State{s.Status()[0].State, s.Status()[1].State}; !slices.Equal(got, []State{Withdrawn, Up}) {
			t.Errorf("%v", got)
		}
	})
}

// TestStopWhileBridged: bridges outlive the withdrawal; the caller takes them away at the end.
func TestStopWhileBridged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := bridgeStage(t, app())
		s.healthy(app())
		s.health.set("app", health.Down)
		synctest.Wait()
		s.cancel()
		<-s.done
		s.expect("2s bridge: set ["+v80+"->mec-2-a]", "2s peers: urgent ["+v80+"]",
			"2s speaker: set [worse "+a80+"]", "7s speaker: set []", "7s speaker: wait 3: written", "8s controller: done")
	})
}

// TestOneFamilyLost: each VIP stands for itself.
func TestOneFamilyLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		two := app()
		two.VIPs = append(two.VIPs, plain("192.0.2.80/32"))
		s, _, _ := bridgeStage(t, two)
		s.healthy(two)
		s.speaker.lose("192.0.2.80/32")
		s.expect()
		s.is(Isolated)
		type seen struct{ Serving, Announcing bool }
		got := make(map[string]seen)
		for _, v := range []string{v80, "192.0.2.80", "192.0.2.81"} {
			serving, announcing := s.Serves(netip.MustParseAddr(v))
			got[v] = seen{serving, announcing}
		}
		if diff := cmp.Diff(map[string]seen{v80: {true, true}, "192.0.2.80": {true, false}, "192.0.2.81": {}}, got); diff != "" {
			t.Errorf("what other hosts are told (-want +got)\n%s", diff)
		}
		s.speaker.lose()
		s.expect()
		s.is(Up)
	})
}

// TestFlapping: up and down every 300 ms for a minute, bridged or not: few words to the routers, and a bridge that stays.
func TestFlapping(t *testing.T) {
	t.Parallel()
	for _, bridged := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s, _, peers := bridgeStage(t, dns())
			if !bridged {
				peers.are()
			}
			s.healthy(dns())
			for range 100 {
				s.health.set("dns", health.Down)
				s.sleep(300 * time.Millisecond)
				s.health.set("dns", health.Up)
				s.sleep(300 * time.Millisecond)
			}
			s.sleep(5 * time.Second)
			updates, switches := 0, 0
			for _, call := range s.record.take() {
				updates += strings.Count(call, "speaker: set")
				switches += strings.Count(call, "bridge: set")
			}
			if updates > 3 || switches > 2 {
				t.Errorf("bridged %v: %d UPDATEs, %d switches", bridged, updates, switches)
			}
			s.is(Up)
		})
	}
}

// TestJournalOfAFailover: what edgelab reads.
func TestJournalOfAFailover(t *testing.T) {
	t.Parallel()
	journal, path := openJournal(t, nil)
	synctest.Test(t, func(t *testing.T) {
		two := app()
		two.VIPs = append(two.VIPs, plain("192.0.2.80/32"))
		s, b, peers := bridgeStage(t, two)
		s.build(Parts{Bridge: b, Peers: peers, Journal: journal}, Config{Services: []Service{two}})
		s.healthy(two)
		s.health.set("app", health.Down)
		s.sleep(time.Second)
		s.Hurry() // before the end: it is one decision then
		s.cancel()
		<-s.done
	})
	flush(t, journal)
	vips, targets := []string{a80, "192.0.2.80/32"}, []Target{{"mec-2-a", 1}}
	want := []entry{
		{Event: "decision", Service: "app", State: "settling", Action: "none", Reason: "up, settles for 1s: it is up", VIPs: vips, Prefixes: []string{}, Targets: []Target{}},
		{Event: "decision", Service: "app", State: "up", Action: "announce", Reason: "up for 1s: it is up", VIPs: vips, Prefixes: vips, Targets: []Target{}, Generation: 1},
		{Event: "bridge", Service: "app", Action: "on", Reason: "it is down; bridged to mec-2-a", VIPs: vips, Targets: targets},
		{Event: "decision", Service: "app", State: "bridged", Action: "none", Reason: "it is down; bridged to mec-2-a", VIPs: vips, Prefixes: []string{},
			Targets: targets, Generation: 1},
		{Event: "decision", Service: "app", State: "depreferred", Action: "deprefer", Reason: "not back within 1s: it is down; bridged to mec-2-a", VIPs: vips,
			Prefixes: vips, Targets: targets, Generation: 2},
		{Event: "decision", Service: "app", State: "stopping", Action: "withdraw", Reason: "the agent stops", VIPs: vips, Prefixes: vips, Targets: targets, Generation: 3},
	}
	got := read(t, path)
	for i := range want {
		want[i].Site = "mec-1"
	}
	if diff := cmp.Diff(want, timeless(got)); diff != "" {
		t.Fatalf("(-want +got)\n%s", diff)
	}
	if e := got[3]; e.NoticedNs == 0 || e.ConfirmNs < e.NoticedNs || e.BridgedNs < e.ConfirmNs {
		t.Errorf("noticed %d, confirmed %d, bridged %d", e.NoticedNs, e.ConfirmNs, e.BridgedNs)
	}
	if e := got[1]; e.BridgedNs != 0 || e.ConfirmNs != 0 {
		t.Errorf("not bridged, but %d; nothing to confirm, but %d", e.BridgedNs, e.ConfirmNs)
	}
}

// TestBrakeIsLoud: three services of four die at once, and another site is seen; nothing is withdrawn.
func TestBrakeIsLoud(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		services := many(4)
		s := newStage(t, services...)
		s.healthy(services...)
		for _, name := range []string{"s0", "s1", "s2"} {
			s.health.setQuietly(name, health.Down)
		}
		notify(s.health.changed)
		s.expect("2s speaker: set [sick 2001:db8::/128 sick 2001:db8::1/128 sick 2001:db8::2/128 2001:db8::3/128]")
		if got := testutil.ToFloat64(s.metrics.guarded.WithLabelValues("brake")); got != 3 {
			t.Errorf("%v holds", got)
		}
		s.sleep(time.Minute)
		if calls := strings.Join(s.record.take(), "\n"); strings.Contains(calls, "speaker") {
			t.Errorf("the window is over, and they are still sick:\n%s", calls)
		}
		s.health.set("s1", health.Up)
		s.sleep(2 * time.Second) // settled: two are sick, and at the next look the brake is released
		s.expect("1m3s speaker: set [sick 2001:db8::/128 2001:db8::1/128 sick 2001:db8::2/128 2001:db8::3/128]",
			"1m4s speaker: set [2001:db8::1/128 2001:db8::3/128]")
	})
}
