package announce

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/health"
)

// web comes and goes.
func web(vip string) Service {
	return Service{Name: "shop/web/ipv6", Settle: time.Second, Drain: 2 * time.Second, VIPs: []VIP{plain(vip)}}
}

// stands are the states of all services.
func (s *stage) stands(want ...string) {
	s.t.Helper()
	synctest.Wait()
	var got []string
	for _, one := range s.Status() {
		got = append(got, one.Service+" "+one.VIPs[0].VIP.Addr().String()+" "+one.State.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Fatalf("(-want +got)\n%s", diff)
	}
}

// come starts a stage on which dns is up and web came and is up, too.
func come(t *testing.T) *stage {
	s := newStage(t, dns())
	s.start()
	s.health.set("dns", health.Up)
	s.sleep(2 * time.Second)
	s.Set(web("2001:db8:99::1/128"))
	s.health.set("shop/web/ipv6", health.Up)
	s.sleep(time.Second)
	s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::1 up")
	return s
}

func TestServiceComesAndGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := come(t)
		s.expect(
			"0s addresses: set 1", "2s speaker: set [2001:db8:53::53/128]",
			"2s addresses: set 2", "3s speaker: set [2001:db8:53::53/128 2001:db8:99::1/128]",
		)
		s.Set(web("2001:db8:99::1/128")) // nothing new
		s.expect()
		s.Set()
		s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::1 draining")
		s.sleep(2 * time.Second)
		s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::1 drained")
		s.sleep(time.Second) // what is under way is served
		s.stands("dns 2001:db8:53::53 up")
		s.expect(
			"3s speaker: set [2001:db8:53::53/128 worse 2001:db8:99::1/128]",
			"5s speaker: set [2001:db8:53::53/128]", "5s speaker: wait 4: written",
			"6s addresses: set 1",
		)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(s.Controller)
		if n, err := testutil.GatherAndCount(registry, "anyedge_announce_vip_state", "anyedge_announce_announced", "anyedge_announce_decisions_total"); n != 1+1+len(actions) || err != nil {
			t.Errorf("%d series are left, %v", n, err)
		}
	})
}

// A Service that was deleted by mistake and comes back while it drains was never away.
func TestServiceComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := come(t)
		s.record.take()
		s.Set()
		s.sleep(time.Second)
		s.Set(web("2001:db8:99::1/128"))
		s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::1 up")
		s.expect(
			"3s speaker: set [2001:db8:53::53/128 worse 2001:db8:99::1/128]",
			"4s speaker: set [2001:db8:53::53/128 2001:db8:99::1/128]",
		)
	})
}

// A service that is to leave stays, drained, whatever its health says, and comes back.
func TestServiceLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := come(t)
		s.record.take()
		cordoned := web("2001:db8:99::1/128")
		cordoned.Leave = "this node is cordoned"
		s.Set(cordoned)
		s.sleep(2 * time.Second)
		s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::1 drained")
		if got := s.Status()[1].Drain; got != "this node is cordoned" {
			t.Errorf("drain %q", got)
		}
		s.health.set("shop/web/ipv6", health.Down)
		s.sleep(time.Minute)
		s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::1 drained")
		s.Set(web("2001:db8:99::1/128"))
		s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::1 withdrawn")
		s.health.set("shop/web/ipv6", health.Up)
		s.sleep(time.Second)
		s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::1 up")
		nothingHere := web("2001:db8:99::1/128")
		nothingHere.Leave, nothingHere.Drain = "no ready endpoint on this node", 0
		s.record.take()
		s.Set(nothingHere)
		s.expect("1m6s speaker: set [2001:db8:53::53/128]", "1m6s speaker: wait 6: written")
	})
}

// Another address of the same service comes when the old one has gone.
func TestServiceMoves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := come(t)
		s.record.take()
		s.Set(web("2001:db8:99::2/128"))
		s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::1 draining")
		s.sleep(3 * time.Second)
		s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::2 up")
		s.expect(
			"3s speaker: set [2001:db8:53::53/128 worse 2001:db8:99::1/128]",
			"5s speaker: set [2001:db8:53::53/128]", "5s speaker: wait 4: written",
			"6s addresses: set 2",
			"6s speaker: set [2001:db8:53::53/128 2001:db8:99::2/128]",
		)
	})
}

// What another has does not come.
func TestServiceThatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := come(t)
		thief := Service{Name: "shop/thief/ipv6", VIPs: []VIP{plain("2001:db8:53::53/128")}}
		namesake := Service{Name: "dns", VIPs: []VIP{plain("2001:db8:99::9/128")}}
		second := Service{Name: "shop/second/ipv6", VIPs: []VIP{plain("2001:db8:99::1/128")}}
		s.Set(thief, namesake, web("2001:db8:99::1/128"), second)
		s.stands("dns 2001:db8:53::53 up", "shop/web/ipv6 2001:db8:99::1 up")
		s.Set(second) // which waits until web has gone
		s.sleep(3 * time.Second)
		s.stands("dns 2001:db8:53::53 up", "shop/second/ipv6 2001:db8:99::1 starting")
	})
}

// The agent stops while a service goes.
func TestStopWhileServiceGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := come(t)
		s.record.take()
		s.Set()
		s.sleep(time.Second)
		s.cancel()
		<-s.done
		s.expect(
			"3s speaker: set [2001:db8:53::53/128 worse 2001:db8:99::1/128]",
			"4s speaker: set [worse 2001:db8:53::53/128 worse 2001:db8:99::1/128]",
			"5s speaker: set [worse 2001:db8:53::53/128]",
			"7s speaker: set []", "7s speaker: wait 6: written",
			"8s controller: done",
		)
	})
}

// Requests to drain are for services that come, too.
func TestDrainOfServiceThatComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d := drainStage(t, app())
		s.Set(web("2001:db8:99::1/128"))
		s.health.set("shop/web/ipv6", health.Up)
		s.sleep(time.Second)
		if err := d.Drain("shop/web/ipv6"); err != nil {
			t.Fatal(err)
		}
		s.stands("app 2001:db8:80::80 up", "shop/web/ipv6 2001:db8:99::1 draining")
		s.Set()
		s.sleep(4 * time.Second)
		if err := d.Drain("shop/web/ipv6"); err == nil {
			t.Error("a service that is gone was drained")
		}
		s.Set(web("2001:db8:99::1/128")) // it was not undrained
		s.sleep(3 * time.Second)
		s.stands("app 2001:db8:80::80 up", "shop/web/ipv6 2001:db8:99::1 drained")
	})
}

// Whatever comes and goes: nothing is announced that is not wanted or leaving, nothing of the file moves, and in the end all
// is as wanted.
func TestServicesAtRandom(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Log("seed", seed)
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 0))
		s := newStage(t, dns())
		s.start()
		s.health.set("dns", health.Up)
		var last []Service
		for range 200 {
			last = nil
			for i := range r.IntN(6) {
				if r.IntN(2) > 0 {
					continue
				}
				one := Service{
					Name: fmt.Sprintf("shop/s%d/ipv6", i), Settle: time.Duration(r.IntN(2)) * time.Second, Drain: time.Duration(r.IntN(3)) * time.Second,
					VIPs: []VIP{plain(fmt.Sprintf("2001:db8:99::%d/128", 1+(i+r.IntN(2))%6))},
				}
				if r.IntN(4) == 0 {
					one.Leave = "cordoned"
				}
				last = append(last, one)
				s.health.set(one.Name, []health.State{health.Up, health.Up, health.Down, health.Unknown}[r.IntN(4)])
			}
			s.Set(last...)
			s.sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
			checkStage(t, s)
		}
		for _, one := range last {
			s.health.set(one.Name, health.Up)
		}
		s.sleep(3 * time.Hour) // no guard holds anything from before
		checkStage(t, s)
		if got := s.Status()[0]; got.State != Up {
			t.Errorf("%+v", got)
		}
		askers := make(map[string]int)
		for _, one := range last {
			askers[one.VIPs[0].Address.String()]++
		}
		for _, one := range last { // whoever was there first has an address that two ask for
			_, announced := find(s.speaker.wanted, one.VIPs[0].Address)
			if askers[one.VIPs[0].Address.String()] == 1 && announced != (one.Leave == "") {
				t.Errorf("%+v: announced %v", one, announced)
			}
		}
	})
}

// checkStage wants that what is announced is of one service that stands where that is so.
func checkStage(t *testing.T, s *stage) {
	t.Helper()
	level := make(map[string]string)
	for _, one := range s.Status() {
		for _, v := range one.VIPs {
			if _, twice := level[v.VIP.String()]; twice {
				t.Fatalf("two have %s", v.VIP)
			}
			level[v.VIP.String()] = v.Announced
		}
	}
	var wanted []bgp.Advertisement
	s.speaker.mu.Lock()
	wanted = append(wanted, s.speaker.wanted...)
	s.speaker.mu.Unlock()
	for _, ad := range wanted {
		if level[ad.Prefix.String()] == "" {
			t.Fatalf("%s is announced, and no service says so: %v", ad.Prefix, level)
		}
	}
}
