package bfd

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConfigs(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	local := netip.MustParseAddr("fe80::1%eth0")
	for name, tt := range map[string]struct {
		configs []Config
		want    string // part of the error; empty: good
	}{
		"no session":              {nil, ""},
		"no peer":                 {[]Config{{}}, "unicast"},
		"mapped":                  {[]Config{{Peer: netip.MustParseAddr("::ffff:192.0.2.1")}}, "IPv4 in its own form"},
		"multicast":               {[]Config{{Peer: netip.MustParseAddr("ff02::1")}}, "unicast"},
		"link-local without zone": {[]Config{{Peer: local.WithZone("")}}, "fe80::1%eth0"},
		"link-local, interface":   {[]Config{{Peer: local.WithZone(""), Interface: "eth0"}}, ""},
		"two interfaces":          {[]Config{{Peer: local, Interface: "eth1"}}, "the address says eth0"},
		"families":                {[]Config{{Peer: v4, Local: v6}}, "peer's family"},
		"local unspecified":       {[]Config{{Peer: v4, Local: netip.IPv4Unspecified()}}, "peer's family"},
		"too fast":                {[]Config{{Peer: v4, Interval: 999 * time.Microsecond}}, "1ms to 1m"},
		"too slow":                {[]Config{{Peer: v4, Interval: time.Minute + 1}}, "1ms to 1m"},
		"fractions":               {[]Config{{Peer: v4, Interval: 10*time.Millisecond + 1}}, "whole microseconds"},
		"either and multihop":     {[]Config{{Peer: v4, Either: true, Multihop: true}}, "direct"},
		"ttl of a direct peer":    {[]Config{{Peer: v4, MinTTL: 254}}, "must have 255"},
		"twice":                   {[]Config{{Peer: v4}, {Peer: v4, Multihop: true}}, "named twice"},
		"twice, one anywhere":     {[]Config{{Peer: v6, Interface: "eth0"}, {Peer: v6}}, "named twice"},
		"one on each interface":   {[]Config{{Peer: local}, {Peer: local.WithZone("eth1")}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(nil, tt.configs...)
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	peer := netip.MustParseAddr("fe80::1%eth0")
	want := Config{Peer: peer, Interface: "eth0", Interval: 50 * time.Millisecond, Multiplier: 3}
	if diff := cmp.Diff(want, Config{Peer: peer}.withDefaults(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestListens(t *testing.T) {
	peer4, peer6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	local4, local6 := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")
	for name, tt := range map[string]struct {
		configs []Config
		want    string
	}{
		"any":            {[]Config{{Peer: peer4}, {Peer: peer6}}, "0.0.0.0:3784 [::]:3784"},
		"locals":         {[]Config{{Peer: peer4, Local: local4}, {Peer: peer6, Local: local6, Multihop: true}}, "192.0.2.2:3784 [2001:db8::2]:4784"},
		"same local":     {[]Config{{Peer: peer6, Local: local6}, {Peer: peer6.Next(), Local: local6}}, "[2001:db8::2]:3784"},
		"one has none":   {[]Config{{Peer: peer6, Local: local6}, {Peer: peer6.Next()}}, "[::]:3784"},
		"either":         {[]Config{{Peer: peer6, Either: true}}, "[::]:3784 [::]:4784"},
		"link-local one": {[]Config{{Peer: netip.MustParseAddr("fe80::1%eth0"), Local: netip.MustParseAddr("fe80::2")}}, "[::]:3784"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, l := range listens(tt.configs) {
				got = append(got, l.address.String())
				if l.multihop != (l.address.Port() == portMultihop) {
					t.Errorf("%+v", l)
				}
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Once the peer knows our discriminator it alone counts, on the right port; before, the peer's address and interface.
func TestDemux(t *testing.T) {
	peer := netip.MustParseAddr("fe80::1%eth0")
	s, err := New(nil, Config{Peer: peer}, Config{Peer: peer.WithZone("eth1")}, Config{Peer: netip.MustParseAddr("192.0.2.1"), Multihop: true},
		Config{Peer: netip.MustParseAddr("192.0.2.2"), Either: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range s.runners {
		r.localDiscr = uint32(i + 1)
	}
	s.runners[0].senders[0].ifindex, s.runners[1].senders[0].ifindex = 7, 8
	d := newDemux(s.runners)
	link, far, either, stranger := peer.WithZone(""), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	for _, tt := range []struct {
		discriminator uint32
		from          netip.Addr
		ifindex       int
		multihop      bool
		want          int // number of the session, from 1; 0: none
	}{
		{1, link, 7, false, 1},
		{1, stranger, 9, false, 1}, // RFC 5880 section 6.3
		{1, link, 7, true, 0},
		{3, far, 7, false, 0},
		{3, far, 7, true, 3},
		{4, either, 7, true, 4},
		{4, either, 7, false, 4},
		{5, link, 7, false, 0},
		{0, link, 7, false, 1},
		{0, link, 8, false, 2},
		{0, link, 9, false, 0},
		{0, far, 9, true, 3},
		{0, far, 9, false, 0},
		{0, either, 9, false, 4},
		{0, stranger, 7, false, 0},
	} {
		got := 0
		if r := d.find(packet{yourDiscr: tt.discriminator}, &datagram{from: tt.from, ifindex: tt.ifindex}, tt.multihop); r != nil {
			got = int(r.localDiscr)
		}
		if got != tt.want {
			t.Errorf("%+v: session %d", tt, got)
		}
	}
}
