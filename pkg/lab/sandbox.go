package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sandboxEnv marks the process that runs inside; its value is the lab's state directory.
const sandboxEnv = "EDGELAB_SANDBOX"

// A Sandbox is the outer side of a lab: the state directory that says that it is up, and the process inside namespaces
// of its own (process, mount, network, without root also user) on which everything of the lab hangs. When that process
// ends, the kernel ends all the lab's programs and frees its networks: a crash leaves nothing but the state directory.
type Sandbox struct {
	Name string
	Dir  string
}

// ErrDown is returned where a lab must be up and is not.
var ErrDown = errors.New("lab is not up")

// NewSandbox names the state of a lab: below /run as root, else below XDG_RUNTIME_DIR.
func NewSandbox(name string) (Sandbox, error) {
	base := "/run"
	if os.Geteuid() != 0 {
		base = os.Getenv("XDG_RUNTIME_DIR")
	}
	if base == "" {
		return Sandbox{}, errors.New("XDG_RUNTIME_DIR is not set: run as root, or set it to a directory of yours")
	}
	return Sandbox{Name: name, Dir: filepath.Join(base, "edgelab", name)}, nil
}

// SandboxDir returns the state directory when the calling process is the one inside, else "".
func SandboxDir() string { return os.Getenv(sandboxEnv) }

// Prepare makes a fresh state directory and locks it: the lab counts as up as long as a process holds the lock.
func (s Sandbox) Prepare() (lock *os.File, err error) {
	lock, err = s.lock()
	if err != nil {
		return nil, err
	}
	if err := s.clean(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func (s Sandbox) lock() (*os.File, error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("state of lab %s: %w", s.Name, err)
	}
	lock, err := os.OpenFile(s.lockPath(), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("state of lab %s: %w", s.Name, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("lab %s is up already: edgelab down %s", s.Name, s.Name)
	}
	return lock, nil
}

func (s Sandbox) lockPath() string { return filepath.Join(s.Dir, "lock") }

// clean removes what an earlier run left, except the lock.
func (s Sandbox) clean() error {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "lock" {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.Dir, e.Name())); err != nil {
			return fmt.Errorf("state of lab %s: %w", s.Name, err)
		}
	}
	return nil
}

// Command prepares this program, with the same arguments, to run inside. It inherits the lock as its descriptor 3.
func (s Sandbox) Command(lock *os.File) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), sandboxEnv+"="+s.Dir)
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
	}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd
}

// EnterSandbox prepares the process inside: its root, where only the lab's own additions to /run, /etc and /var stay.
func EnterSandbox() error {
	unix.CloseOnExec(3) // the lock is this process's, not its programs'
	return newRoot(SandboxDir())
}

// StartError explains why the process inside could not be started.
func StartError(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) {
		return fmt.Errorf("make namespaces: %w: run as root (sudo), or let users make them: "+
			"sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0", err)
	}
	return fmt.Errorf("make namespaces: %w", err)
}

// record is what `edgelab exec` and `edgelab down` need to know of a lab that is up.
type record struct {
	Pid       int    // of the process inside, as seen outside
	StartTime uint64 // of that process, in clock ticks since boot: a pid alone may be somebody else's by now
}

// Record remembers the process inside.
func (s Sandbox) Record(pid int) error {
	start, err := startTime(pid)
	if err != nil {
		return err
	}
	data, err := json.Marshal(record{Pid: pid, StartTime: start})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.Dir, "holder.json"), data, 0o644)
}

// Pid returns the process inside, or ErrDown.
func (s Sandbox) Pid() (int, error) {
	data, err := os.ReadFile(filepath.Join(s.Dir, "holder.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s: %w", s.Name, ErrDown)
	}
	if err != nil {
		return 0, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return 0, fmt.Errorf("state of lab %s: %w", s.Name, err)
	}
	if start, err := startTime(r.Pid); err != nil || start != r.StartTime {
		return 0, fmt.Errorf("%s: %w", s.Name, ErrDown)
	}
	return r.Pid, nil
}

// startTime reads field 22 of /proc/PID/stat, proc_pid_stat(5), of a process that still runs: one that has ended but was
// not waited for yet is gone for us.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// Field 2, the command name, may hold anything but ends at the last parenthesis.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("process %d: short status", pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return 0, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// Down ends a lab that is up and removes its state, also what a crash left. It returns ErrDown when there was nothing.
func (s Sandbox) Down(ctx context.Context) error {
	if _, err := os.Stat(s.Dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", s.Name, ErrDown)
	}
	pid, err := s.Pid()
	if err == nil {
		err = end(ctx, pid)
	}
	if err != nil && !errors.Is(err, ErrDown) {
		return err
	}
	return os.RemoveAll(s.Dir)
}

// end asks the process to go, waits, and kills it if it does not; with it goes its process namespace.
func end(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return ErrDown
	}
	defer unix.Close(fd)
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil {
		return err
	}
	for !gone(fd, 50*time.Millisecond) {
		if ctx.Err() != nil {
			_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
	}
	return nil
}

// gone waits up to d for the end of a process.
func gone(pidfd int, d time.Duration) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(d.Milliseconds()))
	return n > 0
}
