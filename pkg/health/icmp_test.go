package health

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

const pingRange = "/proc/sys/net/ipv4/ping_group_range"

// allowPing lets the groups from least to most have ping sockets in this namespace; "1 0" is nobody.
func allowPing(t *testing.T, groups string) {
	t.Helper()
	nettest.Need(t)
	before, err := os.ReadFile(pingRange)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pingRange, []byte(groups), 0); err != nil {
		t.Skipf("cannot change %s: %v", pingRange, err)
	}
	t.Cleanup(func() { _ = os.WriteFile(pingRange, before, 0) })
}

func TestICMPCheck(t *testing.T) {
	for name, groups := range map[string]string{"ping socket": "0 0", "raw socket": "1 0"} {
		t.Run(name, func(t *testing.T) {
			allowPing(t, groups)
			for _, c := range []ICMP{
				{Target: netip.IPv6Loopback()},
				{Target: netip.MustParseAddr("127.0.0.1")},
				{Target: netip.IPv6Loopback(), Local: Local{Device: "lo", Source: netip.IPv6Loopback()}},
				{Target: netip.MustParseAddr("127.0.0.1"), Local: Local{Device: "lo", Source: netip.MustParseAddr("127.1.2.3")}},
			} {
				if s, raw, err := c.open(t.Context()); err != nil || raw != (groups == "1 0") {
					t.Errorf("%v: raw %v, %v", c, raw, err)
				} else {
					s.close()
				}
				for range 3 {
					if err := c.Check(t.Context()); err != nil {
						t.Errorf("%v: %v", c, err)
					}
				}
			}
		})
	}
}

func TestICMPCheckFails(t *testing.T) {
	allowPing(t, "0 0")
	for _, test := range []struct {
		check ICMP
		want  string
	}{
		{ICMP{Target: netip.MustParseAddr("2001:db8::1")}, "connect: network is unreachable"},
		{ICMP{Target: netip.MustParseAddr("192.0.2.1")}, "connect: network is unreachable"},
		{ICMP{Target: netip.MustParseAddr("fe80::1%nosuch0")}, "connect: invalid argument"},
		{ICMP{Target: netip.IPv6Loopback(), Local: Local{Device: "nosuch0"}}, "device nosuch0: no such device"},
		{ICMP{Target: netip.IPv6Loopback(), Local: Local{Source: netip.MustParseAddr("2001:db8::7")}}, "bind: cannot assign requested address"},
	} {
		if got := text(test.check.Check(t.Context())); got != test.want {
			t.Errorf("%v: got %q, want %q", test.check, got, test.want)
		}
	}
}

func TestICMPCheckTimeout(t *testing.T) {
	allowPing(t, "0 0")
	const ignore = "/proc/sys/net/ipv6/icmp/echo_ignore_all"
	if err := os.WriteFile(ignore, []byte("1"), 0); err != nil {
		t.Skip(err)
	}
	defer os.WriteFile(ignore, []byte("0"), 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if got := text(ICMP{Target: netip.IPv6Loopback()}.Check(ctx)); !timedOut(got, 20) {
		t.Errorf("got %q", got)
	}
}

// Neither in the group nor with the capability: the reason says what to do.
func TestICMPCheckNotPermitted(t *testing.T) {
	allowPing(t, "1 0")
	err := withoutRaw(t, func() error { return ICMP{Target: netip.IPv6Loopback()}.Check(t.Context()) })
	const want = "not permitted: put the agent's group into net.ipv4.ping_group_range, or grant CAP_NET_RAW"
	if got := text(err); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// withoutRaw runs f on a thread that has given up CAP_NET_RAW; the thread ends with its goroutine.
func withoutRaw(t *testing.T, f func() error) error {
	t.Helper()
	result := make(chan error)
	go func() { result <- onBareThread(f) }()
	return <-result
}

func onBareThread(f func() error) error {
	runtime.LockOSThread() // for good
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return errors.Join(errors.New("capset"), err)
	}
	return f()
}

func FuzzICMPAnswer(f *testing.F) {
	token := make([]byte, tokenSize)
	for _, target := range []string{"::1", "127.0.0.1"} {
		wire, _, err := ICMP{Target: netip.MustParseAddr(target)}.request()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire, true)
		f.Add(append([]byte{0x45, 19: 0}, wire...), true)
	}
	f.Add([]byte{129, 0, 0, 0, 0, 1, 0, 1, 15: 0}, false) // a reply, too short for the token
	f.Add(append([]byte{129, 0, 0, 0, 0, 1, 0, 1}, token...), false)
	f.Fuzz(func(t *testing.T, b []byte, raw bool) {
		for _, target := range []string{"::1", "127.0.0.1"} {
			if (ICMP{Target: netip.MustParseAddr(target)}).answers(b, raw, token) && len(b) < 8+tokenSize {
				t.Errorf("%x answers", b)
			}
		}
	})
}
