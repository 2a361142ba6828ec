package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// daemonLimit is how long a daemon may take to listen on its control socket.
	daemonLimit = 20 * time.Second
	// daemonPoll is how often that is tried.
	daemonPoll = 10 * time.Millisecond
)

// daemons are a router's programs, in the foreground: they end with this process, however it ends.
type daemons struct {
	ended   chan error // the first that ended
	wait    sync.WaitGroup
	running []*exec.Cmd
}

func newDaemons() *daemons { return &daemons{ended: make(chan error, 1)} }

// bfdPriority is below that of the wires: a packet's delay matters to all.
const bfdPriority = 1

// punctual lets a BFD program run before ordinary ones, where that is allowed: a lab has many routers on few cores, and
// each of them wants to be heard every 50 ms.
func punctual(pid int) bool {
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: bfdPriority}
	return unix.SchedSetAttr(pid, attr, 0) == nil
}

// start runs one more program. The kernel kills it when the calling thread ends: call from the main one.
func (d *daemons) start(path string, args ...string) (pid int, err error) {
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	d.running = append(d.running, cmd)
	d.wait.Add(1)
	go func() {
		defer d.wait.Done()
		err := cmd.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		select {
		case d.ended <- fmt.Errorf("%s ended: %w", filepath.Base(path), err):
		default:
		}
	}()
	return cmd.Process.Pid, nil
}

// listening waits until somebody accepts connections on a unix socket.
func (d *daemons) listening(ctx context.Context, socket string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, daemonLimit, fmt.Errorf("nobody listens on %s after %s", socket, daemonLimit))
	defer cancel()
	var dial net.Dialer
	for {
		if c, err := dial.DialContext(ctx, "unix", socket); err == nil {
			return c.Close()
		}
		select {
		case err := <-d.ended:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(daemonPoll):
		}
	}
}

// run returns nil when ctx is done, or an error when a program ends.
func (d *daemons) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-d.ended:
		return err
	}
}

// stop ends all programs, kindly at first, and waits for them. The latest goes first: it may need those before it.
func (d *daemons) stop() {
	for i := len(d.running) - 1; i >= 0; i-- {
		_ = d.running[i].Process.Signal(unix.SIGTERM)
	}
	impatient := time.AfterFunc(patience/2, func() {
		for _, cmd := range d.running {
			_ = cmd.Process.Kill()
		}
	})
	defer impatient.Stop()
	d.wait.Wait()
}
