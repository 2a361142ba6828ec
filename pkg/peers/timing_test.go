package peers

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A wire joins one host under test with imagined peers, in a synctest bubble: no sockets, no time.
type wire struct {
	t     *testing.T
	peers *Peers
	end   func()

	mu    sync.Mutex               // guards what follows
	way   map[string]time.Duration // to a peer and back; absent: silence
	state map[string]State
	error error
	sent  []time.Time
}

func newWire(t *testing.T, vips int) *wire {
	w := &wire{t: t, way: map[string]time.Duration{}, state: map[string]State{}}
	cfg := Config{
		Name: "1-a", Site: "mec-1", Source: addr("2001:db8:1::1"),
		Peers: []Peer{
			{"2-a", "mec-2", addr("2001:db8:2::1"), 2},
			{"3-a", "mec-3", addr("2001:db8:3::1"), 3},
		},
		State: func(netip.Addr) State { return State{} },
	}
	a := addr("2001:db8:53::")
	for range vips {
		a = a.Next()
		cfg.VIPs = append(cfg.VIPs, a)
	}
	var err error
	if w.peers, err = New(nil, cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// run asks until the test ends.
func (w *wire) run() {
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	for peer := range w.peers.cfg.Peers {
		asking.Go(func() {
			if err := w.peers.askPeer(ctx, peer, w.send); err != nil {
				w.t.Error(err)
			}
		})
	}
	w.end = func() { cancel(); asking.Wait() }
}

// send answers as the peer would.
func (w *wire) send(peer, _ int, b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.error != nil {
		return w.error
	}
	to := w.peers.cfg.Peers[peer]
	if to.Name == "2-a" {
		w.sent = append(w.sent, time.Now())
	}
	if way, ok := w.way[to.Name]; ok {
		m, err := parseMessage(b)
		if err != nil {
			w.t.Error(err)
		}
		m.kind, m.name, m.state = answer, to.Name, w.state[to.Name]
		time.AfterFunc(way, func() { w.peers.receive(m.append(nil), to.Source, w.peers.cfg.Source, nil) })
	}
	return nil
}

func (w *wire) set(peer string, way time.Duration, state State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.way[peer], w.state[peer] = way, state
	if way == 0 {
		delete(w.way, peer)
	}
}

func (w *wire) targets() []Target { return w.peers.Targets(w.peers.cfg.VIPs[0]) }

// until waits for a change that makes ok true, and returns how long that took.
func (w *wire) until(ok func() bool) time.Duration {
	w.t.Helper()
	begin := time.Now()
	for !ok() {
		select {
		case <-w.peers.Changed():
		case <-time.After(time.Minute):
			w.t.Fatalf("nothing happens: %+v", w.peers.Status())
		}
	}
	return time.Since(begin)
}

func (w *wire) reachable(peer string) func() bool {
	return func() bool {
		return slices.ContainsFunc(w.peers.Status(), func(s Status) bool { return s.Peer == peer && s.Reachable })
	}
}

func not(f func() bool) func() bool { return func() bool { return !f() } }

func within(t *testing.T, what string, got, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s after %s, want %s to %s", what, got, least, most)
	}
}

var well = State{Serving: true, Announcing: true, Headroom: 80}

func TestOneAnswerThreeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1)
		w.set("2-a", 6*ms, well)
		w.run()
		defer w.end()
		within(t, "reachable", w.until(w.reachable("2-a")), 6*ms, 506*ms)
		got := w.peers.Status()[0]
		want := Status{Peer: "2-a", Site: "mec-2", VIP: w.peers.cfg.VIPs[0], Reachable: true, State: well, RTT: 6 * ms, Since: got.Since}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]string{"2-a"}, w.peers.Announced(w.peers.cfg.VIPs[0])); diff != "" {
			t.Errorf("Announced (-want +got)\n%s", diff)
		}
		w.set("2-a", 0, State{})
		within(t, "unreachable", w.until(not(w.reachable("2-a"))), 3*500*ms, 4*550*ms)
		if s := w.peers.Status()[0]; s.Reason == "" || s.RTT != 0 || w.targets() != nil || w.peers.Announced(s.VIP) != nil {
			t.Errorf("%+v, targets %v, announced %v", s, w.targets(), w.peers.Announced(s.VIP))
		}
	})
}

func TestUrgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 20)
		w.set("2-a", 6*ms, well)
		w.set("3-a", 12*ms, well)
		w.run()
		defer w.end()
		w.until(func() bool {
			return w.reachable("2-a")() && w.reachable("3-a")() && cmp.Equal(w.targets(), []Target{{"2-a", 80}})
		})
		w.peers.Urgent(w.peers.cfg.VIPs[0], addr("2001:db8::dead")) // the second is none of ours
		time.Sleep(300 * ms)
		w.set("2-a", 0, State{})
		within(t, "the next best", w.until(func() bool { return cmp.Equal(w.targets(), []Target{{"3-a", 80}}) }), 150*ms, 230*ms)
		w.peers.Urgent()
		w.until(func() bool { // a host that is silent as a whole is so for all its VIPs
			return !slices.ContainsFunc(w.peers.Status(), func(s Status) bool { return s.Peer == "2-a" && s.Reachable })
		})
	})
}

// With so many VIPs that each is asked for every 10 s, a dead host is noticed as fast as with one.
func TestManyVIPs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 10000)
		w.set("2-a", 6*ms, well)
		w.run()
		defer w.end()
		time.Sleep(12 * time.Second)
		for _, s := range w.peers.Status() {
			if s.Peer == "2-a" && !s.Reachable {
				t.Fatalf("not asked in 12 s: %+v", s)
			}
		}
		w.peers.Urgent(w.peers.cfg.VIPs[:5000]...)
		time.Sleep(10 * time.Second)
		w.mu.Lock()
		sent := slices.Clone(w.sent)
		w.mu.Unlock()
		for i, at := range sent { // in any second
			if i >= MaxRate+30 && at.Sub(sent[i-MaxRate-30]) < time.Second {
				t.Fatalf("more than %d requests within a second", MaxRate)
			}
		}
		w.set("2-a", 0, State{})
		within(t, "unreachable", w.until(not(w.reachable("2-a"))), 150*ms, 200*ms)
	})
}

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1)
		w.run()
		defer w.end()
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		gaps := make(map[time.Duration]bool)
		for i, at := range w.sent[1:] {
			gap := at.Sub(w.sent[i])
			within(t, "next request", gap, 500*ms, 550*ms)
			gaps[gap] = true
		}
		if len(gaps) < len(w.sent)/2 {
			t.Errorf("%d different gaps of %d", len(gaps), len(w.sent)-1)
		}
	})
}

// Answers that take as long as many intervals are no loss.
func TestFarAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1)
		w.set("2-a", 700*ms, well)
		w.peers.Urgent(w.peers.cfg.VIPs...)
		w.run()
		defer w.end()
		w.until(w.reachable("2-a"))
		time.Sleep(10 * time.Second)
		if s := w.peers.Status()[0]; !s.Reachable || time.Since(s.Since) < 10*time.Second || s.RTT != 700*ms {
			t.Errorf("%+v", s)
		}
	})
}

func TestWhatPeersSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1)
		w.set("2-a", 6*ms, State{Announcing: true})
		w.set("3-a", 6*ms, State{Serving: true, Bridging: true})
		w.run()
		defer w.end()
		w.until(func() bool { return w.reachable("2-a")() && w.reachable("3-a")() })
		if w.targets() != nil || w.peers.Announced(w.peers.cfg.VIPs[0]) != nil {
			t.Errorf("targets %v, announced %v", w.targets(), w.peers.Announced(w.peers.cfg.VIPs[0]))
		}
		w.set("3-a", 6*ms, well)
		within(t, "target", w.until(func() bool { return len(w.targets()) > 0 }), 0, 556*ms)
	})
}

func TestCannotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1)
		w.error = errors.New("network is unreachable")
		w.run()
		defer w.end()
		w.until(func() bool { return w.peers.Status()[0].Reason == "cannot be asked: network is unreachable" })
		w.mu.Lock()
		w.error = nil
		w.mu.Unlock()
		w.until(func() bool { return w.peers.Status()[0].Reason == "has not answered yet" })
	})
}

// Another host answers: sids or sources of two hosts are mixed up.
func TestMisled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(t, 1)
		w.peers.judge(0, 0, 500*ms, 500*ms, 77, time.Now())
		m := message{kind: answer, name: "3-a", vip: w.peers.cfg.VIPs[0], nonce: 77, state: well}
		w.peers.receive(m.append(nil), addr("2001:db8:3::1"), addr("2001:db8:1::1"), nil)
		if s := w.peers.Status()[0]; s.Reachable || s.Reason != "3-a answers in its place: the sid or source of the two are mixed up" {
			t.Errorf("%+v", s)
		}
	})
}
