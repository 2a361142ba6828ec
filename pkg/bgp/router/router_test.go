package router_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/bgp/router"
)

// patience is far more than anything takes; a test that hangs fails.
const patience = 60 * time.Second

// A node is a running child.
type node struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Scanner
	net   *netlink.Handle
}

// start runs a child that waits for its links.
func start(t *testing.T, name string, c child) *node {
	t.Helper()
	spec, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, name: name, cmd: exec.Command("/proc/self/exe")}
	n.cmd.Env = append(os.Environ(), childEnv+"="+string(spec))
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	n.cmd.Stderr = prefixed{t, name}
	n.stdin, err = n.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.out = bufio.NewScanner(stdout)
	if err := nettest.Start(n.cmd); err != nil {
		t.Fatal(err)
	}
	ns, err := netns.GetFromPid(n.cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	if n.net, err = netlink.NewHandleAt(ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.stop(); n.net.Close() })
	return n
}

// prefixed passes a child's log on.
type prefixed struct {
	t    *testing.T
	name string
}

func (p prefixed) Write(b []byte) (int, error) {
	fmt.Fprintf(p.t.Output(), "%s: %s", p.name, b)
	return len(b), nil
}

// stop ends the child in an orderly way.
func (n *node) stop() {
	if n.cmd.ProcessState != nil {
		return
	}
	n.stdin.Close()
	if err := n.cmd.Wait(); err != nil {
		n.t.Errorf("%s: %v", n.name, err)
	}
}

func (n *node) command(line string) {
	n.t.Helper()
	if _, err := fmt.Fprintln(n.stdin, line); err != nil {
		n.t.Fatalf("%s: %v", n.name, err)
	}
}

// run tells the children that their links are there.
func run(nodes ...*node) {
	for _, n := range nodes {
		n.command("")
	}
	for _, n := range nodes {
		if !n.out.Scan() {
			n.t.Fatalf("%s: ended before it was ready", n.name)
		}
	}
}

// join makes a link between two nodes; the ends are named after the node at the other end.
func join(a, b *node) {
	a.t.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: b.name + "-" + a.name}, PeerName: a.name + "-" + b.name}
	if err := netlink.LinkAdd(veth); err != nil {
		a.t.Fatal(err)
	}
	a.take(b.name+"-"+a.name, b.name)
	b.take(a.name+"-"+b.name, a.name)
}

func (n *node) take(name, as string) {
	n.t.Helper()
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetNsPid(l, n.cmd.Process.Pid)
	}
	if err == nil {
		l, err = n.net.LinkByName(name)
	}
	if err == nil {
		err = n.net.LinkSetName(l, as)
	}
	if err != nil {
		n.t.Fatalf("%s: link %s: %v", n.name, name, err)
	}
}

// routes returns the next hops of every BGP route in the node's kernel, as text.
func (n *node) routes() map[string]string {
	n.t.Helper()
	m := make(map[string]string)
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		l, err := n.net.RouteListFiltered(family, &netlink.Route{Protocol: unix.RTPROT_BGP}, netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			n.t.Fatalf("%s: %v", n.name, err)
		}
		for _, r := range l {
			m[r.Dst.String()] = hops(r)
		}
	}
	return m
}

func hops(r netlink.Route) string {
	all := r.MultiPath
	if len(all) == 0 {
		all = []*netlink.NexthopInfo{{Gw: r.Gw, Via: r.Via}}
	}
	var l []string
	for _, h := range all {
		if via, ok := h.Via.(*netlink.Via); ok {
			l = append(l, via.Addr.String())
		} else {
			l = append(l, h.Gw.String())
		}
	}
	slices.Sort(l)
	return strings.Join(l, " ")
}

// waitRoute waits until the kernel's BGP route has these next hops ("": no such route) and returns how long it took.
func (n *node) waitRoute(prefix, want string) time.Duration {
	n.t.Helper()
	began := time.Now()
	for {
		have := n.routes()[prefix]
		if have == want {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			n.t.Fatalf("%s: route %s has next hops %q, want %q", n.name, prefix, have, want)
		}
		time.Sleep(200 * time.Microsecond) // the kernel's table of another namespace is polled
	}
}

const (
	vip6 = "2001:db8:53::53/128"
	vip4 = "192.0.2.53/32"
)

func speaker(asn uint32, own, neighbor string) child {
	return child{
		Addresses: map[string][]string{"r0": {own}},
		Speaker: &speakerSpec{
			ASN: asn, RouterID: netip.AddrFrom4([4]byte{10, 0, 0, byte(asn)}),
			Neighbor: bgp.Neighbor{Address: netip.MustParseAddr(neighbor), ASN: 65000},
			Allowed:  []netip.Prefix{netip.MustParsePrefix(vip6), netip.MustParsePrefix(vip4)},
		},
	}
}

// TestRouter is one story on s1, s2 - r0 - r1: two speakers announce the same addresses.
func TestRouter(t *testing.T) {
	nettest.Need(t)
	s1 := start(t, "s1", speaker(64611, "2001:db8:1::10/64", "2001:db8:1::1"))
	s2 := start(t, "s2", speaker(64612, "2001:db8:2::10/64", "2001:db8:2::1"))
	r0 := start(t, "r0", child{
		Addresses: map[string][]string{"s1": {"2001:db8:1::1/64"}, "s2": {"2001:db8:2::1/64"}, "r1": {"2001:db8:3::1/64", "198.51.100.1/24"}},
		Router: &router.Config{ASN: 65000, RouterID: netip.MustParseAddr("10.255.0.1"), Neighbors: []router.Neighbor{
			{Address: netip.MustParseAddr("2001:db8:1::10"), ASN: 64611},
			{Address: netip.MustParseAddr("2001:db8:2::10"), ASN: 64612},
			{Address: netip.MustParseAddr("2001:db8:3::2"), ASN: 65001},
		}},
	})
	r1 := start(t, "r1", child{
		Addresses: map[string][]string{"r0": {"2001:db8:3::2/64"}},
		Router: &router.Config{ASN: 65001, RouterID: netip.MustParseAddr("10.255.0.2"), Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8:ffff::/48")},
			Neighbors: []router.Neighbor{{Address: netip.MustParseAddr("2001:db8:3::1"), ASN: 65000}}},
	})
	join(r0, s1)
	join(r0, s2)
	join(r0, r1)
	stale := &netlink.Route{Dst: network(t, "2001:db8:dead::/48"), Type: unix.RTN_UNREACHABLE, Protocol: unix.RTPROT_BGP}
	if err := r0.net.RouteAdd(stale); err != nil {
		t.Fatal(err)
	}
	run(s1, s2, r0, r1)
	s1.command(vip6 + " " + vip4)
	s2.command(vip6 + " " + vip4)

	t.Logf("first routes after %v", r0.waitRoute(vip6, "2001:db8:1::10 2001:db8:2::10"))
	r0.waitRoute(vip4, "2001:db8:1::10 2001:db8:2::10")
	r1.waitRoute(vip6, "2001:db8:3::1")
	r1.waitRoute(vip4, "2001:db8:3::1")
	r1.waitRoute("2001:db8:1::/64", "2001:db8:3::1") // connected at r0
	r0.waitRoute("2001:db8:ffff::/48", "2001:db8:3::2")
	if _, there := r1.routes()["198.51.100.0/24"]; !there {
		t.Errorf("r1 has %v, want the IPv4 prefix that r0 is connected to", r1.routes())
	}
	if _, there := r1.routes()["2001:db8:3::/64"]; there {
		t.Error("r1 routes its own connected prefix by BGP")
	}

	r0.waitRoute("2001:db8:dead::/48", "")

	s1.command(vip4)
	t.Logf("withdrawn: ECMP set smaller after %v", r0.waitRoute(vip6, "2001:db8:2::10"))
	s2.command(vip4)
	t.Logf("withdrawn: route gone after %v", r0.waitRoute(vip6, ""))
	r1.waitRoute(vip6, "")
	s1.command(vip6 + " " + vip4)
	t.Logf("announced: route there after %v", r0.waitRoute(vip6, "2001:db8:1::10"))

	down(t, r0, "s1")
	t.Logf("link down: other next hop alone after %v", r0.waitRoute(vip4, "2001:db8:2::10"))
	r1.waitRoute(vip6, "")
	r1.waitRoute("2001:db8:1::/64", "")
	up(t, r0, "s1")
	t.Logf("link up: route back after %v", r0.waitRoute(vip4, "2001:db8:1::10 2001:db8:2::10"))
	r1.waitRoute(vip6, "2001:db8:3::1")

	down(t, s2, "r0") // carrier lost at r0
	t.Logf("carrier lost: other next hop alone after %v", r0.waitRoute(vip4, "2001:db8:1::10"))

	s1.stop()
	r0.waitRoute(vip6, "")
	if err := r1.net.LinkSetDown(link(t, r1, "r0")); err != nil {
		t.Fatal(err)
	}
	r1.waitRoute("198.51.100.0/24", "")
	up(t, r1, "r0")
	r1.waitRoute("198.51.100.0/24", "2001:db8:3::1")
	r1.stop()
	if left := r1.routes(); len(left) > 0 {
		t.Errorf("the router left %v in the kernel", left)
	}
}

func network(t *testing.T, s string) *net.IPNet {
	t.Helper()
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func link(t *testing.T, n *node, name string) netlink.Link {
	t.Helper()
	l, err := n.net.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func down(t *testing.T, n *node, name string) {
	t.Helper()
	if err := n.net.LinkSetDown(link(t, n, name)); err != nil {
		t.Fatal(err)
	}
}

func up(t *testing.T, n *node, name string) {
	t.Helper()
	if err := n.net.LinkSetUp(link(t, n, name)); err != nil {
		t.Fatal(err)
	}
}
