package config

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bfd"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bgp/router"
	"github.com/anyedge/anyedge/pkg/bridge"
	"github.com/anyedge/anyedge/pkg/discovery"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/lab"
	"github.com/anyedge/anyedge/pkg/session"
	"github.com/anyedge/anyedge/pkg/steering"
)

// diff compares whole values; netip types compare with ==.
func diff(want, got any) string {
	return cmp.Diff(want, got,
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.Comparer(func(a, b *regexp.Regexp) bool { return a == b || a != nil && b != nil && a.String() == b.String() }))
}

func hostVIP(s string) announce.VIP {
	p := netip.MustParsePrefix(s)
	return announce.VIP{Address: p, Announce: p}
}

func prefixes(all ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range all {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// every is a check's schedule as the documentation gives it for a file that does not.
func every(name string, c health.Checker) health.Check {
	return health.Check{
		Name: name, Checker: c, Interval: time.Second, Timeout: 500 * time.Millisecond,
		FastInterval: 200 * time.Millisecond, Rise: 3, Fall: 3,
	}
}

func remote(c health.Check) health.Check {
	c.Remote = true
	return c
}

func TestRequire(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"all": 0, "any": 1, "1": 1, "3": 3} {
		a := mustParse(t, ParseAgent, agentFile, "settle: 2s", "require: "+text)
		if got := a.Services[0].Health.Require; got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
}

func TestParseAgentMinimal(t *testing.T) {
	t.Parallel()
	got, err := ParseAgent("f", strings.NewReader(`
site: a
bgp: {asn: 64611, neighbors: [{address: 192.0.2.1, asn: 65533}]}
services: [{name: web, vips: [192.0.2.80/32], checks: [{name: up, type: listener, proto: tcp, port: 80}]}]
`))
	want := Agent{
		Site: "a", Name: "a", Bridge: bridge.Config{Mode: bridge.Off},
		BGP: bgp.Config{
			ASN: 64611, ListenPort: -1, HoldTime: 9 * time.Second,
			Neighbors: []bgp.Neighbor{{Address: netip.MustParseAddr("192.0.2.1"), ASN: 65533}},
			Allowed:   prefixes("192.0.2.80/32"),
		},
		VIP: VIP{Manage: true, Interface: "lo"},
		Services: []Service{{
			Announce: announce.Service{
				Name: "web", VIPs: []announce.VIP{hostVIP("192.0.2.80/32")},
				Settle: 2 * time.Second, Drain: time.Second,
			},
			Health: health.Service{Name: "web", Checks: []health.Check{{
				Name: "up", Listener: &health.Listener{Network: "tcp", Port: 80},
				Interval: time.Second, FastInterval: 200 * time.Millisecond, Rise: 1, Fall: 1,
			}}},
		}},
	}
	if d := diff(want, got); err != nil || d != "" {
		t.Errorf("error %v (-want +got)\n%s", err, d)
	}
}

func TestParseAgentSample(t *testing.T) {
	t.Parallel()
	got := sample(t, "edgeagent.yaml", ParseAgent)
	covering := netip.MustParsePrefix("2001:db8:80::/48")
	web := []announce.VIP{hostVIP("2001:db8:80::80/128"), hostVIP("2001:db8:80::81/128")}
	web[0].Announce, web[1].Announce = covering, covering
	want := Agent{
		Site: "mec-1", Name: "mec-1-a",
		BGP: bgp.Config{
			ASN: 64611, RouterID: netip.MustParseAddr("10.1.0.10"), ListenPort: -1, HoldTime: 9 * time.Second,
			Neighbors: []bgp.Neighbor{
				{Address: netip.MustParseAddr("fd00:1::1"), ASN: 65533, TTLSecurity: true},
				{Address: netip.MustParseAddr("fe80::1%eth1"), ASN: 65533},
				{Address: netip.MustParseAddr("2001:db8:ff::1"), ASN: 65500, Multihop: 3},
			},
			Allowed: prefixes("2001:db8:53::53/128", "192.0.2.53/32", "2001:db8:80::/48", "2001:db8:81::81/128"),
			Pools:   prefixes("2001:db8:54::/112", "198.51.100.0/27", "2001:db8:55::/120"),
		},
		BFD: []BFD{
			{Config: bfd.Config{Peer: netip.MustParseAddr("fd00:1::1"), Either: true, Interval: 50 * time.Millisecond, Multiplier: 3}},
			{Config: bfd.Config{Peer: netip.MustParseAddr("2001:db8:ff::1"), Multihop: true, Interval: 50 * time.Millisecond, Multiplier: 3}},
		},
		VIP: VIP{Manage: true, Interface: "lo"},
		Bridge: bridge.Config{
			Mode: bridge.Auto, Uplinks: []string{"eth1"}, VNI: 4660, Limit: 100_000, Source: netip.MustParseAddr("2001:db8:1:1::10"),
			SID: netip.MustParseAddr("2001:db8:1::d6"), SID4: netip.MustParseAddr("2001:db8:1::d4"),
			VIPs: prefixes("2001:db8:53::53/128", "192.0.2.53/32", "2001:db8:80::80/128", "2001:db8:80::81/128", "2001:db8:81::81/128"),
			Peers: []bridge.Peer{
				{
					Name: "mec-1-b", Site: "mec-1", Source: netip.MustParseAddr("2001:db8:1:1::11"),
					SID: netip.MustParseAddr("2001:db8:1:b::d6"), SID4: netip.MustParseAddr("2001:db8:1:b::d4"),
				},
				{
					Name: "mec-2-a", Site: "mec-2", Source: netip.MustParseAddr("2001:db8:2:1::10"),
					SID: netip.MustParseAddr("2001:db8:2::d6"), SID4: netip.MustParseAddr("2001:db8:2::d4"),
				},
			},
		},
		Times:   announce.Times{Grace: time.Second, Max: time.Minute},
		Peering: Peering{Port: 9412, Interval: 500 * time.Millisecond},
		Kubernetes: &AgentKubernetes{
			Namespaces: []string{"shop", "live"}, Class: "anyedge/anycast", Node: "mec-1-a",
			Pools: []AddressPool{
				{Name: "edge", Prefixes: prefixes("2001:db8:54::/112", "198.51.100.0/27"), Auto: true},
				{Name: "own", Prefixes: prefixes("2001:db8:55::/120")},
			},
			Check: every("", nil), Settle: 2 * time.Second, Drain: 5 * time.Second,
			Lease: Lease{"kube-system", "edgeagent-addresses"}, Status: true, Resync: 10 * time.Minute,
		},
		Guards: announce.Guards{Brake: announce.Brake{Share: 0.5, Window: 10 * time.Second}},
		Services: []Service{
			{
				Announce: announce.Service{
					Name: "dns", VIPs: []announce.VIP{hostVIP("2001:db8:53::53/128"), hostVIP("192.0.2.53/32")},
					Settle: 2 * time.Second, Drain: 5 * time.Second, File: "/run/anyedge/drain-dns",
					Guard: announce.Guard{
						Withdrawals: 10, Per: time.Hour, HoldDown: announce.HoldDown{Base: time.Second, Max: 10 * time.Minute},
					},
				},
				Health: health.Service{Name: "dns", Checks: []health.Check{
					every("answers", health.DNS{Target: netip.MustParseAddrPort("[::1]:53"), Name: "health.edge.example.", Type: 28}),
					{
						Name: "socket", Listener: &health.Listener{Network: "udp", Port: 53},
						Interval: time.Second, FastInterval: 200 * time.Millisecond, Rise: 1, Fall: 1,
					},
					{
						Name: "lives", Process: &health.Process{Unit: "edgedns.service"},
						Interval: time.Second, FastInterval: 200 * time.Millisecond, Rise: 1, Fall: 1,
					},
				}},
			},
			{
				Announce: announce.Service{Name: "web", VIPs: web, Settle: 2 * time.Second, Drain: time.Second},
				Health: health.Service{Name: "web", Checks: []health.Check{
					every("connects", health.TCP{Target: netip.MustParseAddrPort("[::1]:80")}),
					every("greets", health.TCP{
						Local:  health.Local{Source: netip.IPv6Loopback(), Device: "lo"},
						Target: netip.MustParseAddrPort("[::1]:25"),
						Send:   []byte("EHLO check\r\n"), Expect: regexp.MustCompile("^220"),
					}),
					every("replies", health.UDP{Target: netip.MustParseAddrPort("[::1]:7000"), Send: []byte{1, 255}}),
				}},
			},
			{
				Announce: announce.Service{
					Name: "api", VIPs: []announce.VIP{hostVIP("2001:db8:81::81/128")}, Settle: 2 * time.Second, Drain: time.Second,
				},
				Health: health.Service{Name: "api", Require: 2, Checks: []health.Check{
					every("page", health.HTTP{
						Target: netip.MustParseAddrPort("[::1]:8080"), Path: "/healthz?full=1", Host: "api.edge.example", Method: "GET",
						Status:          []health.StatusRange{{From: 200, To: 200}, {From: 204, To: 204}, {From: 301, To: 303}},
						Header:          []health.HeaderMatch{{Name: "Content-Type", Value: regexp.MustCompile("^application/json")}},
						Body:            regexp.MustCompile(`"status": *"up"`),
						FollowRedirects: true,
					}),
					every("secure", health.HTTP{
						Target: netip.MustParseAddrPort("[::1]:8443"), Path: "/healthz", Host: "api.edge.example", Method: "GET",
						TLS: true, ServerName: "internal.edge.example",
					}),
					every("disk", health.Exec{
						Command: []string{"/usr/local/bin/check-disk", "--free", "10%"}, Env: []string{"LIMIT=5G"},
					}),
					remote(every("gateway", health.ICMP{Target: netip.MustParseAddr("fd00:1::1")})),
				}},
			},
		},
		API:     API{Socket: "/run/anyedge/agent.sock", Drains: "/var/lib/anyedge/journal.jsonl.drains"},
		Journal: "/var/lib/anyedge/journal.jsonl",
		Metrics: netip.MustParseAddrPort("[::1]:9410"),
	}
	if d := diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestParseDNSSample(t *testing.T) {
	t.Parallel()
	got := sample(t, "edgedns.yaml", ParseDNS)
	first, second := netip.MustParseAddr("2001:db8:1::10"), netip.MustParseAddr("2001:db8:1::11")
	asked := func(pod netip.Addr) discovery.Target {
		return discovery.Target{
			Address: netip.AddrPortFrom(pod, 9100), Path: "/metrics", Format: discovery.Prometheus, Interval: time.Second, Timeout: 500 * time.Millisecond,
			Names: discovery.Names{InFlight: "http_requests_in_flight", Latency: "http_request_duration_seconds", CPU: "process_cpu_seconds_total"},
		}
	}
	want := DNS{
		Site: "mec-1", Node: "host-a",
		Listen: []netip.AddrPort{
			netip.MustParseAddrPort("[::1]:53"), netip.MustParseAddrPort("[2001:db8:53::53]:53"), netip.MustParseAddrPort("192.0.2.53:53"),
		},
		Zones: []dnsserver.Zone{{
			Name: "edge.example.", TTL: 5 * time.Second, MinTTL: time.Second,
			NS: []dnsserver.NS{
				{Name: "ns.edge.example.", Addresses: []netip.Addr{netip.MustParseAddr("2001:db8:53::53"), netip.MustParseAddr("192.0.2.53")}},
				{Name: "ns.backup.example."},
			},
		}, {
			Name: "10.1.10.in-addr.arpa.", TTL: 5 * time.Second, MinTTL: time.Second, NS: []dnsserver.NS{{Name: "ns.edge.example."}},
		}},
		Services: []DNSService{{
			Service: steering.Service{
				Name: "api.edge.example.", Policy: steering.Capacity, Answers: 2, PortName: "https", Protocol: "tcp", ALPN: []string{"h2", "http/1.1"},
				Endpoints: []steering.Endpoint{
					{Address: first, Port: 8080, Capacity: 100, Holds: 387500 * time.Microsecond, Instance: "0", Node: "host-a", Near: true, Zone: "rack-1"},
					{Address: second, Port: 8080, Capacity: 50, Holds: 387500 * time.Microsecond, Instance: "1", Node: "host-b", Zone: "rack-2"},
					{Address: netip.MustParseAddr("10.1.10.12"), Port: 8080, State: steering.Up, Capacity: 1, Distance: 3 * time.Millisecond, Draining: true},
					{Address: netip.MustParseAddr("10.1.10.13"), Port: 8080, State: steering.Up, Capacity: 0.75},
				},
				Panic: steering.Panic{
					Below: 0.5, Mode: steering.PanicOther, Fallback: []netip.Addr{netip.MustParseAddr("2001:db8:2::10"), netip.MustParseAddr("10.2.10.10")},
				},
				SlowStart: 30 * time.Second,
				Semantic:  steering.Semantic{App: "shop", AppNS: "acme", Service: "api", ServiceNS: "prod"},
			},
			Load: Load{Interval: time.Second, Targets: []discovery.Target{asked(first), asked(second), asked(netip.MustParseAddr("10.1.10.12")), {}}},
			Checks: []EndpointCheck{
				{Index: 0, Check: every("tcp", health.TCP{Target: netip.AddrPortFrom(first, 8080)})},
				{Index: 1, Check: every("http", health.HTTP{Target: netip.AddrPortFrom(second, 8080), Path: "/healthz", Method: "GET"})},
			},
		}},
		Access: &dnsserver.Access{
			ACL:   dnsserver.ACL{Deny: prefixes("2001:db8:bad::/48")},
			Zones: map[string]dnsserver.ACL{"edge.example.": {Allow: prefixes("2001:db8::/32", "10.0.0.0/8")}},
			Views: []dnsserver.View{{Name: "inside", Clients: prefixes("2001:db8:1::/48", "10.1.0.0/16")}, {
				Name: "shop", Clients: prefixes("fd00:10:1::/64"), Namespace: "shop",
			}, {
				Name: "outside", Clients: prefixes("::/0", "0.0.0.0/0"),
				Services: []string{"api.edge.example."}, Endpoints: prefixes("2001:db8:1::10/128"),
				Instead: map[string][]netip.Addr{"api.edge.example.": {netip.MustParseAddr("2001:db8:53::80")}},
			}},
			Explain: prefixes("2001:db8:1::/48"),
		},
		Queries:    dnsserver.QueryPolicy{File: "/var/log/edgedns/queries.jsonl", Sample: 1000, Errors: 10, Bits6: 56, Bits4: 24},
		Admin:      Admin{Socket: "/run/anyedge/dns.sock", Drains: "/var/lib/edgedns/drains.json"},
		Metrics:    netip.MustParseAddrPort("[::1]:9411"),
		Protection: dnsserver.Protection{RateLimit: dnsserver.DefaultRateLimit},
		TCP:        dnsserver.DefaultTCP,
		Kubernetes: &Kubernetes{
			Kubeconfig: "/etc/anyedge/kubeconfig", Namespaces: []string{"shop", "media"}, Class: "anyedge", Domain: "edge.example.",
			Pods: true, Status: true, Resync: 10 * time.Minute,
			Load: &KubernetesLoad{
				Interval: time.Second, Timeout: 500 * time.Millisecond, Pods: true, Kubelets: &Kubelets{Port: 10250}, MetricsAPI: true,
			},
		},
	}
	want.RateLimit.MaxSize = 512
	want.RateLimit.Exempt = []netip.Prefix{netip.MustParsePrefix("2001:db8:53::/48")}
	if d := diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// With a cluster there need not be services in the file.
func TestParseDNSKubernetes(t *testing.T) {
	t.Parallel()
	begin, end := strings.Index(dnsFile, "services:"), strings.Index(dnsFile, "metrics:")
	got := mustParse(t, ParseDNS, dnsFile, dnsFile[begin:end], "kubernetes: {}\n")
	want := &Kubernetes{Class: "anyedge", Pods: true, Status: true, Resync: 10 * time.Minute}
	if d := diff(want, got.Kubernetes); d != "" || got.Services != nil {
		t.Errorf("services %v (-want +got)\n%s", got.Services, d)
	}
}

// With a cluster, a view may be of a namespace, and show something instead of a name that the file does not have.
func TestViewsOfCluster(t *testing.T) {
	t.Parallel()
	file := dnsFile + "kubernetes: {}\nviews: [{name: a, clients: ['::/0'], namespace: shop, instead: [{service: web.edge.example., addresses: ['::1']}]}]\n"
	got := mustParse(t, ParseDNS, file, "rr", "rr").Access.Views
	want := []dnsserver.View{{
		Name: "a", Clients: prefixes("::/0"), Namespace: "shop", Instead: map[string][]netip.Addr{"web.edge.example.": {netip.IPv6Loopback()}},
	}}
	if d := diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// A node may have dots in its name; where names of places are compared, they are hyphens.
func TestNode(t *testing.T) {
	t.Parallel()
	file := strings.Replace(dnsFile, "site: mec-1", "site: mec-1\nnode: Edge-1.Example", 1)
	got := mustParse(t, ParseDNS, file, "port: 8080", "port: 8080, node: edge-1-example")
	if got.Node != "edge-1.example" || !got.Services[0].Endpoints[0].Near {
		t.Errorf("node %q, endpoints %v", got.Node, got.Services[0].Endpoints)
	}
}

// The target of an endpoint's check is the endpoint.
func TestEndpointChecks(t *testing.T) {
	t.Parallel()
	target := netip.MustParseAddrPort("[2001:db8:1::10]:8080")
	for text, want := range map[string]health.Checker{
		"type: tcp, expect: ok":                    health.TCP{Target: target, Expect: regexp.MustCompile("ok")},
		"type: udp, send: a, source: '2001:db8::'": health.UDP{Target: target, Send: []byte("a"), Local: health.Local{Source: netip.MustParseAddr("2001:db8::")}},
		"type: http, path: /healthz":               health.HTTP{Target: target, Path: "/healthz", Method: "GET"},
		"type: https, host: api.example":           health.HTTP{Target: target, Host: "api.example", Method: "GET", TLS: true},
		"type: icmp, device: eth1":                 health.ICMP{Target: target.Addr(), Local: health.Local{Device: "eth1"}},
		"type: exec, command: [/bin/true]":         health.Exec{Command: []string{"/bin/true"}},
	} {
		d := mustParse(t, ParseDNS, dnsFile, "type: tcp", text)
		got := d.Services[0].Checks[0].Check
		kind, _, _ := strings.Cut(strings.TrimPrefix(text, "type: "), ",")
		if diff := diff(every(kind, want), got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", text, diff)
		}
	}
}

func TestEndpointChecksWithoutPort(t *testing.T) {
	t.Parallel()
	for _, check := range []string{"type: icmp", "type: exec, command: [/bin/true]"} {
		mustParse(t, ParseDNS, dnsFile, "port: 8080, check: {type: tcp}", "check: {"+check+"}")
	}
}

func TestParseSetupSamples(t *testing.T) {
	t.Parallel()
	forwarding := []lab.Sysctl{{Key: "net.ipv6.conf.all.forwarding", Value: "1"}, {Key: "net.ipv4.ip_forward", Value: "1"}}
	node := lab.Setup{
		Interfaces: []lab.Interface{{Name: "eth1", Addresses: prefixes("2001:db8:0:1::2/64", "10.0.1.2/24")}},
		Routes: []lab.Route{
			{To: netip.MustParsePrefix("::/0"), Via: netip.MustParseAddr("2001:db8:0:1::1")},
			{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.1.1")},
		},
		Sysctls: forwarding,
	}
	if d := diff(node, sample(t, "node.yaml", ParseSetup)); d != "" {
		t.Errorf("node.yaml (-want +got)\n%s", d)
	}
	r := lab.Setup{
		Interfaces: []lab.Interface{{Name: "eth1", Addresses: prefixes("2001:db8:0:1::1/64", "10.0.1.1/24")}},
		Sysctls:    forwarding,
		Router: &router.Config{
			ASN: 65533, RouterID: netip.MustParseAddr("10.0.0.1"), HoldTime: 9 * time.Second,
			Neighbors: []router.Neighbor{{Address: netip.MustParseAddr("2001:db8:0:1::2"), ASN: 64500}},
			Prefixes:  prefixes("2001:db8:53::/48"),
		},
		BFD: []session.Neighbor{{Config: bfd.Config{
			Peer: netip.MustParseAddr("2001:db8:0:1::2"), Interval: 50 * time.Millisecond, Multiplier: 3,
		}, Undamped: true}},
	}
	if d := diff(r, sample(t, "router.yaml", ParseSetup)); d != "" {
		t.Errorf("router.yaml (-want +got)\n%s", d)
	}
}

func TestParseTopologySample(t *testing.T) {
	t.Parallel()
	want := lab.Topology{
		Name: "minimal", Dir: "../../docs/samples",
		Nodes: []lab.Node{
			{
				Name: "r1", Cmd: []string{"edgelab", "router", "/etc/anyedge/router.yaml"},
				Binds: []lab.Bind{{Source: "router.yaml", Target: "/etc/anyedge/router.yaml", ReadOnly: true}},
			},
			{
				Name: "r2", Cmd: []string{"edgelab", "node", "/etc/anyedge/node.yaml"},
				Binds: []lab.Bind{{Source: "node.yaml", Target: "/etc/anyedge/node.yaml", ReadOnly: true}},
			},
			{
				Name: "r2-responder", Host: "r2", Cmd: []string{"edgeprobe", "respond", "--listen", "[::]:7000", "--site", "r2"},
				Env: map[string]string{"GOMAXPROCS": "1"}, Labels: map[string]string{"anyedge-role": "service", "anyedge-site": "r2"},
			},
		},
		Links: []lab.Link{{
			A: lab.Endpoint{Node: "r1", Interface: "eth1"}, B: lab.Endpoint{Node: "r2", Interface: "eth1"},
			Delay: 6 * time.Millisecond,
		}},
	}
	if d := diff(want, sample(t, "minimal.clab.yml", ParseTopology)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestWatchedChecks(t *testing.T) {
	t.Parallel()
	listener := func(n health.Namespace) health.Check {
		return health.Check{Listener: &health.Listener{Network: "udp", Port: 53, Namespace: n}}
	}
	process := func(p health.Process) health.Check { return health.Check{Process: &p} }
	for text, want := range map[string]health.Check{
		"type: listener, proto: udp, port: 53":                                     listener(health.Namespace{}),
		"type: listener, proto: udp, port: 53, netns: /run/netns/dns":              listener(health.Namespace{Path: "/run/netns/dns"}),
		"type: listener, proto: udp, port: 53, pid: 4711":                          listener(health.Namespace{PID: 4711}),
		"type: listener, proto: udp, port: 53, pid_file: /run/dns.pid":             listener(health.Namespace{PIDFile: "/run/dns.pid"}),
		"type: process, pid_file: /run/dns.pid":                                    process(health.Process{PIDFile: "/run/dns.pid"}),
		"type: process, cgroup: /sys/fs/cgroup/system.slice/a.service":             process(health.Process{Cgroup: "/sys/fs/cgroup/system.slice/a.service"}),
		"type: process, unit: edgedns.service":                                     process(health.Process{Unit: "edgedns.service"}),
		`type: process, unit: 'dns@a\x2db.service'`:                                process(health.Process{Unit: `dns@a\x2db.service`}),
		"type: process, unit: session-1.scope, interval: 1s, fast_interval: 200ms": process(health.Process{Unit: "session-1.scope"}),
	} {
		want.Name, want.Interval, want.FastInterval, want.Rise, want.Fall = "socket", time.Second, 200*time.Millisecond, 1, 1
		got := mustParse(t, ParseAgent, agentFile, "type: listener, proto: udp, port: 53", text).Services[0].Health.Checks[1]
		if d := diff(want, got); d != "" {
			t.Errorf("%s (-want +got)\n%s", text, d)
		}
	}
}

func TestBrake(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]announce.Brake{
		"{services: 3}":              {Services: 3},
		"{services: 100%}":           {Share: 1},
		"{services: off}":            {Services: -1},
		"{window: 1m}":               {Window: time.Minute},
		"{services: 1%, window: 1s}": {Share: 0.01, Window: time.Second},
	} {
		a := mustParse(t, ParseAgent, agentFile, "vip: {manage: true}", "guards: {brake: "+text+"}")
		if got := a.Guards.Brake; got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]announce.Guard{
		"{}":                               {},
		"{fail: closed}":                   {Fail: announce.Closed},
		"{withdrawals: 3, per: 10m}":       {Withdrawals: 3, Per: 10 * time.Minute},
		"{hold_down: {base: 0s}}":          {HoldDown: announce.HoldDown{Base: -1}},
		"{hold_down: {base: 5s, max: 5s}}": {HoldDown: announce.HoldDown{Base: 5 * time.Second, Max: 5 * time.Second}},
	} {
		a := mustParse(t, ParseAgent, agentFile, "settle: 2s", "guard: "+text)
		if got := a.Services[0].Announce.Guard; got != want {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

// A grace of nothing is a wish, not the default.
func TestNoGrace(t *testing.T) {
	t.Parallel()
	a := mustParse(t, ParseAgent, agentFile, "vip: {manage: true}",
		`bridge: {uplinks: [eth1], grace: 0s}`+"\n"+`peers: [{name: b, site: b, source: "2001:db8:2::1"}]`)
	if want := (announce.Times{Grace: -1, Max: time.Minute}); a.Times != want {
		t.Errorf("got %+v, want %+v", a.Times, want)
	}
}
