package config

import (
	"errors"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/lab"
)

// mustParse reads a good file that was edited: old becomes new.
func mustParse[T any](t *testing.T, parse func(string, io.Reader) (T, error), base, old, new string) T {
	t.Helper()
	if strings.Count(base, old) != 1 {
		t.Fatalf("%q is not once in the file", old)
	}
	v, err := parse("testdata/f.yaml", strings.NewReader(strings.Replace(base, old, new, 1)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestReadError(t *testing.T) {
	t.Parallel()
	_, err := ParseAgent("f.yaml", iotest.ErrReader(errors.New("disk on fire")))
	if want := "f.yaml:1:1: file: cannot be read: disk on fire"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestBadBytes(t *testing.T) {
	t.Parallel()
	_, err := ParseAgent("f.yaml", strings.NewReader("site: a\nbgp: \xff\n"))
	if want := "f.yaml:2:6: file: is not YAML: invalid leading UTF-8 octet"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestErrorHasNoValue(t *testing.T) {
	t.Parallel()
	got, err := ParseAgent("f.yaml", strings.NewReader("site: mec-1\n"))
	if err == nil || got.Site != "" {
		t.Errorf("got %+v beside error %v", got, err)
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("x", 80)
	for name, tt := range map[string]struct{ content, want string }{
		"line":            {"secret\n", "secret"},
		"line of Windows": {"secret\r\n", "secret"},
		"no line end":     {"secret", "secret"},
		"spaces count":    {" se cret \n", " se cret "},
		"longest":         {longest + "\r\n", longest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "bgp.key")
			if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			a := mustParse(t, ParseAgent, agentFile, "asn: 65533", "asn: 65533, password_file: "+path)
			if got := a.BGP.Neighbors[0].Password; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPasswordBesideTheFile(t *testing.T) {
	t.Parallel()
	a := mustParse(t, ParseAgent, agentFile, "asn: 65533", "asn: 65533, password_file: good.key")
	if got := a.BGP.Neighbors[0].Password; got != "secret" {
		t.Errorf("got %q", got)
	}
}

func TestErrorNeverTellsPassword(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"lines.key", "good.key"} {
		file := strings.Replace(agentFile, "asn: 65533", "asn: x, password_file: "+key, 1)
		_, err := ParseAgent("testdata/f.yaml", strings.NewReader(file))
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestPasswordUnreadable(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "bgp.key")
	if _, err := readPassword(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestHoldTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"3s": 3 * time.Second, "1m30s": 90 * time.Second, "65535s": 65535 * time.Second} {
		if got := mustParse(t, ParseAgent, agentFile, "asn: 64611", "asn: 64611\n  hold_time: "+text).BGP.HoldTime; got != want {
			t.Errorf("%s: got %s", text, got)
		}
	}
}

// Defaults bow to a shorter interval.
func TestShortInterval(t *testing.T) {
	t.Parallel()
	c := mustParse(t, ParseAgent, agentFile, "interval: 1s", "interval: 100ms").Services[0].Health.Checks[0]
	if c.Timeout != 100*time.Millisecond || c.FastInterval != 100*time.Millisecond {
		t.Errorf("timeout %s, fast interval %s", c.Timeout, c.FastInterval)
	}
}

func TestAgentAccepts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ old, new string }{
		"largest asn":                    {"asn: 64611", "asn: 4294967294"},
		"iBGP":                           {"asn: 65533", "asn: 64611"},
		"require all":                    {"settle: 2s", "require: all"},
		"no settling":                    {"settle: 2s", "settle: 0s"},
		"IPv4 VIP over an IPv6 session":  {"2001:db8:53::53/128", "192.0.2.53/32"},
		"IPv6 VIP, neighbors of both":    {"asn: 65533}", "asn: 65533}\n    - {address: 192.0.2.1, asn: 65533}"},
		"listener on one address":        {"port: 53}", `port: 53, address: "2001:db8:53::53"}`},
		"a query in lower case labels":   {"health.edge.example. AAAA", "Health.EDGE.example.  SOA"},
		"free port for metrics":          {"9410", "0"},
		"metrics on every address":       {"[::1]:9410", "[::]:9410"},
		"JSON is YAML":                   {"{manage: true}", `{"manage": true, "interface": "lo"}`},
		"an anchor that nobody asks for": {"site: mec-1", "site: &site mec-1"},
		"target with a zone":             {`"[::1]:80"`, `"[fe80::1%eth1]:80"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustParse(t, ParseAgent, agentFile, tt.old, tt.new)
		})
	}
}

func TestWhenAll(t *testing.T) {
	t.Parallel()
	a := mustParse(t, ParseAgent, agentFile, `["2001:db8:53::53/128"]`, `
      - {address: "2001:db8:53::53/128", announce: "2001:db8:53::/48", when: all}
      - {address: "2001:db8:53::54/128", announce: "2001:db8:53::/48", when: all}
      - {address: "2001:db8:54::1/128"}`)
	covering := netip.MustParsePrefix("2001:db8:53::/48")
	want := []announce.VIP{
		{Address: netip.MustParsePrefix("2001:db8:53::53/128"), Announce: covering, When: announce.All},
		{Address: netip.MustParsePrefix("2001:db8:53::54/128"), Announce: covering, When: announce.All},
		hostVIP("2001:db8:54::1/128"),
	}
	if d := diff(want, a.Services[0].Announce.VIPs); d != "" {
		t.Errorf("VIPs (-want +got)\n%s", d)
	}
	if d := diff(prefixes("2001:db8:53::/48", "2001:db8:54::1/128"), a.BGP.Allowed); d != "" {
		t.Errorf("allowed (-want +got)\n%s", d)
	}
}

func TestNamesAreLowerCase(t *testing.T) {
	t.Parallel()
	d := mustParse(t, ParseDNS, dnsFile, "api.edge.example.", "API.Edge.Example.")
	if got := d.Services[0].Name; got != "api.edge.example." {
		t.Errorf("got %s", got)
	}
}

// A name lies in the zone that is nearest to it.
func TestNestedZones(t *testing.T) {
	t.Parallel()
	d := mustParse(t, ParseDNS, dnsFile, "services:", "  - {name: sub.edge.example., ttl: 1m, ns: [{name: ns.sub.edge.example., addresses: [10.0.0.1]}]}\nservices:\n"+
		"  - {name: health.sub2.edge.example., endpoints: [{address: 10.0.0.2}]}\n  - {name: a.b.sub.edge.example., endpoints: [{address: 10.0.0.3}]}")
	if len(d.Zones) != 2 || d.Zones[1].TTL != time.Minute || len(d.Services) != 3 {
		t.Errorf("got %+v", d)
	}
}

func TestDomainName(t *testing.T) {
	t.Parallel()
	label := strings.Repeat("a", 63)
	longest := strings.Repeat(label+".", 3) + strings.Repeat("a", 61) + "."
	for _, name := range []string{"a.", "_http._tcp.example.", "0.example.", label + ".", longest} {
		if got, why := domainName(name); got != name || why != "" {
			t.Errorf("%s: got %q, %s", name, got, why)
		}
	}
	if len(longest)+1 != 255 {
		t.Fatalf("the longest name has %d octets", len(longest)+1)
	}
	if _, why := domainName("a" + longest); why == "" {
		t.Error("a name of 256 octets is accepted")
	}
}

// Presets join with what a node says: single values are replaced, binds, env and labels join.
func TestTopologyPresets(t *testing.T) {
	t.Parallel()
	got, err := ParseTopology("lab/x.clab.yml", strings.NewReader(`
name: x
topology:
  defaults: {kind: linux, image: "anyedge:v1.0", cmd: a, env: {A: 1, B: 1}, binds: ["a:/a", "b:/b"]}
  kinds: {linux: {cmd: b, env: {B: 2, C: 2.50}, labels: {x: "", y: yes}}}
  nodes:
    z: {cmd: c 'd e' "f\ g" \h "", env: {C: 3}, binds: ["z:/b:rw"], network-mode: none, group: routers}
    y:
    x: {network-mode: "container:z", sysctls: {net.ipv4.ip_forward: 1}}
`))
	labels := map[string]string{"x": "", "y": "yes"}
	presetBinds := []lab.Bind{{Source: "a", Target: "/a"}, {Source: "b", Target: "/b"}}
	presetEnv := map[string]string{"A": "1", "B": "2", "C": "2.50"}
	want := lab.Topology{Name: "x", Dir: "lab", Nodes: []lab.Node{
		{
			Name: "z", Cmd: []string{"c", "d e", "f g", "h", ""}, Labels: labels,
			Env:   map[string]string{"A": "1", "B": "2", "C": "3"},
			Binds: []lab.Bind{{Source: "a", Target: "/a"}, {Source: "z", Target: "/b"}},
		},
		{Name: "y", Cmd: []string{"b"}, Binds: presetBinds, Env: presetEnv, Labels: labels},
		{
			Name: "x", Host: "z", Cmd: []string{"b"}, Binds: presetBinds, Env: presetEnv, Labels: labels,
			Sysctls: []lab.Sysctl{{Key: "net.ipv4.ip_forward", Value: "1"}},
		},
	}}
	if d := diff(want, got); err != nil || d != "" {
		t.Errorf("error %v (-want +got)\n%s", err, d)
	}
}

// A router's image says what to run; its node may say otherwise. A node's sysctls replace those of its kind.
func TestTopologyImages(t *testing.T) {
	t.Parallel()
	got, err := ParseTopology("lab/x.clab.yml", strings.NewReader(`
name: x
topology:
  kinds: {linux: {image: anyedge, sysctls: {net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1}}}
  nodes:
    f: {kind: linux, image: frr}
    b: {kind: linux, image: "bird:2", cmd: edgelab bird /n.yaml, sysctls: {net.ipv4.ip_forward: 0}}
  links:
    - {type: veth, endpoints: [{node: f, interface: eth1}, {node: b, interface: eth1}], mtu: 1600}
`))
	routing := lab.Sysctl{Key: "net.ipv6.conf.all.forwarding", Value: "1"}
	want := lab.Topology{
		Name: "x", Dir: "lab",
		Nodes: []lab.Node{
			{Name: "f", Image: lab.FRR, Cmd: []string{"edgelab", "frr"}, Sysctls: []lab.Sysctl{{Key: "net.ipv4.ip_forward", Value: "1"}, routing}},
			{
				Name: "b", Image: lab.BIRD, Cmd: []string{"edgelab", "bird", "/n.yaml"},
				Sysctls: []lab.Sysctl{routing, {Key: "net.ipv4.ip_forward", Value: "0"}},
			},
		},
		Links: []lab.Link{{A: lab.Endpoint{Node: "f", Interface: "eth1"}, B: lab.Endpoint{Node: "b", Interface: "eth1"}, MTU: 1600}},
	}
	if d := diff(want, got); err != nil || d != "" {
		t.Errorf("error %v (-want +got)\n%s", err, d)
	}
}

func TestSetupAccepts(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ old, new string }{
		"IPv4 route via IPv6":                 {`"::/0"`, "0.0.0.0/0"},
		"interface without addresses":         {"routes:", "  - {name: eth2}\nroutes:"},
		"link-local address":                  {"10.0.1.1/24", `"fe80::1/64"`},
		"neighbor by link-local address":      {`{address: "2001:db8:0:1::2"`, `{address: "fe80::2%eth1"`},
		"default originated":                  {`["2001:db8:53::/48"]`, `["::/0"]`},
		"value of two numbers":                {"net.ipv6.conf.all.forwarding: 1", `net.ipv4.ip_local_port_range: "1024 65535"`},
		"sysctl of an interface with hyphens": {"net.ipv6.conf.all.", "net.ipv6.conf.eth-1."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustParse(t, ParseSetup, setupFile, tt.old, tt.new)
		})
	}
}

// Without interfaces the file joins a network that another one sets up: what is on a link cannot be told.
func TestSetupOfAnothersNetwork(t *testing.T) {
	t.Parallel()
	s, err := ParseSetup("f", strings.NewReader(`router: {asn: 1, id: 0.0.0.1, neighbors: [{address: 10.0.0.2, asn: 2}]}`))
	if err != nil || s.Router.HoldTime != 9*time.Second {
		t.Errorf("got %+v, %v", s.Router, err)
	}
	if s, err := ParseSetup("f", strings.NewReader(`{}`)); err != nil || s.Router != nil {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"interval", "timeout", "fall", "asn", "name"}
	for slip, want := range map[string]string{
		"intreval": "interval", "Interval": "interval", "interal": "interval", "fal": "fall", "fial": "", "fill": "fall",
		"ans": "asn", "mane": "", "x": "", "period": "", strings.Repeat("interval", 100): "",
	} {
		if got := nearest(slip, known); got != want {
			t.Errorf("%s: got %q, want %q", slip, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", time.Hour: "1h", 90 * time.Minute: "1h30m", time.Minute: "1m", 10 * time.Second: "10s",
		time.Hour + time.Second: "1h0m1s", 10 * time.Millisecond: "10ms", math.MaxInt64: "2562047h47m16.854775807s",
	} {
		if got := span(d); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
