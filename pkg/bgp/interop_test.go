package bgp_test

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/bgp"
)

const (
	ownAddress    = "fd00:1::1"
	daemonAddress = "fd00:1::2"
	interopSecret = "interop"
)

const birdConfig = `
router id 10.0.0.2;
protocol device { scan time 1; }
protocol bgp speaker {
	local fd00:1::2 as 65533;
	neighbor fd00:1::1 as 64611;
	passive on;
	password "interop";
	ttl security on;
	ipv6 { import filter anycast_in; export none; };
	ipv4 { import filter anycast_in; export none; extended next hop on; };
}
`

const frrConfig = `
router bgp 65533
 bgp router-id 10.0.0.2
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor fd00:1::1 remote-as 64611
 neighbor fd00:1::1 passive
 neighbor fd00:1::1 password interop
 neighbor fd00:1::1 ttl-security hops 1
 neighbor fd00:1::1 capability extended-nexthop
 address-family ipv4 unicast
  neighbor fd00:1::1 activate
  neighbor fd00:1::1 route-map ANYCAST-IN in
 exit-address-family
 address-family ipv6 unicast
  neighbor fd00:1::1 activate
  neighbor fd00:1::1 route-map ANYCAST-IN in
 exit-address-family
`

// snippet returns the one code block of a language in docs/routing.md.
func snippet(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "routing.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n```"+language+"\n")
	block, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatalf("docs/routing.md has no block of %s", language)
	}
	return block + "\n"
}

// A daemon is a real router in a network namespace of its own, on a link with the test's.
type daemon struct {
	t     *testing.T
	query func(command string) string
}

// program finds a program; where it is missing the test is skipped, but not in CI.
func program(t *testing.T, path string) string {
	t.Helper()
	found, err := exec.LookPath(path)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is needed: %v", path, err)
		}
		t.Skipf("%s is not installed", path)
	}
	return found
}

// startDaemon runs a command line behind a link that carries ownAddress here and daemonAddress there.
func startDaemon(t *testing.T, argv ...string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-c", `read go; exec "$@"`, "sh"}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	plumb(t, cmd.Process.Pid)
	if _, err := io.WriteString(stdin, "go\n"); err != nil {
		t.Fatal(err)
	}
}

// plumb makes the link.
func plumb(t *testing.T, pid int) {
	t.Helper()
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	there, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	here := &netlink.Handle{}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far", PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	up(t, here, "near", ownAddress+"/64")
	up(t, there, "far", daemonAddress+"/64")
	up(t, there, "lo", "127.0.0.1/8")
}

func up(t *testing.T, h *netlink.Handle, name, address string) {
	t.Helper()
	l, err := h.LinkByName(name)
	if err == nil {
		err = h.LinkSetUp(l)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	if addr.IP.To4() == nil {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := h.AddrReplace(l, addr); err != nil {
		t.Fatalf("%s %s: %v", name, address, err)
	}
}

// waitFor asks the daemon until its answer holds what it must and nothing of what it must not.
func (d daemon) waitFor(command string, holds, lacks []string) {
	d.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		answer := d.query(command)
		missing, surplus := missing(answer, holds), present(answer, lacks)
		if len(missing)+len(surplus) == 0 {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s lacks %q and holds %q:\n%s", command, missing, surplus, answer)
		}
		time.Sleep(20 * time.Millisecond) // a program is asked
	}
}

func missing(s string, want []string) (l []string) {
	for _, w := range want {
		if !strings.Contains(s, w) {
			l = append(l, w)
		}
	}
	return l
}

func present(s string, not []string) (l []string) {
	for _, w := range not {
		if strings.Contains(s, w) {
			l = append(l, w)
		}
	}
	return l
}

// What a daemon is asked, and what it answers about a de-preferred prefix.
type asked struct {
	all         string   // the whole table
	one         string   // about vip6
	depreferred []string // in the answer
	plain       []string // lacks it again
	withdrawals string   // a counter of them
	none        string   // the counter at zero
}

// interop announces to the daemon, with MD5, GTSM and IPv4 over IPv6, de-prefers, withdraws, and stops.
func interop(t *testing.T, d daemon, ask asked) {
	show := ask.all
	c := config(daemonAddress, vip6, vip6b, vip4)
	c.Neighbors[0].Password, c.Neighbors[0].TTLSecurity = interopSecret, true
	got := newReports()
	c.OnReport = got.on
	s, stop := run(t, c)
	g := set(t, s, vip6, vip4)
	got.next(t, written(g))
	text := func(p netip.Prefix) string { return p.String() }
	d.waitFor(show, []string{text(vip6), text(vip4)}, []string{text(vip6b)})
	preferences(t, s, d, ask)
	if ask.withdrawals != "" {
		d.waitFor(ask.withdrawals, []string{ask.none}, nil)
	}
	g = set(t, s, vip6b)
	got.next(t, written(g))
	d.waitFor(show, []string{text(vip6b)}, []string{text(vip6), text(vip4)})
	if n := s.Neighbors()[0]; !n.ExtendedNextHop {
		t.Errorf("status %+v", n)
	}
	stop()
	d.waitFor(show, nil, []string{text(vip6b)})
}

func ownPath(n int) string { return strings.TrimSuffix(strings.Repeat("64611 ", n), " ") }

// preferences de-prefers what is announced, and takes that back.
func preferences(t *testing.T, s *bgp.Speaker, d daemon, ask asked) {
	t.Helper()
	g, err := s.Set(t.Context(), worse(vip6, vip4)...)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, s, g)
	d.waitFor(ask.one, ask.depreferred, nil)
	wait(t, s, set(t, s, vip6, vip4))
	d.waitFor(ask.one, ask.plain, ask.depreferred)
}

func TestInteropBIRD(t *testing.T) {
	nettest.Need(t)
	bird, birdc := program(t, "bird"), program(t, "birdc")
	dir := t.TempDir()
	file, socket := filepath.Join(dir, "bird.conf"), filepath.Join(dir, "ctl")
	if err := os.WriteFile(file, []byte(snippet(t, "bird")+birdConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	startDaemon(t, bird, "-f", "-c", file, "-s", socket, "-P", filepath.Join(dir, "pid"))
	d := daemon{t, func(command string) string { return output(t, birdc, "-s", socket, command) }}
	interop(t, d, asked{
		all: "show route all", one: "show route all for " + vip6.String(),
		depreferred: []string{"BGP.as_path: " + ownPath(11), "BGP.med: 4294967294", "BGP.community: (65535,0)", "BGP.local_pref: 0"},
		plain:       []string{"BGP.as_path: " + ownPath(1) + "\n", "BGP.local_pref: 100"},
		withdrawals: "show protocols all speaker", none: "Import withdraws:            0 ",
	})
	d.waitFor("show protocols all speaker", []string{"Administrative shutdown"}, nil)
}

const frrRoute = "show bgp ipv6 unicast 2001:db8:53::53/128"

// startFRR runs bgpd.
func startFRR(t *testing.T, config string) daemon {
	nettest.Need(t)
	bgpd, vtysh := program(t, "/usr/lib/frr/bgpd"), program(t, "vtysh")
	dir := t.TempDir()
	file := filepath.Join(dir, "bgpd.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	startDaemon(t, bgpd, "-Z", "-S", "-f", file, "--vty_socket", dir, "-i", filepath.Join(dir, "pid"), "-P", "0", "--log", "stdout")
	return daemon{t, func(command string) string {
		var all strings.Builder
		for c := range strings.SplitSeq(command, ";") {
			all.WriteString(output(t, vtysh, "--vty_socket", dir, "-d", "bgpd", "-c", c))
		}
		return all.String()
	}}
}

func TestInteropFRR(t *testing.T) {
	d := startFRR(t, frrConfig+snippet(t, "frr"))
	interop(t, d, asked{
		all: "show bgp ipv6 unicast;show bgp ipv4 unicast", one: frrRoute,
		depreferred: []string{"\n  " + ownPath(11) + "\n", "metric 4294967294", "Community: graceful-shutdown", "localpref 0"},
		plain:       []string{"\n  " + ownPath(1) + "\n", "valid, external"},
	})
	d.waitFor("show bgp neighbors json", []string{"anyedge: the agent stops"}, nil) // RFC 9003
}

// FRR honours the community of an external neighbor without being told, and gets a preference from an internal one.
func TestInteropFRRUnasked(t *testing.T) {
	external := strings.ReplaceAll(frrConfig, "  neighbor fd00:1::1 route-map ANYCAST-IN in\n", "")
	for name, tt := range map[string]struct {
		config string
		asn    uint32
		ask    asked
	}{
		"external": {external, 65533, asked{depreferred: []string{ownPath(11), "localpref 0"}, plain: []string{"valid, external"}}},
		"internal": {
			strings.ReplaceAll(strings.ReplaceAll(external, "65533", "64611"), " neighbor fd00:1::1 ttl-security hops 1\n", ""), 64611,
			asked{depreferred: []string{"metric 4294967294, localpref 0"}, plain: []string{"\n  Local\n", "localpref 100", "valid, internal"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := startFRR(t, tt.config)
			c := config(daemonAddress, vip6, vip4)
			c.Neighbors[0].Password, c.Neighbors[0].ASN = interopSecret, tt.asn
			c.Neighbors[0].TTLSecurity = tt.asn != c.ASN
			s, _ := run(t, c)
			established(t, s)
			wait(t, s, set(t, s, vip6, vip4))
			tt.ask.one = frrRoute
			d.waitFor(frrRoute, tt.ask.plain, nil)
			preferences(t, s, d, tt.ask)
		})
	}
}

// output runs a program; an error is part of the text, because a daemon may not be up yet.
func output(t *testing.T, name string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	b, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v", b, err)
	}
	return string(b)
}
