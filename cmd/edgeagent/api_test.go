package main

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/siteapi"
)

// TestDrain: a drain over the API de-prefers, withdraws and outlives the agent; taken back, the service is announced again.
func TestDrain(t *testing.T) {
	nettest.Need(t)
	router := newRouter(t)
	openService(t)
	dir := t.TempDir()
	socket := filepath.Join(dir, "agent.sock")
	path := place(t, "", vip6.String())
	rewrite(t, path, "site: mec-1", "site: mec-1\napi: {socket: "+socket+", drains: "+filepath.Join(dir, "drains")+"}")
	first := startAgent(t, path)
	router.WaitFor(vip6)
	c := siteapi.NewClient(socket)
	if _, err := c.Drain(t.Context(), "echo"); err != nil {
		t.Fatal(err)
	}
	state(t, c, "drained")
	router.WaitFor()
	worse := 0
	for _, e := range router.Events() {
		if !e.Withdrawn && depreferred(e) {
			worse++
		}
	}
	if worse != 1 {
		t.Errorf("%d de-preferred announcements in %+v", worse, router.Events())
	}
	first.signal(unix.SIGKILL)

	second := startAgent(t, path)
	second.says("bgp session established")
	state(t, c, "drained")
	router.WaitFor()
	s, err := c.Undrain(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Neighbors) != 1 || s.Neighbors[0].State != "established" || len(s.Services[0].Checks) != 1 || s.Services[0].VIPs[0].Address != vip6 {
		t.Errorf("status %+v", s)
	}
	state(t, c, "up")
	router.WaitFor(vip6)
	if status := second.signal(unix.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// state waits until the one service is in it.
func state(t *testing.T, c *siteapi.Client, want string) {
	t.Helper()
	reached := unix.EALREADY // any error that ends the watch
	err := c.Watch(t.Context(), func(s siteapi.Status) error {
		if s.Services[0].State == want {
			return reached
		}
		return nil
	})
	if err != reached {
		t.Fatalf("never %s: %v", want, err)
	}
}
