package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Inside is the hidden command of edgelab that becomes a node's program: it gets an insideSpec as its argument.
const Inside = "inside"

// insideSpec is what a node's program finds around itself.
type insideSpec struct {
	Dir   string   // of the node, in the lab's state: holds what its own directories keep
	Binds []Bind   // sources absolute
	Cmd   []string // program and arguments
}

// RunInside gives the calling process the node's own directories and becomes its program. It returns only on error.
// The process must be in a mount namespace of its own.
func RunInside(arg string) error {
	var spec insideSpec
	if err := json.Unmarshal([]byte(arg), &spec); err != nil {
		return fmt.Errorf("inside: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, dir := range own {
		if err := bind(filepath.Join(spec.Dir, "root", dir), dir, false); err != nil {
			return err
		}
	}
	for _, b := range spec.Binds {
		if err := bind(b.Source, b.Target, b.ReadOnly); err != nil {
			return err
		}
	}
	path, err := exec.LookPath(spec.Cmd[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, spec.Cmd, os.Environ())
}

// process is a node's program, started again and again.
type process struct {
	node Node
	ns   namespace
	dir  string // state of the node
	base string // directory that binds are relative to
	bin  string // directory of the programs

	mu      sync.Mutex // guards following
	cmd     *exec.Cmd
	exited  chan struct{} // closed when cmd has been waited for
	wanted  bool          // running is wanted: an exit is a surprise
	outcome error         // of the last exit
}

// start runs the node's program; its output is appended to the node's log.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running() {
		return fmt.Errorf("node %s: already runs", p.node.Name)
	}
	log, err := os.OpenFile(p.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd, err := p.command(context.Background(), p.node.Cmd)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := p.ns.do(cmd.Start); err != nil {
		return fmt.Errorf("node %s: %w", p.node.Name, err)
	}
	p.cmd, p.exited, p.wanted = cmd, make(chan struct{}), true
	go p.wait(cmd, p.exited)
	return os.WriteFile(filepath.Join(p.dir, "pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)
}

// wait collects the exit of one run; stop waits for it.
func (p *process) wait(cmd *exec.Cmd, exited chan struct{}) {
	err := cmd.Wait()
	p.mu.Lock()
	p.outcome = err
	p.mu.Unlock()
	close(exited)
}

func (p *process) running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// signal sends a signal to the program; SIGKILL and SIGTERM mean that it is wanted to be gone.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running() {
		return fmt.Errorf("node %s: does not run", p.node.Name)
	}
	if sig == syscall.SIGKILL || sig == syscall.SIGTERM {
		p.wanted = false
	}
	return p.cmd.Process.Signal(sig)
}

// stop ends the program, kindly at first, and waits for it.
func (p *process) stop(patience time.Duration) {
	if p.signal(syscall.SIGTERM) != nil {
		return
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		_ = p.signal(syscall.SIGKILL)
		<-p.exited
	}
}

// surprise tells of a program that ended though nobody wanted it to.
func (p *process) surprise() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.wanted || p.running() {
		return nil
	}
	outcome := "exit status 0"
	if p.outcome != nil {
		outcome = p.outcome.Error()
	}
	return fmt.Errorf("node %s: %s ended: %s: %s", p.node.Name, p.node.Cmd[0], outcome, p.lastWords())
}

// lastWords returns the end of the node's log, where a program says why it gave up.
func (p *process) lastWords() string {
	f, err := os.Open(p.logPath())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if end, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, end-400), io.SeekStart)
	}
	text, _ := io.ReadAll(f)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

func (p *process) logPath() string { return filepath.Join(p.dir, "log") }

// command prepares a program with the node's network, files and environment.
func (p *process) command(ctx context.Context, argv []string) (*exec.Cmd, error) {
	if len(argv) == 0 {
		return nil, fmt.Errorf("node %s: no command", p.node.Name)
	}
	spec := insideSpec{Dir: p.dir, Cmd: argv}
	for _, b := range p.node.Binds {
		if !filepath.IsAbs(b.Source) {
			b.Source = filepath.Join(p.base, b.Source)
		}
		spec.Binds = append(spec.Binds, b)
	}
	arg, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", Inside, string(arg))
	cmd.Dir = "/"
	cmd.Env = p.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS,
		Setsid:     true, // Ctrl-C is for the lab, which ends its programs in order
	}
	return cmd, nil
}

// systemPath is where a node finds the machine's programs.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (p *process) environ() []string {
	env := []string{"PATH=" + p.bin + ":" + systemPath, "HOME=/root"}
	for k, v := range p.node.Env {
		env = append(env, k+"="+v)
	}
	return env
}

// prepare makes the node's state.
func (p *process) prepare() error {
	for _, dir := range own {
		if err := os.MkdirAll(filepath.Join(p.dir, "root", dir), 0o755); err != nil {
			return err
		}
	}
	return nil
}
