package lab

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

func plugged(t *testing.T, name string) {
	t.Helper()
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
}

// Docker turns IPv6 off in a network without it: the message says what to do.
func TestSetupWithoutIPv6(t *testing.T) {
	nettest.Need(t)
	plugged(t, "setup0")
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/setup0/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	s := Setup{Interfaces: []Interface{{Name: "setup0", Addresses: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}}}}
	err := s.Apply(t.Context(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "disable_ipv6=0") {
		t.Errorf("err = %v", err)
	}
}

// Docker mounts /proc/sys read-only for containers that are not privileged: what is set already is no error, the rest
// comes with the remedy.
func TestSysctlReadOnly(t *testing.T) {
	nettest.Need(t)
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread's file systems are its own
		result <- readOnlySysctls()
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func readOnlySysctls() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	for _, m := range []struct {
		source, target string
		flags          uintptr
	}{
		{"", "/", unix.MS_REC | unix.MS_PRIVATE},
		{"/proc/sys", "/proc/sys", unix.MS_BIND},
		{"", "/proc/sys", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY},
	} {
		if err := unix.Mount(m.source, m.target, "", m.flags, ""); err != nil {
			return err
		}
	}
	const key = "net.ipv6.conf.all.forwarding"
	old, err := os.ReadFile(Sysctl{Key: key}.path())
	if err != nil {
		return err
	}
	if err := (Sysctl{Key: key, Value: string(old)}).apply(); err != nil {
		return fmt.Errorf("it is set already: %w", err)
	}
	if err := (Sysctl{Key: key, Value: "7"}).apply(); err == nil || !strings.Contains(err.Error(), "--sysctl") {
		return fmt.Errorf("no remedy: %w", err)
	}
	return nil
}
