package health

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// processWatch follows what a Process names from one life to the next. A look finds out which it is now; its end comes as
// an event.
type processWatch struct {
	process Process
	deaths  *deaths       // nil: the kernel does not tell
	await   func(l *life) // starts to wait for the end of l
	mu      sync.Mutex
	now     *life // nil: none that is known
}

// life is one process, or one cgroup with processes in it, from when it is seen until its end.
type life struct {
	name   string
	file   *os.File // a pidfd, or cgroup.events
	cgroup string   // empty: a process
	pid    int      // the process whose death is the end; 0: there are several
	dying  error    // the kernel told that pid dies
}

// watchProcesses starts to wait for the ends of processes. It comes before the first look.
func (m *Monitor) watchProcesses(ctx context.Context, g *errgroup.Group) {
	watches := make(map[*check]*processWatch)
	for _, c := range m.checks() {
		if c.Process != nil {
			watches[c] = &processWatch{process: *c.Process}
		}
	}
	if len(watches) == 0 {
		return
	}
	d, err := m.openDeaths()
	if err != nil {
		m.log.Warn("deaths of processes are seen late: when their memory is free, their core is dumped, or a check looks", "err", err)
	} else {
		g.Go(func() error {
			defer d.Close()
			return d.watch(ctx, func(e death) { m.dies(watches, e) })
		})
	}
	for c, w := range watches {
		w.deaths = d
		w.await = func(l *life) {
			g.Go(func() error {
				if l.await(ctx) {
					m.processGone(c, w, time.Now())
				}
				return nil
			})
		}
		c.Checker = w
	}
}

// dies takes the kernel's word that a process begins to die.
func (m *Monitor) dies(watches map[*check]*processWatch, e death) {
	m.metrics.death(e)
	for c, w := range watches {
		if w.dies(e) {
			m.processGone(c, w, e.at)
		}
	}
}

// processGone looks for what has taken the place of what ended.
func (m *Monitor) processGone(c *check, w *processWatch, at time.Time) {
	err := w.Check(context.Background()) // a look never waits
	m.update(func() { m.sawEnd(c, err, at) })
}

// dies tells whether e is of the process that is watched, which then counts as dead.
func (w *processWatch) dies(e death) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.now == nil || w.now.pid == 0:
		return false
	case e.lost:
		return true
	case e.pid != w.now.pid:
		return false
	}
	w.now.dying = fmt.Errorf("process %d %s", e.pid, e.how)
	return true
}

// Check implements Checker: it looks once.
func (w *processWatch) Check(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.pid()
	err := w.look()
	if w.pid() == before || w.deaths == nil {
		return err
	}
	if err := w.deaths.follow(before, w.pid()); err != nil {
		return unsureError{err}
	}
	return w.look() // it may have begun to die before it was followed
}

func (w *processWatch) pid() int {
	if w.now == nil {
		return 0
	}
	return w.now.pid
}

// look finds out what lives now, and waits for its end if that is new. The caller holds mu.
func (w *processWatch) look() error {
	name, open, err := w.process.find()
	var was error
	if w.now != nil {
		over, dying := w.now.state()
		if err == nil && w.now.name == name && !over {
			return dying
		}
		was = absentError{fmt.Errorf("%s has ended", w.now.name)}
		w.now.file.Close()
		w.now = nil
	}
	var next *life
	if err == nil {
		next, err = open()
	}
	if err == nil {
		over, dying := next.state()
		if !over {
			w.now = next
			w.await(next)
			return dying
		}
		next.file.Close()
		err = absentError{fmt.Errorf("%s has ended", name)}
	}
	switch {
	case !errors.As(err, new(absentError)):
		return unsureError{err}
	case was != nil:
		return was // how it went says more than what is there instead
	default:
		return err
	}
}

// find tells what p names now, and how to open it.
func (p Process) find() (name string, open func() (*life, error), err error) {
	if p.PIDFile != "" {
		pid, err := readPID(p.PIDFile)
		name := fmt.Sprintf("process %d", pid)
		return name, func() (*life, error) { return openProcess(name, pid) }, err
	}
	dir := p.Cgroup
	if p.Unit != "" {
		if dir, err = unitCgroup(p.Unit); err != nil {
			return "", nil, err
		}
	}
	return "cgroup " + dir, func() (*life, error) { return openCgroup("cgroup "+dir, dir) }, nil
}

func openProcess(name string, pid int) (*life, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	switch {
	case errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL): // EINVAL: the number of a thread
		return nil, absentError{fmt.Errorf("%s has ended", name)}
	case err != nil:
		return nil, fmt.Errorf("pidfd of %s: %w", name, err)
	}
	return &life{name: name, pid: pid, file: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// await waits for the end; false: ctx is done, or l was closed, before.
func (l *life) await(ctx context.Context) bool {
	defer context.AfterFunc(ctx, func() { l.file.Close() })()
	raw, err := l.file.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Read(func(fd uintptr) bool { return l.over(int(fd)) })
	return err == nil && ctx.Err() == nil
}

// over tells whether the end has come; fd is that of l.file.
func (l *life) over(fd int) bool {
	if l.cgroup != "" {
		populated, err := readPopulated(fd)
		return err != nil || !populated
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n > 0 && err == nil
}

// state tells whether the end has come and, before that, how l dies; nil: it lives.
func (l *life) state() (over bool, dying error) {
	raw, err := l.file.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { over = l.over(int(fd)) })
	}
	if over = over || err != nil; over {
		return true, nil
	}
	if l.cgroup != "" {
		l.single()
	}
	if l.dying == nil && l.pid != 0 && dies(l.pid) {
		l.dying = fmt.Errorf("process %d is dying", l.pid)
	}
	return false, l.dying
}

// Bits of the kernel's task flags, linux/sched.h.
const (
	flagExiting  = 0x4   // PF_EXITING
	flagSignaled = 0x400 // PF_SIGNALED: killed by a signal, perhaps still dumping core
)

// dies looks whether a process has begun to: it has its sockets then, but runs no more. Where /proc does not show it (hidepid,
// ProtectProc=) nothing is said.
func dies(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	flags, threads, ok := parseStat(string(b))
	// A thread that ends alone is no death of the program.
	return ok && (flags&flagSignaled != 0 || flags&flagExiting != 0 && threads <= 1)
}

// parseStat reads the fields flags (9) and num_threads (20) of proc_pid_stat(5). The name, in parentheses, may hold anything.
func parseStat(s string) (flags uint64, threads int, ok bool) {
	i := strings.LastIndexByte(s, ')')
	if i < 0 {
		return 0, 0, false
	}
	fields := strings.Fields(s[i+1:]) // from field 3
	if len(fields) < 18 {
		return 0, 0, false
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	threads, err2 := strconv.Atoi(fields[17])
	return flags, threads, err == nil && err2 == nil
}
