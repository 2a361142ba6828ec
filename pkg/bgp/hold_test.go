package bgp_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bgp/bgptest"
)

// status waits until the one neighbor is as asked for.
func status(t *testing.T, s *bgp.Speaker, ok func(bgp.NeighborStatus) bool) bgp.NeighborStatus {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for {
		if n := s.Neighbors()[0]; ok(n) {
			return n
		}
		select {
		case <-s.Changed():
		case <-timeout.C:
			t.Fatalf("status %+v", s.Neighbors()[0])
		}
	}
}

func isUp(n bgp.NeighborStatus) bool   { return n.Established }
func isDown(n bgp.NeighborStatus) bool { return !n.Established }

func TestHoldAndRelease(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	s, _ := run(t, config("fd00::2", vip6))
	established(t, s)
	wait(t, s, set(t, s, vip6))
	peer.WaitFor(vip6)

	for session := 2; session <= 4; session++ { // each flap is like the first
		began := time.Now()
		if err := s.Hold(t.Context(), peer.Address(), "BFD down"); err != nil {
			t.Fatal(err)
		}
		peer.WaitDown()
		closed := time.Since(began)
		if _, _, reason := peer.Sessions(); !strings.Contains(reason, "administrative shutdown") {
			t.Errorf("the peer saw %q, want a Cease", reason)
		}
		if routes := peer.Routes(); len(routes) > 0 {
			t.Errorf("the peer still has %v", routes)
		}
		n := status(t, s, isDown)
		if n.Held != "BFD down" || n.Reason != "closed by this speaker: BFD down" || s.Carries(vip6) {
			t.Errorf("status %+v, carried %v", n, s.Carries(vip6))
		}

		began = time.Now()
		if err := s.Release(t.Context(), peer.Address()); err != nil {
			t.Fatal(err)
		}
		n = status(t, s, isUp)
		t.Logf("closed after %v, back after %v", closed, time.Since(began))
		if n.Held != "" || !s.Carries(vip6) {
			t.Errorf("status %+v, carried %v", n, s.Carries(vip6))
		}
		peer.WaitSession(session)
		peer.WaitFor(vip6)
	}
}

func TestHoldBeforeRun(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	s, err := bgp.NewSpeaker(config("fd00::2", vip6), discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Hold(t.Context(), peer.Address(), "waiting for BFD"); err != nil {
		t.Fatal(err)
	}
	serve(t, s)
	if n := s.Neighbors()[0]; n.Held != "waiting for BFD" || n.State != "idle" {
		t.Errorf("status %+v", n)
	}
	set(t, s, vip6)
	if err := s.Release(t.Context(), peer.Address()); err != nil {
		t.Fatal(err)
	}
	peer.WaitFor(vip6)
	if n, _, _ := peer.Sessions(); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

// A neighbor that flaps faster than a session comes back leaves nothing behind.
func TestHoldInQuickSuccession(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	s, _ := run(t, config("fd00::2", vip6))
	established(t, s)
	wait(t, s, set(t, s, vip6))
	for range 20 {
		if err := s.Hold(t.Context(), peer.Address(), ""); err != nil {
			t.Fatal(err)
		}
		if err := s.Release(t.Context(), peer.Address()); err != nil {
			t.Fatal(err)
		}
	}
	peer.WaitSession(2)
	peer.WaitFor(vip6)
	status(t, s, isUp)
}

func TestHoldOfUnknownNeighbor(t *testing.T) {
	s, err := bgp.NewSpeaker(config("fd00::2", vip6), discard)
	if err != nil {
		t.Fatal(err)
	}
	stranger := netip.MustParseAddr("fd00::3")
	for name, err := range map[string]error{"Hold": s.Hold(t.Context(), stranger, ""), "Release": s.Release(t.Context(), stranger)} {
		if err == nil || !strings.Contains(err.Error(), "neighbor fd00::3: is not configured") {
			t.Errorf("%s: %v, want an error that names the neighbor", name, err)
		}
	}
}

func TestHeard(t *testing.T) {
	first := peerAt(t, "fd00::2")
	second := peerAt(t, "fd00::3", func(c *bgptest.Config) { c.ASN = routerASN + 1 })
	c := config("fd00::2", vip6, vip4)
	c.Neighbors = append(c.Neighbors, bgp.Neighbor{Address: second.Address(), ASN: routerASN + 1})
	s, _ := run(t, c)
	established(t, s)
	heard := func(p netip.Prefix, want ...netip.Addr) {
		t.Helper()
		awaitHeard(t, s, p, want...)
	}

	first.Announce(vip6, vip4, vip6b)
	heard(vip6, first.Address())
	heard(vip4, first.Address())
	second.Announce(netip.MustParsePrefix("2001:db8:53::/48"), netip.MustParsePrefix("::/0"))
	heard(vip6, first.Address(), second.Address())
	first.Withdraw(vip6)
	heard(vip6, second.Address())

	second.AnnouncePath(netip.MustParsePrefix("2001:db8:53::/48"), speakerASN) // what it has now came from this speaker
	heard(vip6)

	first.Announce(vip6)
	heard(vip6, first.Address())
	if err := s.Hold(t.Context(), first.Address(), "test"); err != nil {
		t.Fatal(err)
	}
	heard(vip6)
	heard(vip4)
	if n, err := s.Table(); err != nil || n != 0 {
		t.Errorf("table has %d prefixes (error %v), want none", n, err)
	}
	if n := s.Neighbors()[1]; n.ReceivedUpdates == 0 {
		t.Errorf("status %+v", n)
	}
}

// awaitHeard waits until exactly these neighbors are heard.
func awaitHeard(t *testing.T, s *bgp.Speaker, p netip.Prefix, want ...netip.Addr) {
	t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for {
		have := s.Heard(p)
		if slices.Equal(have, want) {
			return
		}
		select {
		case <-s.Changed():
		case <-timeout.C:
			t.Fatalf("%s is heard from %v, want %v", p, have, want)
		}
	}
}
