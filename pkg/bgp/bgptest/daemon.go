package bgptest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// A Daemon is a real router, FRR or BIRD, in a network namespace of its own. It ends with the test.
type Daemon struct {
	Interface string // this end of the link; a name of its own, because package net remembers indexes of names for a minute

	t     testing.TB
	dir   string // of its files
	host  int    // process that holds the namespace
	query func(command string) string
}

// A Link joins the test's namespace with a daemon's: addresses with their length of Daemon.Interface here, of "far" there.
type Link struct{ Near, Far []string }

// StartFRR runs FRR's programs, such as "bgpd", with one configuration for all. Zebra is there only if named, and then first;
// it needs root. Call nettest.Need before.
func StartFRR(t testing.TB, link Link, config string, programs ...string) *Daemon {
	t.Helper()
	vtysh := program(t, "vtysh")
	d := newDaemon(t, link)
	if programs[0] == "zebra" {
		d.open()
	}
	for _, name := range programs {
		d.start(name, program(t, "/usr/lib/frr/"+name), d.frrArgs(name, programs[0] == "zebra")...)
		d.await(name + ".vty")
	}
	vty := []string{"--vty_socket", d.dir}
	if out := output(t, vtysh, append(vty, "-f", d.file("frr.conf", config))...); strings.Contains(out, "%") {
		t.Fatalf("vtysh: %s", out)
	}
	d.query = func(command string) string {
		var all strings.Builder
		for c := range strings.SplitSeq(command, ";") {
			all.WriteString(output(t, vtysh, "--vty_socket", d.dir, "-c", c))
		}
		return all.String()
	}
	return d
}

func (d *Daemon) frrArgs(name string, zebra bool) []string {
	args := []string{"--vty_socket", d.dir, "-i", filepath.Join(d.dir, name+".pid"), "-z", filepath.Join(d.dir, "zserv"), "-P", "0", "--log", "stdout"}
	if name == "bgpd" {
		args = append(args, "-S") // as who it is: the others cannot
	}
	if name == "bgpd" && !zebra {
		args = append(args, "-Z")
	}
	if name == "bfdd" {
		args = append(args, "--bfdctl", filepath.Join(d.dir, "bfdd.ctl"))
	}
	return args
}

// open lets zebra in, which runs as a user of its own, whatever it is told.
func (d *Daemon) open() {
	d.t.Helper()
	if users, err := os.ReadFile("/proc/self/uid_map"); err != nil || len(strings.Fields(string(users))) != 3 || strings.Fields(string(users))[2] == "1" {
		d.t.Skip("zebra needs a user of its own: run the test as root")
	}
	for dir, mode := range map[string]os.FileMode{filepath.Dir(d.dir): 0o711, d.dir: 0o777} {
		if err := os.Chmod(dir, mode); err != nil {
			d.t.Fatal(err)
		}
	}
}

// StartBIRD runs BIRD. Call nettest.Need before.
func StartBIRD(t testing.TB, link Link, config string) *Daemon {
	t.Helper()
	birdc := program(t, "birdc")
	d := newDaemon(t, link)
	socket := filepath.Join(d.dir, "ctl")
	d.start("bird", program(t, "bird"), "-f", "-c", d.file("bird.conf", config), "-s", socket, "-P", filepath.Join(d.dir, "bird.pid"))
	d.query = func(command string) string { return output(t, birdc, "-s", socket, command) }
	return d
}

// program finds a program; where it is missing the test is skipped, but not in CI.
func program(t testing.TB, path string) string {
	t.Helper()
	found, err := exec.LookPath(path)
	if err == nil {
		return found
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is needed: %v", path, err)
	}
	t.Skipf("%s is not installed", path)
	return ""
}

// newDaemon makes the namespace, held by a shell that waits, and the link.
func newDaemon(t testing.TB, link Link) *Daemon {
	t.Helper()
	d := &Daemon{t: t, dir: t.TempDir()}
	cmd := exec.Command("/bin/sh", "-c", "read line")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = nettest.Start(cmd)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	d.host = cmd.Process.Pid
	d.Interface = fmt.Sprintf("near%d", d.host)
	d.plumb(link)
	return d
}

func (d *Daemon) plumb(link Link) {
	d.t.Helper()
	ns, err := netns.GetFromPid(d.host)
	if err != nil {
		d.t.Fatal(err)
	}
	defer ns.Close()
	there, err := netlink.NewHandleAt(ns)
	if err != nil {
		d.t.Fatal(err)
	}
	defer there.Close()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: d.Interface}, PeerName: "far", PeerNamespace: netlink.NsPid(d.host)}
	if err := netlink.LinkAdd(veth); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	// FRR sends router advertisements: an address made of those would become the source of sessions.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+d.Interface+"/accept_ra", []byte("0"), 0); err != nil {
		d.t.Fatal(err)
	}
	d.up(&netlink.Handle{}, d.Interface, link.Near...)
	d.up(there, "far", link.Far...)
	d.up(there, "lo")
}

// up gives an interface its addresses; where a link-local one is among them the kernel makes none.
func (d *Daemon) up(h *netlink.Handle, name string, addresses ...string) {
	d.t.Helper()
	l, err := h.LinkByName(name)
	if err == nil && strings.Contains(strings.Join(addresses, " "), "fe80:") {
		err = h.LinkSetIP6AddrGenMode(l, 1)
	}
	if err == nil {
		err = h.LinkSetUp(l)
	}
	if err != nil {
		d.t.Fatalf("%s: %v", name, err)
	}
	for _, a := range addresses {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			d.t.Fatal(err)
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrReplace(l, addr); err != nil {
			d.t.Fatalf("%s %s: %v", name, a, err)
		}
	}
}

func (d *Daemon) file(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return path
}

// inside is a command in the daemon's namespace.
func (d *Daemon) inside(path string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"--target", strconv.Itoa(d.host), "--net", "--", path}, args...)...)
}

func (d *Daemon) start(name, path string, args ...string) {
	d.t.Helper()
	cmd := d.inside(path, args...)
	cmd.Stdout, cmd.Stderr = d.t.Output(), d.t.Output()
	if err := nettest.Start(cmd); err != nil {
		d.t.Fatalf("%s: %v", name, err)
	}
	d.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
}

// await waits for a file that a program makes when it is ready.
func (d *Daemon) await(name string) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(d.dir, name)); err == nil {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s: is not ready", name)
		}
	}
}

// Signal sends a signal to one of the daemon's programs.
func (d *Daemon) Signal(program string, sig syscall.Signal) {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, program+".pid"))
	if err != nil {
		d.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil {
		err = syscall.Kill(pid, sig)
	}
	if err != nil {
		d.t.Fatalf("%s: %v", program, err)
	}
}

// Silence drops all packets in both directions, without a sign at either end, until it is called with false.
func (d *Daemon) Silence(on bool) {
	d.t.Helper()
	rules := "delete table netdev silence\n"
	if on {
		rules = "table netdev silence {\n" +
			"chain in { type filter hook ingress device far priority 0; policy drop; }\n" +
			"chain out { type filter hook egress device far priority 0; policy drop; }\n}\n"
	}
	cmd := d.inside(program(d.t, "nft"), "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		d.t.Fatalf("nft: %v\n%s", err, bytes.TrimSpace(out))
	}
}

// Query asks the daemon in its own language: vtysh (several commands apart by ;) or birdc.
func (d *Daemon) Query(command string) string { return d.query(command) }

// WaitFor asks until the answer holds what it must and nothing of what it must not; it fails the test after 30 s.
func (d *Daemon) WaitFor(command string, holds, lacks []string) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		answer := d.query(command)
		missing, surplus := without(answer, holds, false), without(answer, lacks, true)
		if len(missing)+len(surplus) == 0 {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("%s lacks %q and holds %q:\n%s", command, missing, surplus, answer)
		}
	}
}

// without returns the words that are in the text, or that are not.
func without(text string, words []string, present bool) (l []string) {
	for _, w := range words {
		if strings.Contains(text, w) == present {
			l = append(l, w)
		}
	}
	return l
}

// output runs a program; an error is part of the text, because a daemon may not be up yet.
func output(t testing.TB, name string, args ...string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	b, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s%v", b, err)
	}
	return string(b)
}
