package health

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// startElsewhere starts a server in a network namespace of its own.
func startElsewhere(t testing.TB) *server {
	t.Helper()
	return startProcess(t, "udp6", "[::]:5320", 0, syscall.CLONE_NEWNET)
}

func listenerIn(where Namespace) Listener {
	return Listener{Network: "udp", Port: 5320, Namespace: where}
}

func TestListenerInNamespaceOfProcess(t *testing.T) {
	nettest.Need(t)
	s := startElsewhere(t)
	m := start(t, watching(listenerIn(Namespace{PID: s.cmd.Process.Pid})))
	wait(m, Up)
	s.kill()
	// What is seen first is up to the kernel: its word that the socket went, the table without it, which is read once more
	// after the events have been asked for, or that the namespace went with its last process.
	got := wait(m, Down).Reason
	gone := fmt.Sprintf("socket: network namespace of process %d is not there", s.cmd.Process.Pid)
	if got != "socket: last udp socket on port 5320 destroyed" && got != "socket: no udp socket on port 5320" && !strings.HasPrefix(got, gone) {
		t.Errorf("reason %q", got)
	}
}

// The program starts late, dies, and starts again elsewhere.
func TestListenerFollowsPIDFile(t *testing.T) {
	nettest.Need(t)
	file := filepath.Join(t.TempDir(), "pid")
	m := start(t, watching(listenerIn(Namespace{PIDFile: file})))
	want := fmt.Sprintf("socket: network namespace of the process of %s is not there: no pid file %[1]s: its program has not started, or writes another", file)
	if got := wait(m, Down).Reason; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	for range 3 {
		s := startElsewhere(t)
		writePID(t, file, s)
		wait(m, Up)
		s.kill()
		wait(m, Down)
	}
}

func writePID(t testing.TB, file string, s *server) {
	t.Helper()
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n", s.cmd.Process.Pid), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A named namespace is made, replaced by another under the same name, and removed.
func TestListenerFollowsPath(t *testing.T) {
	nettest.Need(t)
	path := filepath.Join(t.TempDir(), "ns")
	service := watching(listenerIn(Namespace{Path: path}))
	service.Checks[0].Interval = 5 * time.Millisecond // no event tells that a name has gone
	m := start(t, service)
	if got, want := wait(m, Down).Reason, "socket: network namespace "+path+" is not there: no such file or directory"; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	for range 2 {
		s := startElsewhere(t)
		name(t, path, s)
		wait(m, Up)
		unname(t, path)
		wait(m, Down) // it serves on, but not where it is looked for
		s.kill()
	}
}

func name(t *testing.T, path string, s *server) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(fmt.Sprintf("/proc/%d/ns/net", s.cmd.Process.Pid), path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
}

func unname(t *testing.T, path string) {
	t.Helper()
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// What is no namespace says nothing of the service.
func TestListenerInNoNamespace(t *testing.T) {
	nettest.Need(t)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	k := newElsewhere(Namespace{Path: path}, nil)
	defer k.Close()
	_, err := k.bound(listenerIn(Namespace{Path: path}))
	if want := "network namespace " + path + " cannot be entered: sock_diag: setns: invalid argument: it is no network namespace"; text(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A namespace that nobody needs any more is not kept.
func TestNamespaceIsLeft(t *testing.T) {
	nettest.Need(t)
	s := startElsewhere(t)
	where := Namespace{PID: s.cmd.Process.Pid}
	k := newElsewhere(where, []Listener{listenerIn(where)})
	if bound, err := k.bound(listenerIn(where)); !bound || err != nil {
		t.Fatalf("bound %v, %v", bound, err)
	}
	s.kill()
	if bound, err := k.bound(listenerIn(where)); bound || err == nil {
		t.Errorf("after its end: bound %v, %v", bound, err)
	}
	if k.table != (sockDiag{}) {
		t.Error("its sockets are still open")
	}
	k.Close()
	if _, err := k.bound(listenerIn(Namespace{PID: os.Getpid()})); err == nil {
		t.Error("entered after Close")
	}
}
