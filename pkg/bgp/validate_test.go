package bgp_test

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/bgp"
)

func TestNewSpeakerRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*bgp.Config)
		want   string
	}{
		{"asn 0", func(c *bgp.Config) { c.ASN = 0 }, "asn 0: is reserved"},
		{"AS_TRANS", func(c *bgp.Config) { c.ASN = 23456 }, "asn 23456: is reserved"},
		{"router id IPv6", func(c *bgp.Config) { c.RouterID = netip.MustParseAddr("::1") }, "router id ::1: must be an IPv4 address"},
		{"router id zero", func(c *bgp.Config) { c.RouterID = netip.IPv4Unspecified() }, "router id 0.0.0.0: must be"},
		{"port", func(c *bgp.Config) { c.ListenPort = 65536 }, "listen port 65536: must be"},
		{"hold time short", func(c *bgp.Config) { c.HoldTime = 2 * time.Second }, "hold time 2s: must be whole seconds from 3s"},
		{"hold time fraction", func(c *bgp.Config) { c.HoldTime = 3500 * time.Millisecond }, "hold time 3.5s: must be whole seconds"},
		{"no neighbor", func(c *bgp.Config) { c.Neighbors = nil }, "no neighbor"},
		{"neighbor unset", func(c *bgp.Config) { c.Neighbors[0].Address = netip.Addr{} }, "must be a unicast address"},
		{"neighbor multicast", func(c *bgp.Config) { c.Neighbors[0].Address = netip.MustParseAddr("ff02::1") }, "must be a unicast address"},
		{"neighbor mapped", func(c *bgp.Config) { c.Neighbors[0].Address = netip.MustParseAddr("::ffff:192.0.2.1") }, "IPv4 in its own form"},
		{"neighbor without zone", func(c *bgp.Config) { c.Neighbors[0].Address = netip.MustParseAddr("fe80::1") }, "fe80::1%eth0"},
		{"neighbor asn", func(c *bgp.Config) { c.Neighbors[0].ASN = 0 }, "neighbor fd00::2: asn 0: is reserved"},
		{"neighbor twice", func(c *bgp.Config) { c.Neighbors = append(c.Neighbors, c.Neighbors[0]) }, "neighbor fd00::2: is named twice"},
		{"password long", func(c *bgp.Config) { c.Neighbors[0].Password = strings.Repeat("x", 81) }, "longer than the 80 bytes"},
		{"prefix unset", func(c *bgp.Config) { c.Allowed = []netip.Prefix{{}} }, "must be a prefix without host bits"},
		{"prefix host bits", func(c *bgp.Config) { c.Allowed = []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")} }, "prefix 2001:db8::1/64: must be"},
		{"prefix twice", func(c *bgp.Config) { c.Allowed = []netip.Prefix{vip6, vip6} }, "is named twice"},
		{"no session for IPv6", func(c *bgp.Config) { c.Neighbors[0].Address = netip.MustParseAddr("192.0.2.1") }, "no session can carry it, add a neighbor with an IPv6 address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config("fd00::2", vip6)
			c.change(&cfg)
			_, err := bgp.NewSpeaker(cfg, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "xxx") {
				t.Error("the error holds the password")
			}
		})
	}
}

func TestNewSpeakerTakesLittle(t *testing.T) {
	cfg := config("192.0.2.1", vip4)
	cfg.RouterID, cfg.ListenPort, cfg.HoldTime = netip.Addr{}, 0, 0
	if _, err := bgp.NewSpeaker(cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
}
