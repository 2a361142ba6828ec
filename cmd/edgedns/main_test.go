package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// role makes this test binary edgedns: "binder" with the one capability that it needs, "powerless" without any. Each
// becomes "self".
const role = "ANYEDGE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "self":
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	case "binder":
		become(unix.CAP_NET_BIND_SERVICE)
	case "powerless":
		become()
	}
	nettest.Main(func() { goleak.VerifyTestMain(kubetest.M{M: m}) })
}

// become gives up all capabilities but those to keep, for good, and then is edgedns; it does not return.
func become(keep ...uintptr) {
	runtime.LockOSThread()
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if !slices.Contains(keep, c) {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // a newer one than the kernel's is not there anyway
		}
	}
	_ = os.Setenv(role, "self")
	err := syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	fmt.Fprintln(os.Stderr, "cannot become edgedns:", err)
	os.Exit(3)
}
