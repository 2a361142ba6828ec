package bridge

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sound() (Config, facts) {
	cfg := Config{
		Mode: SRv6, Uplinks: []string{"e0"}, SID: addr("2001:db8:1:d::6"), SID4: addr("2001:db8:1:d::4"), Source: addr("2001:db8:1::2"),
		VIPs: []netip.Prefix{single(addr(vip6)), single(addr(vip4))}, Peers: []Peer{peerOf("b")}, VNI: defaultVNI, Limit: defaultLimit,
	}
	return cfg, facts{
		uplinks:     []uplink{{name: "e0", exists: true, up: true, mtu: 1600, forwarding4: true}},
		forwarding6: true, looseTCP: true, source: cfg.Source, underlay: 1600,
	}
}

// Each unmet precondition is named, with its remedy; fatal is what makes a bridge worse than none.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(cfg *Config, f *facts)
		mode   Mode
		want   []string // name, fatal or not, part of the remedy
	}{
		{"all is well", func(*Config, *facts) {}, SRv6, nil},
		{"the only uplink is not there", func(_ *Config, f *facts) { f.uplinks = []uplink{{name: "e0"}} }, VXLAN, []string{"uplink fatal create it"}},
		{"one of two uplinks is not there", func(_ *Config, f *facts) { f.uplinks = append(f.uplinks, uplink{name: "e1"}) }, VXLAN, []string{"uplink create it"}},
		{"connections are looked for before routing", func(_ *Config, f *facts) { f.earlyDemux = true }, VXLAN, []string{"early_demux net.ipv4.tcp_early_demux=0"}},
		{"uplink down", func(_ *Config, f *facts) { f.uplinks[0].up = false }, VXLAN, []string{"uplink ip link set e0 up"}},
		{"no IPv6 forwarding", func(_ *Config, f *facts) { f.forwarding6 = false }, VXLAN, []string{"forwarding fatal sysctl -w net.ipv6.conf.all.forwarding=1"}},
		{"no IPv6 forwarding but on the uplink", func(_ *Config, f *facts) { f.forwarding6, f.uplinks[0].forwarding6 = false, true }, VXLAN, nil},
		{"IPv4 in SRv6 is forwarded as IPv6", func(cfg *Config, f *facts) { f.forwarding6, cfg.VIPs = false, cfg.VIPs[1:] }, SRv6,
			[]string{"forwarding fatal net.ipv6.conf.all.forwarding=1", "forwarding fatal net.ipv6.conf.all.forwarding=1"}},
		{"no IPv4 forwarding", func(_ *Config, f *facts) { f.uplinks[0].forwarding4 = false }, VXLAN, []string{"forwarding fatal net.ipv4.conf.e0.forwarding=1"}},
		{"no IPv4 forwarding, no IPv4 VIP", func(cfg *Config, f *facts) { f.uplinks[0].forwarding4, cfg.VIPs = false, cfg.VIPs[:1] }, VXLAN, nil},
		{"router advertisements are needed, and not heard", func(_ *Config, f *facts) { f.uplinks[0].acceptRA, f.uplinks[0].routerRoutes = 1, true }, VXLAN, []string{"accept_ra net.ipv6.conf.e0.accept_ra=2"}},
		{"router advertisements are not needed", func(_ *Config, f *facts) { f.uplinks[0].acceptRA = 1 }, VXLAN, nil},
		{"strict source check, two uplinks", func(cfg *Config, f *facts) {
			cfg.Uplinks, f.uplinks = []string{"e0", "e1"}, append(f.uplinks, uplink{name: "e1.7", exists: true, up: true, forwarding4: true, rpFilter: 1})
		}, SRv6, []string{"rp_filter net.ipv4.conf.e1/7.rp_filter=2"}},
		{"strict source check on the tunnel", func(_ *Config, f *facts) { f.tunnelFilter = 1 }, VXLAN, []string{"rp_filter net.ipv4.conf.anyedge0.rp_filter=2"}},
		{"loose source check on the tunnel", func(_ *Config, f *facts) { f.tunnelFilter, f.rpFilter = 2, 1 }, VXLAN, nil},
		{"source is not here", func(_ *Config, f *facts) { f.sourceState = "is no address of this host" }, VXLAN, []string{"source fatal unicast address"}},
		{"no way to a peer", func(_ *Config, f *facts) {
			f.ways = []way{{peer: "b", what: "sid", to: addr("2001:db8:2:d::6"), trouble: "cannot be reached"}}
		}, SRv6, []string{"route have the network route it"}},
		{"a narrow way to a peer", func(_ *Config, f *facts) {
			f.ways = []way{{peer: "b", what: "sid", to: addr("2001:db8:2:d::6"), mtu: 1500}}
		}, SRv6, []string{"mtu raise it to 1540"}},
		{"a narrow way to a peer does no harm to VXLAN", func(_ *Config, f *facts) {
			f.ways = []way{{peer: "b", what: "sid", to: addr("2001:db8:2:d::6"), mtu: 1500}}
		}, VXLAN, nil},
		{"SRv6 without room", func(_ *Config, f *facts) { f.underlay = 1500 }, SRv6, []string{"mtu raise it to 1540"}},
		{"VXLAN without room", func(_ *Config, f *facts) { f.underlay = 1300 }, VXLAN, []string{"mtu fatal raise it to 1350"}},
		{"SRv6 without SRv6", func(_ *Config, f *facts) { f.seg6 = errors.New("not supported") }, SRv6, []string{"seg6 fatal CONFIG_IPV6_SEG6_LWTUNNEL"}},
		{"others may use SRv6", func(_ *Config, f *facts) { f.seg6 = errors.New("not supported") }, VXLAN, []string{"seg6 CONFIG_IPV6_SEG6_LWTUNNEL"}},
		{"firewalls", func(_ *Config, f *facts) {
			f.firewall = firewall{forwardDrop: []string{"ip filter FORWARD"}, outputInvalid: []string{"inet f out"}, inputInvalid: []string{"inet f in"}, kubeProxy: "nft table ip nat", legacy: []string{"ip_tables nat"}}
		}, SRv6, []string{"firewall accept mark 0xae530002", "conntrack accept what comes from the VIPs", "kube-proxy take mode vxlan", "iptables see that FORWARD accepts mark 0xae530002"}},
		{"connection tracking knows only what it saw begin", func(_ *Config, f *facts) {
			f.looseTCP, f.firewall = false, firewall{inputInvalid: []string{"inet f in"}}
		}, VXLAN, []string{"conntrack nf_conntrack_tcp_loose=1"}},
		{"somebody's rule comes first", func(_ *Config, f *facts) { f.early = map[family][]int{family6: {5}} }, VXLAN, []string{"rules fatal behind 15"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg, f := sound()
			test.change(&cfg, &f)
			got := judge(cfg, test.mode, f)
			for i, want := range test.want {
				if i >= len(got) {
					break
				}
				name, remedy, _ := strings.Cut(want, " ")
				remedy, fatal := strings.CutPrefix(remedy, "fatal ")
				if g := got[i]; g.Name != name || g.Fatal != fatal || !strings.Contains(g.Remedy, remedy) || g.What == "" {
					t.Errorf("got %+v, want %s", g, want)
				}
			}
			if len(got) != len(test.want) {
				t.Errorf("got %+v, want %q", got, test.want)
			}
		})
	}
}

// The same, seen in a real machine, and what Set says then.
func TestProblems(t *testing.T) {
	w := newWorld(t, 1600)
	host := w.hosts["a"]
	host.sysctl(t, "net/ipv6/conf/all/forwarding", "0")
	host.sysctl(t, "net/ipv4/ip_forward", "0")
	host.run(t, "nft", "add table inet fw; "+
		"add chain inet fw forwarded { type filter hook forward priority 0; policy drop; }; "+
		"add chain inet fw outgoing { type filter hook output priority 0; }; add rule inet fw outgoing ct state invalid drop")
	host.batch(t, "-6 route add unreachable 2001:db8:3::/48")
	cfg := w.config("a", SRv6)
	cfg.Source = addr("2001:db8:1::77")
	b := startBridge(t, host, cfg)
	names := map[string]bool{}
	for _, p := range b.first.Problems {
		names[p.Name] = p.Fatal
	}
	want := map[string]bool{"forwarding": true, "source": true, "route": false, "firewall": false, "conntrack": false}
	if d := cmp.Diff(want, names); d != "" {
		t.Errorf("problems, and whether fatal (-want +got):\n%s\n%+v", d, b.first.Problems)
	}
	wanted := []Wanted{to(vip6, Target{"b", 1}), to(vip4, Target{"b", 1})}
	got := b.ask(order{Set: &wanted})
	if d := cmp.Diff([]string{vip6 + "/128", vip4 + "/32"}, got.VIPs); d != "" || !strings.Contains(got.Err, "forwarding=1") {
		t.Errorf("Set: %s\nerrors about (-want +got):\n%s", got.Err, d)
	}
	b.stop()

	host.sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	host.sysctl(t, "net/ipv4/ip_forward", "1")
	host.run(t, "nft", "insert", "rule", "inet", "fw", "forwarded", "meta", "mark", "0xae530002", "accept")
	host.run(t, "nft", "flush", "chain", "inet", "fw", "outgoing")
	host.batch(t, "-6 route del unreachable 2001:db8:3::/48")
	if b := startBridge(t, host, w.config("a", SRv6)); len(b.first.Problems) > 0 {
		t.Errorf("all is cured, and still: %+v", b.first.Problems)
	}
}

// While the host cannot be prepared, Set says why; once it can, all works.
func TestNotPrepared(t *testing.T) {
	w := newWorld(t, 1600)
	host := w.hosts["a"]
	host.batch(t, "link add anyedge0 type veth peer name other")
	b := startBridge(t, host, w.config("a", VXLAN))
	wanted := []Wanted{to(vip6, Target{"b", 1})}
	if got := b.ask(order{Set: &wanted}); !strings.Contains(got.Err, "not ours") {
		t.Errorf("Set: %q", got.Err)
	}
	wantProblem(t, b.first.Problems, "prepare")
	host.batch(t, "link del anyedge0")
	eventually(t, "the host is prepared", func() bool { return b.ask(order{Set: &wanted}).Err == "" })
}

func TestSetRefuses(t *testing.T) {
	w := newWorld(t, 1600)
	b := startBridge(t, w.hosts["a"], w.config("a", SRv6))
	good := to(vip4, Target{"b", 1})
	for want, wrong := range map[string]Wanted{
		"none of the configured VIPs":  to("2001:db8:53::54", Target{"b", 1}),
		"has no target":                to(vip6),
		"none of the configured peers": to(vip6, Target{"x", 1}),
		"appears twice":                to(vip6, Target{"b", 1}, Target{"b", 2}),
		"must be 1 to 256":             to(vip6, Target{"b", 257}),
		"is wanted twice":              good,
	} {
		wanted := []Wanted{good, wrong}
		got := b.ask(order{Set: &wanted})
		if !strings.Contains(got.Err, want) || !cmp.Equal(got.VIPs, []string{wrong.VIP.String()}) {
			t.Errorf("Set(%v): %q about %v, want %q", wrong, got.Err, got.VIPs, want)
		}
		if routes := w.hosts["a"].run(t, "ip", "route", "show", "table", "53000"); !strings.Contains(routes, vip4) {
			t.Errorf("%s: what is right was not bridged", want)
		}
	}
}
