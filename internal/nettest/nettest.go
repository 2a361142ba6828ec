// Package nettest gives tests a network of their own: a test binary that calls Main runs in fresh user, network and
// mount namespaces, so that it may bind any port and add any address without root and without touching the machine.
package nettest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// env marks the re-executed test binary; its value is "ok", or why the namespaces could not be had.
const env = "ANYEDGE_NETTEST"

// Main re-executes the test binary in fresh namespaces with lo up, then calls run there. Use it from TestMain:
//
//	func TestMain(m *testing.M) { nettest.Main(func() { goleak.VerifyTestMain(m) }) }
//
// Fuzzing runs in place: the fuzzer's workers inherit descriptors of their own.
func Main(run func()) {
	if os.Getenv(env) != "" || fuzzing() {
		if os.Getenv(env) == "ok" {
			if err := loopbackUp(); err != nil {
				fmt.Fprintln(os.Stderr, "nettest: lo:", err)
				os.Exit(1)
			}
		}
		run()
		return
	}
	os.Exit(reexec())
}

// Own tells why the binary could not get namespaces of its own; nil: it has them.
func Own() error {
	if why := os.Getenv(env); why != "ok" {
		return errors.New(why)
	}
	return nil
}

// Need skips the test when the binary could not get namespaces of its own; with CI=true it fails instead.
func Need(t testing.TB) {
	t.Helper()
	if why := Own(); why != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs network namespaces: %s", why)
		}
		t.Skipf("needs network namespaces: %s", why)
	}
}

func fuzzing() bool {
	for _, arg := range os.Args[1:] {
		if name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "="); name == "test.fuzz" || name == "test.fuzzworker" {
			return true
		}
	}
	return false
}

func reexec() int {
	err := start("ok", &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | rootless(),
		Pdeathsig:  syscall.SIGKILL,
	})
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		err = start(err.Error(), nil)
	}
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nettest:", err)
		return 1
	}
	return 0
}

// rootless returns the flag for a user namespace where one is needed.
func rootless() uintptr {
	if os.Geteuid() == 0 {
		return 0
	}
	return syscall.CLONE_NEWUSER
}

func start(mark string, attr *syscall.SysProcAttr) error {
	if attr != nil && attr.Cloneflags&syscall.CLONE_NEWUSER != 0 {
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), env+"="+mark)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = attr
	return cmd.Run()
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}
