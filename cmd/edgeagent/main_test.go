package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// role makes this test binary another program: "agent" is edgeagent with the one capability that it needs, "powerless"
// edgeagent without any, "blind" edgeagent on a kernel without sock_diag. Each becomes "self", edgeagent as it is.
const role = "ANYEDGE_TEST_ROLE"

// GoBGP ends a session without draining its unbounded queue for good: the queue's goroutine may stay behind.
func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "self":
		os.Exit(run())
	case "agent":
		become(func() error { return dropCapabilities(unix.CAP_NET_ADMIN) })
	case "powerless":
		become(func() error { return dropCapabilities() })
	case "blind":
		become(refuseSockDiag)
	}
	nettest.Main(func() {
		goleak.VerifyTestMain(kubetest.M{M: m}, goleak.IgnoreAnyFunction("github.com/eapache/channels.(*InfiniteChannel).infiniteBuffer"))
	})
}

// become gives something up for good and then is the agent; it does not return.
func become(giveUp func() error) {
	runtime.LockOSThread()
	err := giveUp()
	if err == nil {
		_ = os.Setenv(role, "self")
		err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	fmt.Fprintln(os.Stderr, "cannot become an agent:", err)
	os.Exit(3)
}

// dropCapabilities empties the bounding set but for those to keep, so that an exec leaves no others.
func dropCapabilities(keep ...uintptr) error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if !slices.Contains(keep, c) {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // a newer one than the kernel's is not there anyway
		}
	}
	return nil
}

// refuseSockDiag makes socket(AF_NETLINK, _, NETLINK_SOCK_DIAG) fail as on a kernel without it.
func refuseSockDiag() error {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	skipUnless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	// struct seccomp_data: nr at 0, args of 8 bytes from 16; the low half comes first on little-endian machines.
	filter := []unix.SockFilter{
		load(0), skipUnless(unix.SYS_SOCKET, 5),
		load(16), skipUnless(unix.AF_NETLINK, 3),
		load(32), skipUnless(unix.NETLINK_SOCK_DIAG, 1),
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}
