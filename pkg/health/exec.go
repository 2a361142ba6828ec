package health

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode"

	"golang.org/x/sys/unix"
)

// Exec runs a program as the user of this process; exit status 0 passes, and the first line of its output is the reason
// when it does not. No shell is involved. The program and all that it started are killed when the time is over and when
// it ends: a check leaves nothing behind, but for what made a session of its own.
type Exec struct {
	Command []string // the program's absolute path and its arguments
	Env     []string // KEY=VALUE, beside PATH and LC_ALL, which it may replace; nothing else is inherited
}

// What a program that is run gets to know of the world; Env may say otherwise.
const (
	execPath   = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	execLocale = "LC_ALL=C"
)

const (
	maxOutput = 4 << 10                // the rest is read and dropped, so that the program does not block
	execDelay = 100 * time.Millisecond // for the output of what escaped from the group
)

// Check runs the program once.
func (c Exec) Check(ctx context.Context) error {
	if len(c.Command) == 0 {
		return errors.New("no command")
	}
	started := time.Now()
	output := new(head)
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Env = append([]string{execPath, execLocale}, c.Env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = execDelay
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot be run: %w", err)
	}
	killed := awaitGroup(ctx, cmd.Process.Pid)
	err := cmd.Wait()
	switch {
	case killed:
		return fmt.Errorf("not done within %v%s", allowed(ctx, started), output.firstLine())
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it ended well; something that escaped holds its output
	case err != nil:
		return fmt.Errorf("%w%s", err, output.firstLine())
	default:
		return nil
	}
}

// awaitGroup waits until the process pid, which leads a group, has ended, and kills the group then, or as soon as ctx is
// done: killed tells which. The process is not reaped yet, so its number cannot have become another's when it is used.
func awaitGroup(ctx context.Context, pid int) (killed bool) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = unix.Kill(-pid, unix.SIGKILL)
	})
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	killed = !stop()
	if killed {
		<-done
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	return killed
}

// head keeps the beginning of what is written to it.
type head struct{ b bytes.Buffer }

// Write implements io.Writer; it takes everything.
func (h *head) Write(p []byte) (int, error) {
	h.b.Write(p[:min(len(p), maxOutput-h.b.Len())])
	return len(p), nil
}

// firstLine returns the first line that is not blank, with a colon in front; it is foreign text, so what could garble a
// log is left out.
func (h *head) firstLine() string {
	const most = 200
	for line := range strings.Lines(h.b.String()) {
		line = strings.TrimSpace(strings.Map(printable, line))
		if line == "" {
			continue
		}
		if len(line) > most {
			line = strings.ToValidUTF8(line[:most], "") + "..."
		}
		return ": " + line
	}
	return ""
}

func printable(r rune) rune {
	if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
		return -1
	}
	return r
}
