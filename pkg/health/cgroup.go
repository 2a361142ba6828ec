package health

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroupRoots are where cgroup v2 is mounted: alone, or beside v1.
func cgroupRoots() []string { return []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} }

// unitCgroup finds the cgroup of a systemd unit: below its slice, which lies below the slices that its name tells and any
// that the unit says. systemd is not asked, so nothing waits for it.
func unitCgroup(unit string) (string, error) {
	for _, root := range cgroupRoots() {
		if dir := findUnit(root, unit); dir != "" {
			return dir, nil
		}
	}
	return "", absentError{fmt.Errorf("unit %s has no cgroup: it is not started", unit)}
}

func findUnit(dir, unit string) string {
	if _, err := os.Stat(filepath.Join(dir, unit, "cgroup.events")); err == nil {
		return filepath.Join(dir, unit)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasSuffix(e.Name(), ".slice") {
			if found := findUnit(filepath.Join(dir, e.Name()), unit); found != "" {
				return found
			}
		}
	}
	return ""
}

func openCgroup(name, dir string) (*life, error) {
	fd, err := unix.Open(filepath.Join(dir, "cgroup.events"), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		if _, err := os.Stat(filepath.Join(dir, "tasks")); err == nil {
			return nil, fmt.Errorf("%s is of cgroup v1: name one of cgroup v2, which can tell of its end", name)
		}
		return nil, absentError{fmt.Errorf("%s is not there: what runs in it is not started", name)}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &life{name: name, cgroup: dir, file: os.NewFile(uintptr(fd), "cgroup.events")}, nil
}

// readPopulated tells whether a process is in the cgroup whose cgroup.events is fd, or below it.
func readPopulated(fd int) (bool, error) {
	buf := make([]byte, 256)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return false, err // ENODEV: the cgroup was removed
	}
	for line := range strings.Lines(string(buf[:n])) {
		if value, ok := strings.CutPrefix(line, "populated "); ok {
			return strings.TrimSpace(value) == "1", nil
		}
	}
	return false, errors.New("cgroup.events says nothing of populated")
}

// single finds out whether there is but one process in the cgroup: then its death is the end, and can be told early.
func (l *life) single() {
	switch pids := processes(l.cgroup); {
	case len(pids) == 0: // the last one is on its way out
	case len(pids) > 1:
		l.pid, l.dying = 0, nil
	case pids[0] != l.pid:
		l.pid, l.dying = pids[0], nil
	}
}

// processes returns those in a cgroup and below.
func processes(dir string) []int {
	var all []int
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			all = append(all, processes(filepath.Join(dir, e.Name()))...)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return all
	}
	for _, field := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 { // 0: of another PID namespace
			all = append(all, pid)
		}
	}
	return all
}
