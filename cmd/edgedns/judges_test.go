package main

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/anyedge/anyedge/internal/nettest"
)

// judgedConfig is a zone as a registry wants it: two name servers, each with both families.
const judgedConfig = `site: mec-1
listen: ["[2001:db8:53::53]:53", "[2001:db8:54::53]:53", "192.0.2.53:53", "198.51.100.53:53"]
zones:
  - name: edge.example.
    ns:
      - {name: ns1.edge.example., addresses: ["2001:db8:53::53", "192.0.2.53"]}
      - {name: ns2.edge.example., addresses: ["2001:db8:54::53", "198.51.100.53"]}
services:
  - {name: api.edge.example., endpoints: [{address: "2001:db8:1::10"}, {address: 10.1.0.10}]}
metrics: {listen: "[::1]:9411"}
`

// startJudged runs it where two zones above delegate to it, for who insists on finding it from the root. Both judges look
// first whether there is an Internet: a route to anywhere will do.
func startJudged(t *testing.T) (hints string) {
	t.Helper()
	nettest.Need(t)
	for _, a := range []string{"2001:db8:53::53/128", "2001:db8:54::53/128", "2001:db8:d::1/128", "192.0.2.53/32", "198.51.100.53/32"} {
		nettest.AddAddress(t, a)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, anywhere := range []string{"::/0", "0.0.0.0/0"} {
		_, dst, _ := net.ParseCIDR(anywhere)
		route := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst}
		if err := netlink.RouteAdd(route); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = netlink.RouteDel(route) })
	}
	zone := func(name, text string) string {
		return fmt.Sprintf("zone %q { type primary; file %q; };\n", name, textFile(t, "zone", "$TTL 3600\n@ IN SOA a.root. host.root. 1 3600 600 86400 60\n@ IN NS a.root.\n"+text))
	}
	named := nettest.Program(t, "named", "bind9")
	nettest.StartDaemon(t, " running", named, "-g", "-c", textFile(t, "named.conf", `
options {
  directory "`+t.TempDir()+`";
  pid-file none; session-keyfile none; lock-file none;
  listen-on { none; }; listen-on-v6 { 2001:db8:d::1; };
  recursion no; dnssec-validation no; empty-zones-enable no; max-cache-size 16M;
};
controls { };
`+zone(".", "a.root. IN AAAA 2001:db8:d::1\nexample. IN NS a.root.\n")+
		zone("example", `
edge IN NS ns1.edge
edge IN NS ns2.edge
ns1.edge IN AAAA 2001:db8:53::53
ns1.edge IN A 192.0.2.53
ns2.edge IN AAAA 2001:db8:54::53
ns2.edge IN A 198.51.100.53
`)))
	start(t, judgedConfig)
	return textFile(t, "hints", ". 3600000 IN NS a.root.\na.root. 3600000 IN AAAA 2001:db8:d::1\n")
}

// TestZonemaster has Zonemaster, the test suite of registries, judge a zone: all that it says of NOTICE or worse is meant so.
func TestZonemaster(t *testing.T) {
	path := nettest.Program(t, "zonemaster-cli", "zonemaster-cli")
	hints := startJudged(t)
	out, err := exec.CommandContext(t.Context(), path, "--hints", hints, "--level", "NOTICE", "--raw", "--no-time", "--no-progress", "edge.example").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	meant := map[string]string{
		"NAMESERVER_IP_PRIVATE_NETWORK":       "the addresses are those of documentation",
		"NAMESERVER_IP_WITHOUT_REVERSE":       "there are PTR records of endpoints alone, and nobody here serves those of name servers",
		"NEITHER_DNSKEY_NOR_DS":               "not signed",
		"NOT_SIGNED":                          "not signed",
		"RNAME_MAIL_DOMAIN_INVALID":           "nobody reads mail at the zone",
		"Z09_MISSING_MAIL_TARGET":             "nobody reads mail at the zone",
		"REFRESH_MINIMUM_VALUE_LOWER":         "there are no secondaries",
		"RETRY_MINIMUM_VALUE_LOWER":           "there are no secondaries",
		"EXPIRE_MINIMUM_VALUE_LOWER":          "there are no secondaries",
		"SOA_DEFAULT_TTL_MAXIMUM_VALUE_LOWER": "a pod may come at any time (docs/dns.md)",
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) < 3 || meant[fields[2]] == "" {
			t.Errorf("zonemaster: %s", line)
		}
	}
	if !strings.Contains(string(out), "NOT_SIGNED") {
		t.Errorf("zonemaster did not look at the zone:\n%s", out)
	}
}

// TestDNSViz has DNSViz judge it: over UDP and TCP, with cookies, 0x20 and what else it tries on servers, both families.
func TestDNSViz(t *testing.T) {
	path := nettest.Program(t, "dnsviz", "dnsviz")
	startJudged(t)
	probe := exec.CommandContext(t.Context(), path, "probe", "-A", "-d", "1", "-x",
		"edge.example+:ns1.edge.example=[2001:db8:53::53],ns1.edge.example=192.0.2.53,ns2.edge.example=[2001:db8:54::53],ns2.edge.example=198.51.100.53",
		"edge.example", "api.edge.example")
	probed, err := probe.Output()
	if err != nil {
		t.Fatalf("dnsviz probe: %v", err)
	}
	grok := func(level string) string {
		cmd := exec.CommandContext(t.Context(), path, "grok", "-l", level)
		cmd.Stdin = strings.NewReader(string(probed))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("dnsviz grok: %v", err)
		}
		return string(out)
	}
	if diff := cmp.Diff("", grok("warning")); diff != "" {
		t.Errorf("dnsviz complains (-want +got):\n%s", diff)
	}
	if info := grok("info"); !strings.Contains(info, "api.edge.example./IN/AAAA") {
		t.Errorf("dnsviz did not look at the zone:\n%s", info)
	}
}

// TestZoneWalk: who wants to know all names has to guess them.
func TestZoneWalk(t *testing.T) {
	path := nettest.Program(t, "ldns-walk", "ldnsutils")
	start(t, conformanceConfig)
	out, _ := exec.CommandContext(t.Context(), path, "@127.0.0.1", "edge.example.").CombinedOutput()
	if !strings.Contains(string(out), "No DNSSEC data received") || strings.Contains(string(out), "api") {
		t.Errorf("ldns-walk: %s", out)
	}
}
