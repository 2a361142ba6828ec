package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
)

// TestSystemd is a service manager that starts a server, watches it, and stops it.
func TestSystemd(t *testing.T) {
	nettest.Need(t)
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "20000")
	t.Cleanup(func() { // after start's own: the server has ended
		for got := hear(t, manager); !strings.HasPrefix(got, "STOPPING=1\n"); got = hear(t, manager) {
			if got != "WATCHDOG=1" {
				t.Errorf("manager heard %q", got)
			}
		}
	})
	start(t, testConfig)
	for _, want := range []string{"READY=1\nSTATUS=answering", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := hear(t, manager); got != want {
			t.Errorf("manager heard %q, want %q", got, want)
		}
	}
}

func hear(t *testing.T, manager *net.UnixConn) string {
	t.Helper()
	if err := manager.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	n, err := manager.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}
