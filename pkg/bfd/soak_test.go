package bfd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// The soak runs two ends in processes of their own on a machine whose cores are all loaded, each while its own garbage
// collector works, and counts sessions that fell though nothing was wrong. It takes this long for each kind of
// scheduling, and needs root (CAP_SYS_NICE):
//
//	ANYEDGE_BFD_SOAK=10m go test ./pkg/bfd -run TestSoak -v -timeout 0
//
// ANYEDGE_BFD_SOAK_INTERVAL (10ms) and ANYEDGE_BFD_SOAK_HOGS (busy threads per core, 2) change the conditions.
const (
	soakFor      = "ANYEDGE_BFD_SOAK"
	soakInterval = "ANYEDGE_BFD_SOAK_INTERVAL"
	soakHogs     = "ANYEDGE_BFD_SOAK_HOGS"
	soakRole     = "ANYEDGE_BFD_SOAK_ROLE" // of a child: a local address and its peer's, or hog
)

// An outcome is what one end saw.
type outcome struct {
	Realtime       bool
	FalseDowns     int // detection time expired
	Late, Gap      time.Duration
	Sent, Received uint64
	StoodIn        uint64
	GCs            int64
	GCPause        time.Duration // longest
}

func TestSoak(t *testing.T) {
	if os.Getenv(soakFor) == "" {
		t.Skipf("set %s=10m to soak", soakFor)
	}
	nettest.Need(t)
	length, err := time.ParseDuration(os.Getenv(soakFor))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []struct {
		name     string
		realtime bool
	}{{"SCHED_FIFO", true}, {"ordinary", false}} {
		t.Run(kind.name, func(t *testing.T) {
			hogs := child(t, "hog", true)
			ends := []*process{child(t, ours.String()+" "+theirs.String(), kind.realtime), child(t, theirs.String()+" "+ours.String(), kind.realtime)}
			time.Sleep(length)
			falls := 0
			for _, end := range ends {
				o := end.end()
				falls += o.FalseDowns
				t.Logf("%s: %d false downs, worst lateness %s, longest gap %s, %d sent, %d by the stand-in, %d received, %d collections, longest pause %s, real-time %v",
					length, o.FalseDowns, o.Late, o.Gap, o.Sent, o.StoodIn, o.Received, o.GCs, o.GCPause, o.Realtime)
				if o.Realtime != kind.realtime {
					t.Errorf("real-time scheduling: %v", o.Realtime)
				}
			}
			_ = hogs.stdin.Close()
			_ = hogs.cmd.Wait()
			if kind.realtime && falls > 0 {
				t.Errorf("%d false downs", falls)
			}
		})
	}
}

// A process is this test binary in another role, which it plays until its standard input ends.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   strings.Builder
}

// child starts one; without real-time rights if not realtime.
func child(t *testing.T, role string, realtime bool) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command("/proc/self/exe")}
	p.cmd.Env = append(os.Environ(), soakRole+"="+role)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: its rights are gone. The child dies with the thread, which so must wait.
		if !realtime {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_NICE, 0, 0, 0)
		}
		started <- p.cmd.Start()
		<-ended
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.stdin.Close(); _ = p.cmd.Wait(); close(ended) })
	return p
}

// end ends the process and returns what it saw.
func (p *process) end() (o outcome) {
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
	if err := json.Unmarshal([]byte(p.out.String()), &o); err != nil {
		p.t.Errorf("%v: %q", err, p.out.String())
	}
	return o
}

// play is main of a child.
func play(role string) {
	if role == "hog" {
		hog()
		return
	}
	var local, peer string
	_, _ = fmt.Sscan(role, &local, &peer)
	_ = json.NewEncoder(os.Stdout).Encode(soak(netip.MustParseAddr(local), netip.MustParseAddr(peer)))
}

// hog keeps all cores busy.
func hog() {
	perCore := 2
	_, _ = fmt.Sscan(os.Getenv(soakHogs), &perCore)
	n := perCore * runtime.NumCPU()
	runtime.GOMAXPROCS(n + 1)
	for range n {
		go func() {
			for x := 1; ; x++ {
				sink.Store(uint64(x * x))
			}
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

var sink atomic.Uint64

func soak(local, peer netip.Addr) (o outcome) {
	interval, err := time.ParseDuration(os.Getenv(soakInterval))
	if err != nil {
		interval = 10 * ms
	}
	var falls atomic.Int64
	fallen := false
	s, err := New(nil, Config{Local: local, Peer: peer, Interval: interval, OnChange: func(s Status) {
		if s.Failed && !fallen && s.Diag == TimeExpired {
			falls.Add(1)
		}
		fallen = s.Failed
	}})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	go churn()
	_, _ = io.Copy(io.Discard, os.Stdin)
	st := s.Status()[0]
	var gc debug.GCStats
	gc.PauseQuantiles = make([]time.Duration, 2)
	debug.ReadGCStats(&gc)
	o = outcome{st.RTScheduled, int(falls.Load()), s.Late(), st.Gap, st.Sent, st.Received, st.StoodIn, gc.NumGC, gc.PauseQuantiles[1]}
	cancel()
	if err := <-done; err != nil {
		panic(err)
	}
	return o
}

// churn keeps 32 MB alive in small pieces and replaces them, so that the collector has work several times a second.
func churn() {
	live := make([]*[64]byte, 1<<19)
	for i := 0; ; i++ {
		live[i%len(live)] = new([64]byte)
		if i%4096 == 0 {
			time.Sleep(ms)
		}
	}
}
