package bgp_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bgp/bgptest"
)

func TestCommunities(t *testing.T) {
	a := bgp.CommunitiesOf(5, bgp.GracefulShutdown, 5)
	if b := bgp.CommunitiesOf(bgp.GracefulShutdown, 5); a != b {
		t.Errorf("%s and %s are not the same set", a, b)
	}
	if want := []bgp.Community{5, bgp.GracefulShutdown}; !slices.Equal(a.List(), want) || a.String() != "0:5 65535:0" {
		t.Errorf("%v, %s", a.List(), a)
	}
	if (bgp.Communities{}) != bgp.CommunitiesOf() {
		t.Error("the zero value is not the empty set")
	}
}

// said is what an announcement told, without where it led.
type said struct {
	Path           []uint32
	Communities    []uint32
	Large          []string
	MED, LocalPref int64 // -1: not sent
}

func saidOf(e bgptest.Event) said {
	number := func(n *uint32) int64 {
		if n == nil {
			return -1
		}
		return int64(*n)
	}
	return said{e.Path, e.Communities, e.LargeCommunities, number(e.MED), number(e.LocalPref)}
}

func worse(prefixes ...netip.Prefix) (ads []bgp.Advertisement) {
	for _, p := range prefixes {
		ads = append(ads, bgp.Advertisement{Prefix: p, Attributes: bgp.Depreferred()})
	}
	return ads
}

func path(asn uint32, n int) []uint32 { return slices.Repeat([]uint32{asn}, n) }

// One speaker, an external and an internal neighbor: each is told what it understands, and nothing is withdrawn when
// that changes.
func TestDepreferredBySessionType(t *testing.T) {
	external := peerAt(t, "fd00::2")
	internal := peerAt(t, "fd00::3", func(c *bgptest.Config) { c.ASN = speakerASN })
	got := newReports()
	c := config("fd00::2", vip6, vip4, vip6b)
	c.Neighbors = append(c.Neighbors, bgp.Neighbor{Address: netip.MustParseAddr("fd00::3"), ASN: speakerASN})
	c.OnReport = got.on
	s, _ := run(t, c)
	established(t, s)

	check := func(when string, want map[*bgptest.Peer]said) {
		t.Helper()
		for peer, want := range want {
			for _, p := range []netip.Prefix{vip6, vip4} {
				peer.WaitRoute(p, func(e bgptest.Event) bool { return cmp.Equal(saidOf(e), want) })
				t.Logf("%s: %s to %s", when, p, peer.Address())
			}
		}
	}
	plain := map[*bgptest.Peer]said{
		external: {Path: path(speakerASN, 1), MED: -1, LocalPref: -1},
		internal: {MED: -1, LocalPref: 100},
	}
	wait(t, s, set(t, s, vip6, vip4))
	check("announced", plain)

	g, err := s.Set(t.Context(), worse(vip6, vip4)...)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got.next(t, written(g))
	}
	shutdown := []uint32{65535 << 16}
	check("de-preferred", map[*bgptest.Peer]said{
		external: {Path: path(speakerASN, 11), Communities: shutdown, MED: 4294967294, LocalPref: -1},
		internal: {Communities: shutdown, MED: 4294967294, LocalPref: 0},
	})
	wait(t, s, set(t, s, vip6, vip4))
	check("as before", plain)

	for n := range uint8(bgp.MaxPrepend + 1) { // every bit of the count
		g, err := s.Set(t.Context(), bgp.Advertisement{Prefix: vip6b, Attributes: bgp.Attributes{Prepend: n}})
		if err != nil {
			t.Fatal(err)
		}
		wait(t, s, g)
		external.WaitRoute(vip6b, func(e bgptest.Event) bool { return slices.Equal(e.Path, path(speakerASN, 1+int(n))) })
	}
	for _, peer := range []*bgptest.Peer{external, internal} {
		for _, e := range peer.Events() {
			if e.Withdrawn && e.Prefix == vip6b || len(e.LargeCommunities) > 0 {
				t.Errorf("peer %s was sent %+v", peer.Address(), e)
			}
		}
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if i := slices.IndexFunc(got.all, failed); i >= 0 {
		t.Errorf("report %+v", got.all[i])
	}
}

// A session that comes up while a service is drained hears nothing else.
func TestDepreferredForANewSession(t *testing.T) {
	peer := peerAt(t, "fd00::2")
	s, _ := run(t, config("fd00::2", vip6))
	g, err := s.Set(t.Context(), worse(vip6)...)
	if err != nil {
		t.Fatal(err)
	}
	established(t, s)
	wait(t, s, g)
	peer.WaitFor(vip6)
	peer.Reset()
	peer.WaitSession(2)
	peer.WaitFor(vip6)
	for _, e := range peer.Events() {
		if !e.Withdrawn && len(e.Path) != 11 {
			t.Errorf("the peer was sent %+v", e)
		}
	}
}

func TestRefusedAttributes(t *testing.T) {
	peerAt(t, "fd00::2")
	s, _ := run(t, config("fd00::2", vip6))
	for _, bad := range [][]bgp.Advertisement{
		{{Prefix: vip6, Attributes: bgp.Attributes{Prepend: bgp.MaxPrepend + 1}}},
		append(worse(vip6), bgp.Advertisement{Prefix: vip6}),
	} {
		if _, err := s.Set(t.Context(), bad...); err == nil {
			t.Errorf("Set took %+v", bad)
		}
	}
}
