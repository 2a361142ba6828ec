package main

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/vip"
)

// place fills in what differs from test to test.
func place(t *testing.T, extra string, vips ...string) string {
	t.Helper()
	for i, v := range vips {
		vips[i] = fmt.Sprintf("%q", v)
	}
	return write(t, "agent.yaml", fmt.Sprintf(`site: mec-1
bgp: {asn: 64611, router_id: 10.0.0.1, %sneighbors: [{address: "fd00:1::1", asn: 65533}]}
services:
  - name: echo
    vips: [%s]
    checks: [{name: socket, type: listener, proto: udp, port: 7007, interval: 50ms}]
    settle: 50ms
    drain: {wait: 100ms}
`, extra, strings.Join(vips, ", ")))
}

// ours lists the service addresses on lo.
func ours(t *testing.T) []netip.Prefix {
	t.Helper()
	a, err := vip.New(nil, "lo")
	if err != nil {
		t.Fatal(err)
	}
	list, err := a.List()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestRefusesToStart wants one clear line that names the item and the remedy, and nothing left half started.
func TestRefusesToStart(t *testing.T) {
	nettest.Need(t)
	busy, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	bgpPort, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer bgpPort.Close()
	port := bgpPort.Addr().(*net.TCPAddr).Port
	missing := filepath.Join(t.TempDir(), "missing")

	tests := []struct {
		name, as, old, new string
		want               []string
	}{
		{"metrics address in use", "agent", "site:", fmt.Sprintf("metrics: {listen: %q}\nsite:", busy.Addr()), []string{busy.Addr().String(), "in use"}},
		{"journal directory missing", "agent", "site:", fmt.Sprintf("journal: {file: %s/j.jsonl}\nsite:", missing), []string{missing, "does not exist: create it"}},
		{"interface missing", "agent", "site:", "vip: {interface: nosuch0}\nsite:", []string{"nosuch0", "does not exist"}},
		{"BGP port in use", "agent", "asn: 64611,", fmt.Sprintf("asn: 64611, listen_port: %d,", port), []string{fmt.Sprint(port), "in use"}},
		{"no capability", "powerless", "", "", []string{"CAP_NET_ADMIN"}},
		{"no sock_diag", "blind", "", "", []string{"sock_diag"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := place(t, "", "2001:db8:7::7/128")
			rewrite(t, path, tt.old, tt.new)
			p := startAs(t, tt.as, "--config", path)
			if status := p.wait(); status != 1 {
				t.Errorf("exit status %d", status)
			}
			expectLine(t, p.out.String(), tt.want)
			if left := ours(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// expectLine wants exactly one line of the program itself, beside the log, with all the words.
func expectLine(t *testing.T, out string, words []string) {
	t.Helper()
	var lines []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "edgeagent: ") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	t.Log(strings.TrimSpace(lines[0]))
	for _, w := range words {
		if !strings.Contains(lines[0], w) {
			t.Errorf("%q does not say %q", lines[0], w)
		}
	}
}

// Two agents would take each other's addresses away: the second one must not touch anything, not even at its end.
func TestSecondAgent(t *testing.T) {
	nettest.Need(t)
	path := place(t, "", "2001:db8:7::7/128")
	first := startAgent(t, path)
	first.says("service addresses are on the host")
	second := startAgent(t, path)
	if status := second.wait(); status != 1 {
		t.Errorf("exit status %d", status)
	}
	expectLine(t, second.out.String(), []string{"another edgeagent runs"})
	if got := ours(t); !slices.Equal(got, []netip.Prefix{netip.MustParsePrefix("2001:db8:7::7/128")}) {
		t.Errorf("addresses: %v", got)
	}
	if status := first.signal(interrupt); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if left := ours(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// addLoopback adds an address to lo until the end of the test.
func addLoopback(t testing.TB, address string) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	addr.Flags = unix.IFA_F_NODAD // else it is tentative, and cannot be bound, until a kernel thread has run
	if err := netlink.AddrReplace(lo, addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.AddrDel(lo, addr) })
}
