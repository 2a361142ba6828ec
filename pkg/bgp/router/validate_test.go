package router_test

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/bgp/router"
)

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*router.Config)
		want   string
	}{
		{"asn", func(c *router.Config) { c.ASN = 0 }, "asn: is missing"},
		{"id", func(c *router.Config) { c.RouterID = netip.Addr{} }, "must be an IPv4 address"},
		{"id IPv6", func(c *router.Config) { c.RouterID = netip.MustParseAddr("::1") }, "id ::1: must be an IPv4 address"},
		{"hold time", func(c *router.Config) { c.HoldTime = time.Second }, "hold time 1s: must be whole seconds, at least 3s"},
		{"neighbor", func(c *router.Config) { c.Neighbors[0].Address = netip.Addr{} }, "must be a unicast address"},
		{"iBGP", func(c *router.Config) { c.Neighbors[0].ASN = c.ASN }, "only eBGP is supported"},
		{"neighbor twice", func(c *router.Config) { c.Neighbors = append(c.Neighbors, c.Neighbors[0]) }, "neighbor fd00::2: is named twice"},
		{"prefix", func(c *router.Config) { c.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")} }, "prefix 10.0.0.1/8: must be a prefix without host bits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := router.Config{ASN: 65000, RouterID: netip.MustParseAddr("10.0.0.1"), Neighbors: []router.Neighbor{{Address: netip.MustParseAddr("fd00::2"), ASN: 65001}}}
			c.change(&cfg)
			_, err := router.New(cfg, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
