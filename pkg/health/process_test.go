package health

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// running is a service with nothing but a process. Its long interval leaves the notice of an end to events.
func running(p Process) Service {
	return Service{Name: "svc", Checks: []Check{{
		Name: "process", Process: &p, Interval: time.Hour, FastInterval: time.Millisecond,
	}}}
}

func pidFile(t testing.TB) string { return filepath.Join(t.TempDir(), "pid") }

func TestKilledProcessIsDown(t *testing.T) {
	nettest.Need(t)
	file := pidFile(t)
	m := start(t, running(Process{PIDFile: file}))
	want := "process: no pid file " + file + ": its program has not started, or writes another"
	if got := wait(m, Down).Reason; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	for range 3 {
		s := startServer(t, "udp6", "[::1]:5330")
		writePID(t, file, s)
		wait(m, Up)
		before := time.Now()
		s.kill()
		got := wait(m, Down)
		if want := fmt.Sprintf("process: process %d has ended", s.cmd.Process.Pid); got.Reason != want {
			t.Errorf("reason %q, want %q", got.Reason, want)
		}
		if got.Noticed.Before(before) || got.Since.Before(got.Noticed) {
			t.Errorf("killed %v, noticed %v, down since %v: want this order", before, got.Noticed, got.Since)
		}
	}
}

// A program that replaces itself writes the new number before the old process ends.
func TestProcessReplaced(t *testing.T) {
	nettest.Need(t)
	file := pidFile(t)
	old := startServer(t, "udp6", "[::1]:5331")
	writePID(t, file, old)
	m := start(t, running(Process{PIDFile: file}))
	since := wait(m, Up).Since
	next := startServer(t, "udp6", "[::1]:5332")
	writePID(t, file, next)
	old.kill()
	c := m.checks()[0]
	for c.Checker.(*processWatch).watched() != next.cmd.Process.Pid {
		time.Sleep(time.Millisecond)
	}
	if got := m.Status()[0]; got.State != Up || got.Since != since {
		t.Errorf("%v since %v (%s), want up since %v", got.State, got.Since, got.Reason, since)
	}
	next.kill()
	wait(m, Down)
}

func (w *processWatch) watched() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pid()
}

// A process that has ended but is not waited for has a number, and serves nobody.
func TestZombieIsDown(t *testing.T) {
	nettest.Need(t)
	file := pidFile(t)
	s := startServer(t, "udp6", "[::1]:5333")
	writePID(t, file, s)
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	m := start(t, running(Process{PIDFile: file}))
	if got, want := wait(m, Down).Reason, "process: process "; !strings.HasPrefix(got, want) {
		t.Errorf("reason %q, want %q...", got, want)
	}
}

func TestPIDFileThatCannotBeRead(t *testing.T) {
	nettest.Need(t)
	file := pidFile(t)
	for content, want := range map[string]string{
		"":         "pid file " + file + " holds no process number",
		"nginx":    "pid file " + file + " holds no process number",
		"-1":       "pid file " + file + " holds no process number",
		"99999999": "process 99999999 has ended",
	} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		w := processWatch{process: Process{PIDFile: file}}
		if err := w.Check(t.Context()); text(err) != want || unsure(err) {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
	w := processWatch{process: Process{PIDFile: t.TempDir()}}
	if err := w.Check(t.Context()); !unsure(err) {
		t.Errorf("a directory: %v, want it to say nothing", err)
	}
}

// cgroup makes one; the test is skipped where it may not.
func cgroup(t testing.TB) string {
	t.Helper()
	var reasons error
	for _, root := range cgroupRoots() {
		dir := filepath.Join(root, fmt.Sprintf("anyedge-health-%d.slice", os.Getpid()), "test.service")
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			reasons = errors.Join(reasons, err)
			continue
		}
		t.Cleanup(func() { _ = os.Remove(dir); _ = os.Remove(filepath.Dir(dir)) })
		return dir
	}
	t.Skipf("needs a cgroup v2 that may be written: %v", reasons)
	return ""
}

func enter(t testing.TB, dir string, s *server) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Appendf(nil, "%d", s.cmd.Process.Pid), 0); err != nil {
		t.Fatal(err)
	}
}

func TestCgroup(t *testing.T) {
	nettest.Need(t)
	dir := cgroup(t)
	for name, p := range map[string]Process{"by path": {Cgroup: dir}, "by unit": {Unit: "test.service"}} {
		t.Run(name, func(t *testing.T) {
			m := start(t, running(p))
			if got, want := wait(m, Down).Reason, "process: cgroup "+dir+" has ended"; got != want {
				t.Errorf("empty: reason %q, want %q", got, want)
			}
			for range 2 {
				main, worker := startServer(t, "udp6", "[::1]:5334"), startServer(t, "udp6", "[::1]:5335")
				enter(t, dir, main)
				enter(t, dir, worker)
				since := wait(m, Up).Since
				worker.kill()
				if got := m.Status()[0]; got.State != Up || got.Since != since {
					t.Errorf("one of two ended: %v, %s", got.State, got.Reason)
				}
				main.kill()
				wait(m, Down)
			}
		})
	}
}

func TestCgroupIsMissing(t *testing.T) {
	dir := t.TempDir()
	for want, p := range map[string]Process{
		"cgroup " + dir + " is not there: what runs in it is not started": {Cgroup: dir},
		"unit nosuch.service has no cgroup: it is not started":            {Unit: "nosuch.service"},
	} {
		w := processWatch{process: p}
		if err := w.Check(t.Context()); text(err) != want || unsure(err) {
			t.Errorf("%+v: %v, want %s", p, err, want)
		}
	}
}

// machineDeaths opens deaths in the machine's namespace, from which the test binary came.
func machineDeaths(t testing.TB) *deaths {
	t.Helper()
	home, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", os.Getppid()))
	if err != nil {
		t.Skip("needs the machine's network namespace:", err)
	}
	defer home.Close()
	var d *deaths
	if err := (netns{home}).within(func() error {
		d, err = openDeaths()
		return err
	}); err != nil {
		t.Skip("needs early news of deaths:", err)
	}
	return d
}

func startWithDeaths(t testing.TB, services ...Service) *Monitor {
	t.Helper()
	d := machineDeaths(t)
	m := NewMonitor(nil, services...)
	m.openDeaths = func() (*deaths, error) { return d, nil }
	run(t, m)
	return m
}

// Big processes give their memory back before anything else is seen of their end.
func TestDeathIsToldEarly(t *testing.T) {
	nettest.Need(t)
	file := pidFile(t)
	m := startWithDeaths(t, running(Process{PIDFile: file}))
	for range 3 {
		s := startProcess(t, "udp6", "[::1]:5336", 300, 0)
		writePID(t, file, s)
		wait(m, Up)
		if err := s.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if got, want := wait(m, Down).Reason, fmt.Sprintf("process: process %d is ending", s.cmd.Process.Pid); got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
		s.kill()
	}
}

// A thread that ends is no death, and neither is that of a process that is not followed.
func TestOtherEndsAreNoDeath(t *testing.T) {
	nettest.Need(t)
	d := machineDeaths(t)
	defer d.Close()
	s := startServer(t, "udp6", "[::1]:5337")
	if err := d.follow(0, s.cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	s.kill()
	buf := make([]byte, dumpBuffer)
	n, err := d.tasks.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := parseTask(buf[:n]); !ok || got != (death{pid: s.cmd.Process.Pid, how: "is ending"}) {
		t.Errorf("first told of %+v, %v", got, ok)
	}
}

// A process that dumps core keeps its sockets until that is done.
func TestCoreDumpIsToldEarly(t *testing.T) {
	nettest.Need(t)
	file := pidFile(t)
	cmd := exec.Command("/bin/sh", "-c", "ulimit -c unlimited; exec sleep 60")
	cmd.Dir = t.TempDir()
	if err := nettest.Start(cmd); err != nil {
		t.Fatal(err)
	}
	s := &server{cmd}
	t.Cleanup(s.kill)
	writePID(t, file, s)
	m := startWithDeaths(t, running(Process{PIDFile: file}))
	wait(m, Up)
	for name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid)); string(name) != "sleep\n"; {
		name, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
	}
	if err := unix.Kill(cmd.Process.Pid, unix.SIGABRT); err != nil {
		t.Fatal(err)
	}
	// A dump as small as this one may be over before anybody looks; BenchmarkDeath has one that is not.
	got, is := strings.CutPrefix(wait(m, Down).Reason, fmt.Sprintf("process: process %d ", cmd.Process.Pid))
	if !is || got != "dumps core" && got != "is ending" && got != "has ended" {
		t.Errorf("reason %q", got)
	}
}

func TestParseStat(t *testing.T) {
	const after = " S 1 2 3 4 5 %d 7 8 9 10 11 12 13 14 15 16 %d 18 19 20"
	for name, stat := range map[string]string{
		"plain":  "123 (edgedns)" + fmt.Sprintf(after, 1028, 7),
		"tricky": "123 (a) S (b) R 1" + ")" + fmt.Sprintf(after, 1028, 7),
	} {
		if flags, threads, ok := parseStat(stat); flags != 1028 || threads != 7 || !ok {
			t.Errorf("%s: %d, %d, %v", name, flags, threads, ok)
		}
	}
	for _, bad := range []string{"", "123", "123 (a)", "123 (a) S 1 2 3 4 5 6 7", "1 (a)" + strings.Replace(after, "%d", "x", 2)} {
		if _, _, ok := parseStat(bad); ok {
			t.Errorf("%q: ok", bad)
		}
	}
}

// What looks see where the kernel tells of no death: a process with much memory is dying, not gone.
func TestLookSeesDying(t *testing.T) {
	nettest.Need(t)
	file := pidFile(t)
	s := startProcess(t, "udp6", "[::1]:5338", 300, 0)
	writePID(t, file, s)
	service := running(Process{PIDFile: file})
	service.Checks[0].Interval = time.Millisecond
	m := start(t, service)
	wait(m, Up)
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if got, want := wait(m, Down).Reason, fmt.Sprintf("process: process %d is dying", s.cmd.Process.Pid); got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
}

func FuzzParseDeaths(f *testing.F) {
	f.Add(make([]byte, 596))
	f.Add(make([]byte, 76))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseTask(b)
		parseDump(b)
		_, _ = familyID(b)
		_, _, _ = parseStat(string(b))
	})
}

// BenchmarkDeath reports how long it takes from SIGKILL until the service is down: by its socket, by its pidfd, and where
// the kernel tells of deaths.
func BenchmarkDeath(b *testing.B) {
	nettest.Need(b)
	for _, mebibytes := range []int{10, 200, 1000} {
		for _, how := range []string{"socket", "pidfd", "told"} {
			b.Run(fmt.Sprintf("%s/MiB=%d", how, mebibytes), func(b *testing.B) { benchmarkDeath(b, how, mebibytes) })
		}
	}
}

func benchmarkDeath(b *testing.B, how string, mebibytes int) {
	file := pidFile(b)
	m := NewMonitor(nil, running(Process{PIDFile: file}))
	switch how {
	case "socket":
		m = start(b, watching(Listener{Network: "udp", Port: 5339}))
	case "pidfd":
		run(b, m)
	default:
		m = startWithDeaths(b, running(Process{PIDFile: file}))
	}
	var took []time.Duration
	for b.Loop() {
		s := startProcess(b, "udp6", "[::1]:5339", mebibytes, 0)
		writePID(b, file, s)
		wait(m, Up)
		killed := time.Now()
		_ = s.cmd.Process.Kill()
		took = append(took, wait(m, Down).Since.Sub(killed))
		s.kill()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "kill-to-down-ms/median")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "kill-to-down-ms/max")
}
