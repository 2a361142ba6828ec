package sdnotify

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// manager is a service manager's end of the socket.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return conn
}

func notifier(t *testing.T) *Notifier {
	t.Helper()
	n, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func expect(t *testing.T, from *net.UnixConn, want string) {
	t.Helper()
	if err := from.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	size, err := from.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(buf[:size]); got != want {
		t.Errorf("manager heard %q, want %q", got, want)
	}
}

func TestNotify(t *testing.T) {
	for name, socket := range map[string]string{
		"path":     filepath.Join(t.TempDir(), "s"),
		"abstract": "@anyedge-sdnotify-test-" + strconv.Itoa(os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			heard := manager(t, socket)
			n := notifier(t)
			if v, ok := os.LookupEnv("NOTIFY_SOCKET"); ok {
				t.Errorf("children would inherit NOTIFY_SOCKET=%s", v)
			}
			if err := n.Ready("2 services\nup"); err != nil {
				t.Fatal(err)
			}
			expect(t, heard, "READY=1\nSTATUS=2 services up")
			if err := n.Stopping("draining", 90*time.Second); err != nil {
				t.Fatal(err)
			}
			expect(t, heard, "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=90000000")
		})
	}
}

// A part that hangs keeps the watchdog silent.
func TestWatch(t *testing.T) {
	heard := manager(t, filepath.Join(t.TempDir(), "s"))
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	n := notifier(t)
	ctx, cancel := context.WithCancel(t.Context())
	calls, hang, done := 0, make(chan struct{}), make(chan error, 1)
	go func() {
		done <- n.Watch(ctx, func() {
			if calls++; calls == 3 {
				cancel()
				<-hang
			}
		})
	}()
	expect(t, heard, "WATCHDOG=1")
	expect(t, heard, "WATCHDOG=1")
	<-ctx.Done()
	if err := n.Ready("said meanwhile"); err != nil {
		t.Fatal(err)
	}
	expect(t, heard, "READY=1\nSTATUS=said meanwhile")
	close(hang)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNoManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n, err := New()
	if n != nil || err != nil {
		t.Fatalf("%v, %v", n, err)
	}
	for _, err := range []error{n.Ready(""), n.Stopping("", 0), n.Watch(t.Context(), nil), n.Close()} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	if _, err := New(); err == nil {
		t.Error("nobody listens there, and New did not say so")
	}
}

func TestWatchdogTime(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	for _, tc := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"", "", 0}, {"x", own, 0}, {"-1", own, 0}, {"0", own, 0}, {"1000", "1", 0},
		{"1000", own, time.Millisecond}, {"1000", "", time.Millisecond},
	} {
		if got := watchdogTime(tc.usec, tc.pid); got != tc.want {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: %s, want %s", tc.usec, tc.pid, got, tc.want)
		}
	}
}
