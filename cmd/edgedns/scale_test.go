package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
)

// scaleRuns is how often TestScale starts edgedns; it is an experiment for docs/measurements.md, and skipped without.
const scaleRuns = "ANYEDGE_SCALE"

const (
	scaleServices  = 10000
	scaleEndpoints = 100
	scaleChanges   = 20 // of an endpoint, in each run
	scaleHead      = `site: mec-1
listen: ["[::1]:53"]
zones:
  - {name: edge.example., ns: [{name: ns.edge.example., addresses: ["2001:db8:53::53"]}]}
services:
  - name: api.edge.example.
    answers: 2
    endpoints:
      - {address: 127.0.0.1, port: 7001, check: {type: tcp, interval: 10ms, rise: 1, fall: 1}}
      - {address: 127.0.0.2, port: 7001, check: {type: tcp, interval: 10ms, rise: 1, fall: 1}}
`
)

// TestScale tells what a site of 10,000 services with 100 endpoints each takes of a whole edgedns, whose file has them all: time to its first
// right answer, memory, and when a pod that dies or comes back, and a file that is changed, is answered.
func TestScale(t *testing.T) {
	runs, err := strconv.Atoi(os.Getenv(scaleRuns))
	if err != nil {
		t.Skipf("an experiment of minutes: %s=3 makes three runs", scaleRuns)
	}
	nettest.Need(t)
	pod(t, "127.0.0.1:7001")
	path := filepath.Join(t.TempDir(), "dns.yaml")
	size := writeScale(t, path, "")
	t.Logf("%d services with %d endpoints: a file of %d MB", scaleServices, scaleEndpoints, size>>20)
	for range runs {
		scaleRun(t, path)
	}
}

func scaleRun(t *testing.T, path string) {
	writeScale(t, path, "")
	cmd := exec.Command("/proc/self/exe", "--config", path, "--log-level", "error")
	cmd.Env = append(os.Environ(), role+"=self")
	cmd.Stderr = os.Stderr
	begin := time.Now()
	if err := nettest.Start(cmd); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	last := fmt.Sprintf("svc%05d.edge.example.", scaleServices-1)
	answered(t, last, dns.TypeAAAA, "2001:db8:270f::")
	answered(t, "api.edge.example.", dns.TypeA, "127.0.0.1")
	started := time.Since(begin)
	most := highWater(t, cmd.Process.Pid)
	held := settled(t, cmd.Process.Pid)

	var changes []time.Duration
	for range scaleChanges / 2 {
		l, err := net.Listen("tcp", "127.0.0.2:7001")
		if err != nil {
			t.Fatal(err)
		}
		begin = time.Now()
		answered(t, "api.edge.example.", dns.TypeA, "127.0.0.2")
		changes = append(changes, time.Since(begin))
		l.Close()
		begin = time.Now()
		gone(t, "api.edge.example.", dns.TypeA, "127.0.0.2")
		changes = append(changes, time.Since(begin))
	}
	slices.Sort(changes)

	writeScale(t, path, "  - {name: new.edge.example., endpoints: [{address: \"2001:db8:ffff::1\"}]}\n")
	begin = time.Now()
	if err := cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	answered(t, "new.edge.example.", dns.TypeAAAA, "2001:db8:ffff::1")
	reloaded := time.Since(begin)
	t.Logf("first right answers %.1f s after the start, with %d MB at most; holds %d MB", started.Seconds(), most>>20, held>>20)
	t.Logf("a pod comes or goes: answered after %.1f ms, %.1f at most, its check (every 10 ms) included; a changed file: after %.1f s, with %d MB at most",
		changes[len(changes)/2].Seconds()*1000, changes[len(changes)-1].Seconds()*1000, reloaded.Seconds(), highWater(t, cmd.Process.Pid)>>20)
}

// writeScale writes the file, with more services at its end, and returns its size.
func writeScale(t *testing.T, path, more string) int {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(scaleHead)
	for i := range scaleServices {
		fmt.Fprintf(&b, "  - name: svc%05d.edge.example.\n    endpoints:\n", i)
		for j := range scaleEndpoints {
			fmt.Fprintf(&b, "      - {address: \"2001:db8:%x::%x\"}\n", i, j+1)
		}
	}
	b.WriteString(more)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

// answered returns once an answer has an address that begins so, gone once an answer has none.
func answered(t *testing.T, name string, qtype uint16, address string) {
	t.Helper()
	answer(t, name, qtype, func(got string) bool { return strings.Contains(got, " "+address) })
}

func gone(t *testing.T, name string, qtype uint16, address string) {
	t.Helper()
	answer(t, name, qtype, func(got string) bool {
		return strings.HasPrefix(got, "NOERROR ") && !strings.Contains(got, " "+address)
	})
}

func answer(t *testing.T, name string, qtype uint16, enough func(got string) bool) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < 5*time.Minute; time.Sleep(time.Millisecond) {
		if enough(ask(t, name, qtype)) {
			return
		}
	}
	t.Fatalf("%s is %q after five minutes", name, ask(t, name, qtype))
}

// settled returns what a process holds once Go has given back what it does not need: when that stays the same for 10 s.
func settled(t *testing.T, pid int) int {
	t.Helper()
	held := resident(t, pid)
	for since := time.Now(); time.Since(since) < 10*time.Second; time.Sleep(time.Second) {
		if now := resident(t, pid); now < held-held/100 {
			held, since = now, time.Now()
		}
	}
	return held
}

// highWater is the most that a process ever held, in octets.
func highWater(t *testing.T, pid int) int {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		var kB int
		if n, _ := fmt.Sscanf(in.Text(), "VmHWM: %d kB", &kB); n == 1 {
			return kB << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
