package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// netns is a network namespace that was opened; its zero value is that of this process.
type netns struct{ file *os.File }

// socket opens a netlink socket there; it stays there.
func (n netns) socket(flags, protocol int) (fd int, err error) {
	open := func() (int, error) {
		return unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, protocol)
	}
	if n.file == nil {
		return open()
	}
	err = n.within(func() error {
		fd, err = open()
		return err
	})
	return fd, err
}

// within runs f on a thread that is in n. A thread that does not find home again ends with its goroutine.
func (n netns) within(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- os.NewSyscallError("setns", err)
			return
		}
		err = f()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// String names it for people.
func (n Namespace) String() string {
	switch {
	case n.Path != "":
		return "network namespace " + n.Path
	case n.PID != 0:
		return fmt.Sprintf("network namespace of process %d", n.PID)
	case n.PIDFile != "":
		return "network namespace of the process of " + n.PIDFile
	default:
		return "this network namespace"
	}
}

// path returns where the namespace is to be found now.
func (n Namespace) path() (string, error) {
	pid := n.PID
	if n.PIDFile != "" {
		var err error
		if pid, err = readPID(n.PIDFile); err != nil {
			return "", err
		}
	}
	if pid != 0 {
		return fmt.Sprintf("/proc/%d/ns/net", pid), nil
	}
	return n.Path, nil
}

// readPID reads a file with the number of a process in its first line. An absentError tells that there is none.
func readPID(file string) (int, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, absentError{fmt.Errorf("no pid file %s: its program has not started, or writes another", file)}
	}
	if err != nil {
		return 0, fmt.Errorf("pid file: %w: let the agent read it", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid < 1 {
		return 0, absentError{fmt.Errorf("pid file %s holds no process number", file)}
	}
	return pid, nil
}

// elsewhere is the socket table of another network namespace: opened when the namespace is there, and again when another
// has taken its place. Whoever looks finds out.
type elsewhere struct {
	where     Namespace
	listeners []Listener
	opened    chan sockDiag // capacity 1: the latest

	mu    sync.Mutex
	id    namespaceID // of table; zero: none
	table sockDiag
	over  bool // Close was called
}

// namespaceID tells namespaces apart, as long as one of them is held open.
type namespaceID struct{ dev, ino uint64 }

func newElsewhere(where Namespace, listeners []Listener) *elsewhere {
	return &elsewhere{where: where, listeners: listeners, opened: make(chan sockDiag, 1)}
}

// bound implements kernel.
func (e *elsewhere) bound(l Listener) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.enter(); err != nil {
		if errors.As(err, new(absentError)) {
			return false, absentError{fmt.Errorf("%v is not there: %w", e.where, err)}
		}
		return false, fmt.Errorf("%v cannot be entered: %w", e.where, err)
	}
	return e.table.bound(l)
}

// enter makes sure that the table is that of the namespace that is there now. The caller holds mu.
func (e *elsewhere) enter() error {
	if e.over {
		return os.ErrClosed
	}
	path, err := e.where.path()
	var now unix.Stat_t
	if err == nil {
		err = unix.Stat(path, &now)
	}
	id := namespaceID{uint64(now.Dev), now.Ino}
	switch {
	case errors.Is(err, unix.ENOENT):
		err = absentError{err}
		fallthrough
	case err != nil:
		e.leave() // a namespace that is held open lives on, with all its interfaces
		return remedy(err)
	case id == e.id:
		return nil
	}
	e.leave()
	file, err := os.Open(path)
	if err != nil {
		return remedy(err)
	}
	table, err := openTable(netns{file}, e.listeners)
	if err != nil {
		file.Close()
		return remedy(err)
	}
	e.id, e.table = id, table
	select {
	case <-e.opened: // nobody watched it
	default:
	}
	e.opened <- table
	return nil
}

func remedy(err error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: grant the agent CAP_SYS_ADMIN and CAP_SYS_PTRACE, or run one in that namespace", err)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: it is no network namespace", err)
	default:
		return err
	}
}

// leave closes the table. The caller holds mu.
func (e *elsewhere) leave() {
	if e.id == (namespaceID{}) {
		return
	}
	e.table.events.Close()
	e.table.in.file.Close()
	e.id, e.table = namespaceID{}, sockDiag{}
}

// watch implements kernel.
func (e *elsewhere) watch(ctx context.Context, saw func(socketEvent)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case table := <-e.opened:
			saw(socketEvent{entered: true, at: time.Now()})
			if err := table.watch(ctx, saw); err != nil && e.isIn(table) {
				return fmt.Errorf("%v: %w", e.where, err)
			}
		}
	}
}

func (e *elsewhere) isIn(table sockDiag) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.table == table
}

// Close implements kernel.
func (e *elsewhere) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leave()
	e.over = true
	return nil
}
