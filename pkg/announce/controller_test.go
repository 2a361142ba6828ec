package announce

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/pkg/health"
)

func dns() Service {
	return Service{Name: "dns", Settle: 2 * time.Second, Drain: 3 * time.Second, VIPs: []VIP{plain("2001:db8:53::53/128")}}
}

func app() Service {
	return Service{Name: "app", Settle: time.Second, Drain: 5 * time.Second, VIPs: []VIP{plain("2001:db8:80::80/128")}}
}

// expect waits until everything is idle and compares what was asked of the fakes since the last time.
func (s *stage) expect(want ...string) {
	s.t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, s.record.take()); diff != "" {
		s.t.Fatalf("(-want +got)\n%s", diff)
	}
}

func (s *stage) sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

func TestControllerAnnouncesAfterSettling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, dns(), app())
		s.start()
		s.expect("0s addresses: set 2")
		s.health.set("dns", health.Up)
		s.health.set("app", health.Up)
		s.sleep(time.Second)
		s.expect("1s speaker: set [2001:db8:80::80/128]")
		s.sleep(time.Second)
		s.expect("2s speaker: set [2001:db8:53::53/128 2001:db8:80::80/128]")
		s.health.set("app", health.Down)
		s.expect("2s speaker: set [2001:db8:53::53/128]")
		s.health.set("app", health.Up)
		s.sleep(999 * time.Millisecond)
		s.expect()
		s.sleep(time.Millisecond)
		s.expect("3s speaker: set [2001:db8:53::53/128 2001:db8:80::80/128]")
		s.health.set("dns", health.Unknown)
		s.expect()
	})
}

func TestControllerFoundDownIsNeverAnnounced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, dns())
		s.health.set("dns", health.Down)
		s.start()
		s.expect("0s addresses: set 1")
		s.sleep(9 * time.Second)
		s.expect()
		if got := testutil.ToFloat64(s.metrics.state.WithLabelValues("dns", "withdrawn")); got != 1 {
			t.Errorf("state withdrawn: %v", got)
		}
	})
}

// A prefix must not draw traffic to a host that has no such address.
func TestControllerAnnouncesOnlyWithAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, dns(), app())
		s.addresses.fail(errors.Join(errAddress{p("2001:db8:53::53/128")}))
		s.start()
		s.health.set("dns", health.Up)
		s.health.set("app", health.Up)
		s.sleep(2 * time.Second)
		s.expect(
			"0s addresses: set 2: no 2001:db8:53::53/128",
			"100ms addresses: set 2: no 2001:db8:53::53/128",
			"300ms addresses: set 2: no 2001:db8:53::53/128",
			"700ms addresses: set 2: no 2001:db8:53::53/128",
			"1s speaker: set [2001:db8:80::80/128]",
			"1.5s addresses: set 2: no 2001:db8:53::53/128",
		)
		s.addresses.fail(nil)
		s.sleep(2 * time.Second)
		s.expect(
			"3.1s addresses: set 2",
			"3.1s speaker: set [2001:db8:53::53/128 2001:db8:80::80/128]",
		)
		// What is announced is not withdrawn for an address that cannot be set again: its checks tell if it is gone.
		s.addresses.fail(errors.New("netlink is sick"))
		s.sleep(9150 * time.Millisecond)
		s.expect("13.1s addresses: set 2: netlink is sick")
	})
}

// An error that names no address holds back all.
func TestControllerWithoutAnyAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, app())
		s.addresses.fail(errors.New("no lo"))
		s.start()
		s.health.set("app", health.Up)
		s.sleep(time.Second)
		for _, call := range s.record.take() {
			if strings.Contains(call, "speaker") {
				t.Error(call)
			}
		}
		if got := s.machine.memory[0].Reason; got != "up, but not announced: no lo" {
			t.Errorf("reason %q", got)
		}
	})
}

func TestControllerWithForeignAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, app())
		s.build(Parts{}, Config{Services: []Service{app()}})
		s.start()
		s.health.set("app", health.Up)
		s.sleep(time.Second)
		s.expect("1s speaker: set [2001:db8:80::80/128]")
	})
}

func TestControllerRetriesSpeaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, dns(), app())
		s.start()
		s.health.set("app", health.Up)
		s.sleep(time.Second)
		s.record.take()
		s.speaker.fail(errors.New("busy"))
		s.health.set("app", health.Down)
		s.expect("1s speaker: set []: busy")
		announced := s.metrics.announced.WithLabelValues("2001:db8:80::80/128")
		if got := testutil.ToFloat64(announced); got != 1 {
			t.Errorf("announced %v though the speaker did not take the withdrawal", got)
		}
		s.sleep(time.Second)
		s.expect("1.1s speaker: set []: busy", "1.3s speaker: set []: busy", "1.7s speaker: set []: busy")
		s.speaker.fail(nil)
		s.sleep(time.Second)
		s.expect("2.5s speaker: set []")
		if got := testutil.ToFloat64(announced); got != 0 {
			t.Errorf("announced %v", got)
		}
		if got := testutil.ToFloat64(s.metrics.errors.WithLabelValues("speaker")); got != 4 {
			t.Errorf("%v errors", got)
		}
		s.sleep(time.Minute)
		for _, call := range s.record.take() {
			if strings.Contains(call, "speaker") {
				t.Errorf("set again without a change: %s", call)
			}
		}
	})
}

// A change of mind before the speaker took the first one still ends in a Set: what the speaker has is not known.
func TestControllerChangesItsMind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := app()
		service.Settle, service.Guard.HoldDown.Base = 0, -1
		s := newStage(t, service)
		s.start()
		s.health.set("app", health.Up)
		s.expect("0s addresses: set 1", "0s speaker: set [2001:db8:80::80/128]")
		s.speaker.fail(errors.New("busy"))
		s.health.set("app", health.Down)
		s.expect("0s speaker: set []: busy")
		s.speaker.fail(nil)
		s.health.set("app", health.Up)
		s.expect("0s speaker: set [2001:db8:80::80/128]")
	})
}

// exabgp#993: the address was removed before the route was withdrawn. Here the controller has no way to remove one, and
// what it does ends before the caller may.
func TestControllerStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, dns(), app())
		s.start()
		s.health.set("dns", health.Up)
		s.health.set("app", health.Down) // has the longer drain, and no traffic
		s.sleep(2 * time.Second)
		s.record.take()
		s.cancel()
		<-s.done
		s.expect("2s speaker: set [worse 2001:db8:53::53/128]", "5s speaker: set []", "5s speaker: wait 3: written", "6s controller: done")
		for _, name := range []string{"dns", "app"} {
			if got := testutil.ToFloat64(s.metrics.state.WithLabelValues(name, "stopping")); got != 1 {
				t.Errorf("%s is not stopping: %v", name, got)
			}
		}
	})
}

func TestControllerStopsAtOnceWithNothingAnnounced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, dns())
		s.start()
		s.sleep(time.Second)
		s.cancel()
		<-s.done
		s.expect("0s addresses: set 1", "1s speaker: wait 0: written", "1s controller: done")
	})
}

// stopFrom brings one service up and stops; it returns what was done from then on.
func stopFrom(t *testing.T, before func(s *stage), during func(s *stage)) []string {
	s := newStage(t, app())
	s.start()
	s.health.set("app", health.Up)
	s.sleep(time.Second)
	s.record.take()
	before(s)
	s.cancel()
	synctest.Wait()
	during(s)
	<-s.done
	synctest.Wait()
	return s.record.take()
}

func TestControllerStopIsBounded(t *testing.T) {
	t.Parallel()
	nothing := func(*stage) {}
	unwritten := func(s *stage) { s.speaker.unwritten = true }
	refusing := func(s *stage) { s.speaker.fail(errors.New("busy")) }
	hurry := func(s *stage) { s.Hurry(); s.Hurry() }
	const worse = "1s speaker: set [worse 2001:db8:80::80/128]"
	tests := []struct {
		name           string
		before, during func(*stage)
		want           []string
	}{
		{"routers do not read", unwritten, nothing, []string{
			worse, "6s speaker: set []", "7s speaker: wait 3: not written", "8s controller: done"}},
		{"routers do not read, hurried", unwritten, hurry, []string{
			worse, "1s speaker: set []", "1s speaker: wait 3: not written", "1s controller: done"}},
		{"hurried", nothing, hurry, []string{
			worse, "1s speaker: set []", "1s speaker: wait 3: written", "1s controller: done"}},
		{"dies", nothing, func(s *stage) { s.health.set("app", health.Down) }, []string{
			worse, "1s speaker: set []", "1s speaker: wait 3: written", "2s controller: done"}},
		{"hurried before", hurry, nothing, []string{
			"1s speaker: set []", "1s speaker: wait 2: written", "1s controller: done"}},
		{"speaker refuses", refusing, nothing, []string{
			worse + ": busy", "1.1" + worse[1:] + ": busy", "1.3" + worse[1:] + ": busy", "1.7" + worse[1:] + ": busy",
			"2.5" + worse[1:] + ": busy", "4.1" + worse[1:] + ": busy", "6s speaker: set []: busy", "8s controller: done"}},
		{"speaker refuses, hurried", refusing, hurry, []string{
			worse + ": busy", "1s speaker: set []: busy", "1s controller: done"}},
		{"speaker refuses at first", refusing, func(s *stage) { s.speaker.fail(nil) }, []string{
			worse + ": busy", "1.1" + worse[1:], "6s speaker: set []", "6s speaker: wait 3: written", "7s controller: done"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				got := stopFrom(t, tt.before, tt.during)
				if tt.name == "hurried before" { // which of two ready cases a select takes is chance
					got = dropWait(got)
					tt.want = dropWait(tt.want)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		})
	}
}

func dropWait(calls []string) (rest []string) {
	for _, c := range calls {
		if !strings.Contains(c, "wait") {
			rest = append(rest, c)
		}
	}
	return rest
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		service := app()
		service.Settle = 0
		s := newStage(t, service)
		s.start()
		synctest.Wait() // the addresses are there first: no decision is made twice
		s.health.set("app", health.Up)
		s.expect("0s addresses: set 1", "0s speaker: set [2001:db8:80::80/128]")
		problems, err := testutil.CollectAndLint(s.Controller)
		if err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
		err = testutil.CollectAndCompare(s.Controller, strings.NewReader(`
# HELP anyedge_announce_announced 1 while the BGP speaker is asked to announce the prefix: wanted state, does not guarantee that the routers converged.
# TYPE anyedge_announce_announced gauge
anyedge_announce_announced{prefix="2001:db8:80::80/128"} 1
# HELP anyedge_announce_decisions_total Changes of state of a service's VIPs by what they did to the announcement; VIPs that move alike count once.
# TYPE anyedge_announce_decisions_total counter
anyedge_announce_decisions_total{action="announce",service="app"} 1
anyedge_announce_decisions_total{action="deprefer",service="app"} 0
anyedge_announce_decisions_total{action="none",service="app"} 0
anyedge_announce_decisions_total{action="withdraw",service="app"} 0
# HELP anyedge_announce_state 1 for the state that a service is in, the worst of its VIPs' states, 0 for the others.
# TYPE anyedge_announce_state gauge
anyedge_announce_state{service="app",state="bridged"} 0
anyedge_announce_state{service="app",state="degraded"} 0
anyedge_announce_state{service="app",state="depreferred"} 0
anyedge_announce_state{service="app",state="drained"} 0
anyedge_announce_state{service="app",state="draining"} 0
anyedge_announce_state{service="app",state="held"} 0
anyedge_announce_state{service="app",state="isolated"} 0
anyedge_announce_state{service="app",state="settling"} 0
anyedge_announce_state{service="app",state="starting"} 0
anyedge_announce_state{service="app",state="stopping"} 0
anyedge_announce_state{service="app",state="up"} 1
anyedge_announce_state{service="app",state="withdrawing"} 0
anyedge_announce_state{service="app",state="withdrawn"} 0
`), "anyedge_announce_announced", "anyedge_announce_decisions_total", "anyedge_announce_state")
		if err != nil {
			t.Error(err)
		}
	})
}
