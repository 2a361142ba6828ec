package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// agentOf is the agent of a node in a bubble, until stop is called. What it says to the API goes through the transport.
func agentOf(t *testing.T, a *kubetest.API, node string) (b *Balancer, wire *kubetest.Transport, stop func()) {
	t.Helper()
	wire = a.Transport()
	b, err := newBalancer(BalancerConfig{
		Node: node, Pools: testPools, Lease: LeaseName{"kube-system", testLease}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)).With("node", node),
	}, &rest.Config{Host: "http://api", Transport: wire})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- b.Run(ctx) }()
	return b, wire, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// wants wants that a node is to do something now.
func (b *Balancer) wants(t *testing.T, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	if diff := cmp.Diff(want, b.lines()); diff != "" || !b.Synced() {
		t.Fatalf("%s: synced %v (-want +got)\n%s", when, b.Synced(), diff)
	}
}

// pastGone is what the fake cannot do: to tell a watch of what it missed.
func pastGone(r *http.Request) int {
	if r.URL.Query().Get("watch") == "true" && r.URL.Query().Get("sendInitialEvents") == "" {
		return http.StatusGone
	}
	return 0
}

// An hour without the API: nothing is taken back, the API is not asked too often, and afterwards what
// changed meanwhile is found soon.
func TestBalancerHourAway(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusInternalServerError, http.StatusUnauthorized} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := clusterOfTwo(t)
				b, _, stop := agentOf(t, a, "n1")
				defer stop()
				time.Sleep(time.Minute)
				b.wants(t, "at first", given1)
				var asked atomic.Int64
				a.Refuse(func(*http.Request) int { asked.Add(1); return status })
				a.BreakWatches()
				a.SetSilently(aSpread("a", "n2@fd00::2"))
				for n := range 60 {
					time.Sleep(time.Minute)
					b.wants(t, fmt.Sprintf("in minute %d", n), given1)
				}
				if b.election.leads() {
					t.Error("leads without the API")
				}
				if n := asked.Load(); n > 5000 {
					t.Errorf("asked %d times", n)
				}
				a.Refuse(pastGone)
				time.Sleep(2 * time.Minute)
				b.wants(t, "again", "shop/api/ipv6 2001:db8:53::c86c: leave at once: no ready endpoint on this node")
				if !b.election.leads() {
					t.Error("does not lead again")
				}
			})
		})
	}
}

// Who is hung up on was told nothing.
func TestHungUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := clusterOfTwo(t)
		b, wire, stop := agentOf(t, a, "n1")
		defer stop()
		time.Sleep(time.Minute)
		b.wants(t, "at first", given1)
		heard := b.State().Heard
		wire.Cut()
		a.BreakWatches()
		for n := range 10 {
			time.Sleep(time.Minute)
			b.wants(t, fmt.Sprintf("in minute %d", n), given1)
			for _, r := range b.readers {
				if !r.failing.Load() {
					t.Errorf("in minute %d: %s can be read", n, r.resource.name)
				}
			}
		}
		if again := b.State().Heard; !again.Equal(heard) {
			t.Errorf("heard of the API %v after it went away", again.Sub(heard))
		}
	})
}

// The leader's host dies, and its lease is not given back: nothing that is announced hangs on that, new Services wait for as long
// as the lease says, and then the other one gives them their addresses.
func TestLeaderDies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := clusterOfTwo(t)
		one, wire, kill := agentOf(t, a, "n1")
		time.Sleep(time.Minute)
		one.wants(t, "at first", given1)
		two, _, stop := agentOf(t, a, "n2")
		defer stop()
		time.Sleep(time.Minute)
		two.wants(t, "beside it", given2)

		wire.Cut()
		kill()
		a.Set(with(named(aBalanced(""), "new"), func(s *corev1.Service) { s.Spec.IPFamilies = s.Spec.IPFamilies[:1] }))
		died := time.Now()
		waits := "shop/new: 2001:db8:53::525f from pool edge: not written in its status yet"
		has := func() bool { return len(a.Service("shop", "new").Status.LoadBalancer.Ingress) > 0 }
		for ; !has(); time.Sleep(100 * time.Millisecond) {
			if since := time.Since(died); since > 3*leaseDuration {
				t.Fatalf("nobody gives addresses after %v", since)
			}
			if two.wants(t, "without a leader", given2, waits); two.election.leads() && time.Since(died) < leaseDuration*2/3 {
				t.Fatalf("leads after %v, when the other one might still do so", time.Since(died))
			}
		}
		two.wants(t, "led by itself", given2, strings.Replace(strings.Replace(waits, ": 2001", "/ipv6 2001", 1), " from pool edge: not written in its status yet", ": leave at once: no ready endpoint on this node", 1))
		if s := two.State(); s.Leader != "n2" {
			t.Errorf("led by %q", s.Leader)
		}
	})
}
