package bridge

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConfig(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string // "" is well
	}{
		{"all is well", func(*Config) {}, ""},
		{"off needs nothing", func(c *Config) { *c = Config{Mode: Off} }, ""},
		{"no uplink", func(c *Config) { c.Uplinks = nil }, "bridge: uplinks: name the interfaces"},
		{"lo is no uplink", func(c *Config) { c.Uplinks = []string{"lo"} }, `uplink "lo": must be the name of an interface other than lo`},
		{"twice the same uplink", func(c *Config) { c.Uplinks = []string{"e0", "e0"} }, "uplink e0: appears twice"},
		{"VNI", func(c *Config) { c.VNI = 1 << 24 }, "vni 16777216: must be below 2^24"},
		{"limit", func(c *Config) { c.Limit = -1 }, "limit -1: must be positive"},
		{"a network is no VIP", func(c *Config) { c.VIPs[0] = netip.MustParsePrefix("2001:db8::/64") }, "VIP 2001:db8::/64: must be one unicast address"},
		{"twice the same VIP", func(c *Config) { c.VIPs[1] = c.VIPs[0] }, "VIP 2001:db8:53::53/128: appears twice"},
		{"a VIP is no source", func(c *Config) { c.Source = addr(vip6) }, "this host: source 2001:db8:53::53: is already a VIP"},
		{"a VIP is no segment", func(c *Config) { c.Peers[0].SID = addr(vip6) }, "peer b: sid 2001:db8:53::53: is already a VIP"},
		{"one segment cannot be both", func(c *Config) { c.SID4 = c.SID }, "this host: sid4 2001:db8:1:d::6: is already sid of this host"},
		{"a segment is IPv6", func(c *Config) { c.SID4 = addr(vip4) }, "this host: sid4 192.0.2.53: not of the right kind"},
		{"a peer has a name", func(c *Config) { c.Peers[0].Name = "" }, "peer 1: name: missing"},
		{"a peer has a source", func(c *Config) { c.Peers[0].Source = netip.Addr{} }, "peer b: source: missing"},
		{"a peer is not this host", func(c *Config) { c.Peers[0].Source = c.Source }, "peer b: source 2001:db8:1::2: is already source of this host"},
		{"twice the same peer", func(c *Config) { c.Peers = append(c.Peers, Peer{Name: "b", Source: addr("2001:db8::9")}) }, "peer b: appears twice"},
		{"SRv6 without a segment", func(c *Config) { c.Mode, c.Peers[0].SID4 = SRv6, netip.Addr{} }, "mode srv6: peer b: sid4: missing"},
		{"no IPv4 VIP needs no segment for IPv4", func(c *Config) { c.Mode, c.SID4, c.VIPs = SRv6, netip.Addr{}, c.VIPs[:1] }, ""},
		{"two families of endpoints", func(c *Config) { c.Peers[0].Source = addr("10.0.2.2") }, "sources 2001:db8:1::2 and 10.0.2.2: must be of one address family"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg, _ := sound()
			test.change(&cfg)
			switch _, err := cfg.withDefaults(); {
			case err == nil && test.want != "":
				t.Errorf("no error, want %q", test.want)
			case err != nil && (test.want == "" || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %q, want %q", err, test.want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		name     string
		change   func(*Config)
		underlay int
		seg6     error
		want     Mode
	}{
		{"room and segments", func(*Config) {}, 1540, nil, SRv6},
		{"no room", func(*Config) {}, 1539, nil, VXLAN},
		{"no SRv6 in the kernel", func(*Config) {}, 9000, errors.New("no"), VXLAN},
		{"a peer has no segment", func(c *Config) { c.Peers[0].SID = netip.Addr{} }, 9000, nil, VXLAN},
		{"told so", func(c *Config) { c.Mode = SRv6 }, 1500, nil, SRv6},
	} {
		cfg, _ := sound()
		cfg.Mode = Auto
		test.change(&cfg)
		if got, reason := choose(cfg, test.underlay, test.seg6); got != test.want || reason == "" {
			t.Errorf("%s: %v, %q, want %v", test.name, got, reason, test.want)
		}
	}
}

func TestParseMode(t *testing.T) {
	for _, m := range []Mode{Auto, SRv6, VXLAN, Off} {
		if got, err := ParseMode(m.String()); got != m || err != nil {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	if _, err := ParseMode("gre"); err == nil || !strings.Contains(err.Error(), `mode "gre": must be`) {
		t.Error(err)
	}
}

// The counters of the filter begin anew with each bridge and with each new table; what they said before still counts.
func TestTally(t *testing.T) {
	vip := addr(vip6)
	other := addr(vip4)
	tl := newTally([]netip.Prefix{single(vip), single(other)})
	start := time.Now()
	at := func(after time.Duration) time.Time { return start.Add(after) }
	read := func(after time.Duration, packets, dropped uint64) bool {
		return tl.sent(at(after), map[netip.Addr]counter{vip: {packets, 10 * packets}}, map[netip.Addr]counter{vip: {dropped, 0}})
	}
	for _, step := range []struct {
		name    string
		changed bool
		do      func() bool
		want    Traffic
	}{
		{"on, and nothing comes", false, func() bool { tl.switched([]netip.Addr{vip}, nil); return read(0, 0, 0) }, Traffic{}},
		{"busy", true, func() bool { return read(time.Second, 5, 1) }, Traffic{Packets: 5, Bytes: 50, Dropped: 1, Last: at(time.Second)}},
		{"still busy", false, func() bool { return read(1900*time.Millisecond, 5, 1) }, Traffic{Packets: 5, Bytes: 50, Dropped: 1, Last: at(time.Second)}},
		{"quiet", true, func() bool { return read(2*time.Second, 5, 1) }, Traffic{Packets: 5, Bytes: 50, Dropped: 1, Last: at(time.Second)}},
		{"a new table", true, func() bool { return read(3*time.Second, 2, 0) }, Traffic{Packets: 7, Bytes: 70, Dropped: 1, Last: at(3 * time.Second)}},
		{"off and on", false, func() bool {
			tl.switched(nil, []netip.Addr{vip})
			tl.switched([]netip.Addr{vip}, nil)
			return read(5*time.Second, 0, 0)
		}, Traffic{Packets: 7, Bytes: 70, Dropped: 1, Last: at(3 * time.Second)}},
		{"more than before", true, func() bool { return read(6*time.Second, 3, 3) }, Traffic{Packets: 10, Bytes: 100, Dropped: 4, Last: at(6 * time.Second)}},
		{"received", false, func() bool { tl.received(map[netip.Addr]counter{vip: {4, 1}}); return false }, Traffic{Packets: 10, Bytes: 100, Dropped: 4, Last: at(6 * time.Second), Received: 4}},
		{"an address of nobody's", false, func() bool {
			return tl.sent(at(6*time.Second), map[netip.Addr]counter{addr("::9"): {4, 1}}, nil)
		}, Traffic{Packets: 10, Bytes: 100, Dropped: 4, Last: at(6 * time.Second), Received: 4}},
	} {
		if got := step.do(); got != step.changed {
			t.Errorf("%s: changed %t, want %t", step.name, got, step.changed)
		}
		want := map[netip.Prefix]Traffic{single(vip): step.want, single(other): {}}
		if d := cmp.Diff(want, tl.traffic(), cmp.Comparer(samePrefix)); d != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, d)
		}
	}
}

// All hosts compute the same addresses for a host's end of the tunnel. Changing this needs all of them at once.
func TestTunnelAddresses(t *testing.T) {
	endpoint := addr("2001:db8:1::2")
	if got := hardwareAddr(endpoint).String() + " " + gateway(endpoint).String(); got != "02:05:9c:93:9a:7f fe80::5:9cff:fe93:9a7f" {
		t.Error(got)
	}
}
