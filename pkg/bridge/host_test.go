package bridge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// hostEnv marks a test binary that runs one Bridge, as edgeagent would, in the network namespace in which it was started:
// so a test can have several hosts, and kill one.
const hostEnv = "ANYEDGE_BRIDGE_HOST"

// order is one line to the process, answer one line from it.
type order struct {
	Set  *[]Wanted
	Stop bool
}

type answer struct {
	Err      string
	VIPs     []string // that errors are about
	Mode     string
	Found    []Wanted
	Problems []Problem
	Traffic  []counted
	Refused  uint64
	Marks    map[string]uint32
}

// counted is Traffic with its key, for JSON.
type counted struct {
	VIP string
	Traffic
}

// hostMain is the process: the first line of its input is the Config.
func hostMain() int {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var cfg Config
	if err := in.Decode(&cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	b, err := New(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})), cfg)
	if err != nil {
		_ = out.Encode(answer{Err: err.Error()})
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	<-b.Ready()
	_ = out.Encode(state(b, nil))
	for {
		var o order
		if err := in.Decode(&o); err != nil { // the test is gone
			cancel()
			<-done
			return 1
		}
		switch {
		case o.Stop:
			cancel()
			_ = out.Encode(state(b, <-done))
			return 0
		case o.Set != nil:
			_ = out.Encode(state(b, b.Set(ctx, *o.Set...)))
		default:
			_ = out.Encode(state(b, nil))
		}
	}
}

// state reads the counters anew: the loop does so when it gets a CPU.
func state(b *Bridge, err error) answer {
	if b.Mode() != Off {
		b.countSent()
		b.countReceived()
	}
	a := answer{Mode: b.Mode().String(), Found: b.Found(), Problems: b.Problems(), Refused: b.Refused(), Marks: map[string]uint32{}}
	if err != nil {
		a.Err, a.VIPs = err.Error(), vipsOf(err)
	}
	for vip, t := range b.Traffic() {
		a.Traffic = append(a.Traffic, counted{vip.String(), t})
	}
	for _, p := range b.cfg.Peers {
		a.Marks[p.Name] = b.Mark(p.Name)
	}
	return a
}

func vipsOf(err error) []string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, e := range joined.Unwrap() {
			all = append(all, vipsOf(e)...)
		}
		return all
	}
	if e, ok := err.(vipError); ok {
		return []string{e.VIP().String()}
	}
	return nil
}

// bridgeProcess is such a process, seen from the test.
type bridgeProcess struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
	first answer
}

// startBridge starts a Bridge in a namespace and waits until it is ready. It is killed with the test if it is not stopped.
func startBridge(t *testing.T, ns *namespace, cfg Config) *bridgeProcess {
	t.Helper()
	p := &bridgeProcess{t: t, cmd: exec.Command("/proc/self/exe", "-test.run=^$")}
	p.cmd.Env = append(os.Environ(), hostEnv+"=1")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	stderr := testLog{t, ns.name}
	p.cmd.Stderr = stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = json.NewDecoder(bufio.NewReader(out))
	ns.do(t, p.cmd.Start)
	t.Cleanup(p.kill)
	p.send(cfg)
	p.first = p.receive()
	if p.first.Err != "" {
		t.Fatalf("host %s: %s", ns.name, p.first.Err)
	}
	return p
}

type testLog struct {
	t    *testing.T
	name string
}

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s: %s", l.name, b)
	return len(b), nil
}

func (p *bridgeProcess) send(v any) {
	p.t.Helper()
	if err := json.NewEncoder(p.in).Encode(v); err != nil {
		p.t.Fatal(err)
	}
}

func (p *bridgeProcess) receive() answer {
	p.t.Helper()
	var a answer
	if err := p.out.Decode(&a); err != nil {
		p.t.Fatalf("bridge process: %v", err)
	}
	return a
}

func (p *bridgeProcess) ask(o order) answer {
	p.t.Helper()
	p.send(o)
	return p.receive()
}

// set must succeed.
func (p *bridgeProcess) set(wanted ...Wanted) {
	p.t.Helper()
	if wanted == nil {
		wanted = []Wanted{}
	}
	if a := p.ask(order{Set: &wanted}); a.Err != "" {
		p.t.Fatalf("Set(%v): %s", wanted, a.Err)
	}
}

// traffic returns the counters of one VIP.
func (p *bridgeProcess) traffic(vip string) Traffic {
	p.t.Helper()
	for _, c := range p.ask(order{}).Traffic {
		if c.VIP == single(addr(vip)).String() {
			return c.Traffic
		}
	}
	p.t.Fatalf("no traffic of %s", vip)
	return Traffic{}
}

func (p *bridgeProcess) stop() {
	p.t.Helper()
	if a := p.ask(order{Stop: true}); a.Err != "" {
		p.t.Errorf("Run: %s", a.Err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Error(err)
	}
}

func (p *bridgeProcess) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}
