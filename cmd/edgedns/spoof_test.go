package main

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
)

const spoofDNS = `site: mec-1
listen: ["[2001:db8:53::53]:53"]
zones:
  - {name: edge.example., ns: [{name: ns.edge.example., addresses: ["2001:db8:53::53"]}]}
services:
  - {name: api.edge.example., endpoints: [{address: "2001:db8:1::10"}]}
rate_limit: {rate: 10, burst: 10, slip: 0}
metrics: {listen: "[::1]:9411"}
`

// Its patience is for machines that are slow, not for edgedns.
const spoofAgent = `site: mec-1
bgp: {asn: 64611, router_id: 10.0.0.1, neighbors: [{address: "fd00:1::1", asn: 65533}]}
services:
  - name: dns
    vips: ["2001:db8:53::53/128"]
    checks:
      - {name: answers, type: dns, target: "[2001:db8:53::53]:53", query: "health.edge.example. AAAA",
         interval: 2s, timeout: 2s, fast_interval: 100ms, rise: 3, fall: 3}
metrics: {listen: "[::1]:9410"}
`

// TestSpoofedFlood has the agent check edgedns at its VIP while others forge the VIP's neighbors, far above the rate limit of their
// network, which is the VIP's own and so the check's: the service stays up. Else an attacker could have a healthy site withdrawn, and the next.
func TestSpoofedFlood(t *testing.T) {
	nettest.Need(t)
	agent := buildAgent(t)
	bindAnything(t)
	neighbors := netip.MustParsePrefix("2001:db8:53::/64")
	anyAddress(t, neighbors.String())
	limited := startFile(t, configFile(t, spoofDNS))
	t.Cleanup(func() { nettest.RemoveAddress(t, "2001:db8:53::53/128") }) // an agent that is killed leaves its VIPs
	d := nettest.StartDaemon(t, "service up", agent, "--config", configFile(t, spoofAgent))
	for begin := time.Now(); count(t, "[::1]:9411", `anyedge_dns_cookies_total{cookie="good"}`) == 0; time.Sleep(50 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatal("the agent brings no cookie")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, ended := flood(ctx, t, neighbors, 500)
	defer ended()
	defer cancel()
	waitFor(t, limited, `msg="rate limit"`)
	passed := func() int {
		return count(t, "[::1]:9410", `anyedge_health_attempts_total{check="answers",result="success",service="dns"}`)
	}
	first := passed()
	for begin := time.Now(); passed() < first+3; time.Sleep(50 * time.Millisecond) {
		if strings.Contains(d.String(), "service down") || time.Since(begin) > time.Minute {
			t.Fatalf("%d attempts of the agent passed in %s", passed()-first, time.Since(begin))
		}
	}
	if strings.Contains(d.String(), "service down") {
		t.Error("the service went down")
	}
}

func buildAgent(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "edgeagent")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "../edgeagent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// count returns what a counter at an address says, 0 where there is none.
func count(t *testing.T, addr, counter string) int {
	t.Helper()
	for line := range strings.Lines(scrapeAt(t, addr)) {
		if value, is := strings.CutPrefix(line, counter+" "); is {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}
