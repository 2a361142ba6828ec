package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
)

// A process is an edgeagent of its own: this test binary in another role.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
	out output
}

// output may be read while the process writes.
type output struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// startAs runs edgeagent with arguments; it is killed at the end of the test at the latest.
func startAs(t testing.TB, as string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command("/proc/self/exe", args...), out: output{changed: make(chan struct{}, 1)}}
	p.cmd.Env = append(os.Environ(), role+"="+as)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := nettest.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("edgeagent %v said:\n%s", args, p.out.String())
		}
	})
	return p
}

func startAgent(t testing.TB, config string) *process {
	t.Helper()
	return startAs(t, "agent", "--config", config)
}

// signal sends one and waits for the end; it returns the exit status, -1 when killed.
func (p *process) signal(s os.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	return p.wait()
}

func (p *process) wait() int {
	_ = p.cmd.Wait() // its error is the exit status
	return p.cmd.ProcessState.ExitCode()
}

// says waits until the process has written a text.
func (p *process) says(text string) {
	p.t.Helper()
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for !strings.Contains(p.out.String(), text) {
		select {
		case <-p.out.changed:
		case <-timeout.C:
			p.t.Fatalf("never said %q", text)
		}
	}
}

// write makes a file in a fresh directory.
func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
