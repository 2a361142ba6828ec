package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// role makes this test binary another program: "agent" is edgeagent, "powerless" is edgeagent without capabilities.
const role = "ANYEDGE_TEST_ROLE"

// GoBGP ends a session without draining its unbounded queue for good: the queue's goroutine may stay behind.
func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "agent":
		os.Exit(run())
	case "powerless":
		fmt.Fprintln(os.Stderr, "powerless:", dropCapabilities())
		os.Exit(1)
	}
	nettest.Main(func() {
		goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/eapache/channels.(*InfiniteChannel).infiniteBuffer"))
	})
}

// dropCapabilities becomes the agent with an empty bounding set, so that the exec leaves none.
func dropCapabilities() error {
	runtime.LockOSThread()
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // a newer one than the kernel's is not there anyway
	}
	_ = os.Setenv(role, "agent")
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}
