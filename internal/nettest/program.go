package nettest

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Program returns the path of a program of somebody else that the test runs; pkg is the Debian package that has it, and
// must be in tools/prepare. Without the program the test is skipped; with CI=true it fails instead.
func Program(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/usr/sbin/", "/sbin/"} { // not in every user's PATH
			if path, err = exec.LookPath(dir + name); err == nil {
				break
			}
		}
	}
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: install %s", name, pkg)
	}
	t.Skipf("%s is missing: install %s", name, pkg)
	return ""
}

// A Daemon is a server of somebody else that runs until the test ends.
type Daemon struct {
	mu      sync.Mutex // guards following
	text    strings.Builder
	waiting string
	found   chan struct{}
}

// Start starts a process as cmd.Start does, but one that a test that dies does not leave over. The kernel kills such a
// process when the thread ends that started it, and threads end with goroutines that keep them to themselves: this one
// lives as long as the process. The caller waits for that.
func Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
			}
		}
	}()
	return <-started
}

// StartDaemon starts one and waits until it prints the text that says that it serves.
func StartDaemon(t testing.TB, ready, path string, args ...string) *Daemon {
	t.Helper()
	d := &Daemon{waiting: ready, found: make(chan struct{})}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = d, d
	if err := Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			lines := strings.Split(d.String(), "\n")
			t.Logf("%s printed last:\n%s", path, strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
	})
	select {
	case <-d.found:
	case <-ended:
		t.Fatalf("%s ended before it printed %q", path, ready)
	case <-time.After(time.Minute):
		t.Fatalf("%s did not print %q in a minute", path, ready)
	}
	return d
}

// Write takes what the daemon prints.
func (d *Daemon) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text.Write(b)
	if d.waiting != "" && strings.Contains(d.text.String(), d.waiting) {
		d.waiting = ""
		close(d.found)
	}
	return len(b), nil
}

// String returns what the daemon has printed.
func (d *Daemon) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

// RemoveAddress takes an address off lo that a program has put there.
func RemoveAddress(t testing.TB, prefix string) {
	t.Helper()
	lo, a := onLoopback(t, prefix)
	if err := netlink.AddrDel(lo, a); err != nil {
		t.Errorf("%s: %v", prefix, err)
	}
}

func onLoopback(t testing.TB, prefix string) (lo netlink.Link, a *netlink.Addr) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if a, err = netlink.ParseAddr(prefix); err != nil {
		t.Fatal(err)
	}
	return lo, a
}

// AddAddress gives lo an address such as 2001:db8::1/128 until the test ends, and waits until it can be used: the kernel
// adds the local route of an IPv6 address a moment later, and a client that connects before that is stuck with no route.
func AddAddress(t testing.TB, prefix string) {
	t.Helper()
	lo, a := onLoopback(t, prefix)
	a.Flags |= unix.IFA_F_NODAD
	if err := netlink.AddrAdd(lo, a); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.AddrDel(lo, a) })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		routes, err := netlink.RouteGet(a.IP)
		if err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no route to %s: %v", prefix, err)
		}
	}
}
