package kubetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
)

// program is a process that must not outlive the tests.
type program struct {
	name  string
	log   string // file
	cmd   *exec.Cmd
	ended chan struct{}
}

// runAs starts one of the programs under a name, which its log has, too.
func (c *Cluster) runAs(name, file string, args ...string) (*program, error) {
	p := &program{name: name, log: filepath.Join(c.dir, name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(filepath.Join(c.bin, file), args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := nettest.Start(p.cmd); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // its state is told where it is wanted
		close(p.ended)
	}()
	return p, nil
}

// wait waits until ready returns no error, and gives up when the program ended or patience did.
func (p *program) wait(what string, ready func() error) error {
	deadline := time.After(patience)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended before it was %s: %v\n%s", p.name, what, p.cmd.ProcessState, p.tail())
		case <-deadline:
			return fmt.Errorf("%s is not %s after %v: %v\n%s", p.name, what, patience, err, p.tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// tail is the end of the log.
func (p *program) tail() string {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-4000):])
}

// stop ends the program, which may be nil or have ended; it kills one that does not listen.
func (p *program) stop() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

func (p *program) freeze() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *program) thaw()         { _ = p.cmd.Process.Signal(syscall.SIGCONT) }
