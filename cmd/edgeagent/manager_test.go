package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/announce"
)

// TestSystemd is a service manager that starts an agent, watches it, and stops it.
func TestSystemd(t *testing.T) {
	nettest.Need(t)
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "20000")
	agent := startAgent(t, place(t, "", "2001:db8:7::7/128"))
	for _, want := range []string{"READY=1\nSTATUS=watching 1 services", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := hear(t, manager); got != want {
			t.Errorf("manager heard %q, want %q", got, want)
		}
	}
	if err := agent.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for got := hear(t, manager); !strings.HasPrefix(got, "STOPPING=1\n"); got = hear(t, manager) {
		if got != "WATCHDOG=1" {
			t.Errorf("manager heard %q", got)
		}
	}
	if status := agent.wait(); status != 0 {
		t.Errorf("exit status %d", status)
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

// The unit's own limit is for what the agent does not ask more for.
func TestStopTime(t *testing.T) {
	cfg := config.Agent{Services: []config.Service{
		{Announce: announce.Service{Drain: time.Minute}}, {Announce: announce.Service{Drain: 5 * time.Minute}}, {},
	}}
	if got, want := stopTime(cfg), 5*time.Minute+stopMargin; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
