package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A server is one of those that are compared. It runs on the first processor, and is stopped but while it is measured.
type server struct {
	name    string
	port    int
	command func(dir string, addr netip.AddrPort) ([]string, error) // writes its files into dir
	echo    bool                                                    // it answers with anything
	ready   time.Duration                                           // from its start to its first right answers
	pid     int
	process *exec.Cmd
}

// serverPort is the first of them all.
const serverPort = 5300

// servers lists them in the order of the table: what ours is compared with comes first.
func servers(self, bin string) []*server {
	own := func(args ...string) func(string, netip.AddrPort) ([]string, error) {
		return func(_ string, addr netip.AddrPort) ([]string, error) {
			return append([]string{self, args[0], addr.String()}, args[1:]...), nil
		}
	}
	all := []*server{
		{name: echoName, command: own("echo"), echo: true},
		{name: "gdnsd", command: gdnsd},
		{name: "edgedns", command: func(dir string, addr netip.AddrPort) ([]string, error) { return edgedns(bin, dir, addr) }},
		{name: "edgedns bare", command: own("bare")},
		{name: "edgedns with 1000 changes/s", command: own("changing", "1000")},
		{name: "Knot", command: knot},
		{name: "NSD", command: nsd},
		{name: "CoreDNS", command: func(dir string, addr netip.AddrPort) ([]string, error) { return coredns(bin, dir, addr) }},
	}
	for i, s := range all {
		s.port = serverPort + i
	}
	return all
}

// The names of the rows that ratios are made to.
const echoName, gdnsdName = "echo", "gdnsd"

func edgedns(bin, dir string, addr netip.AddrPort) ([]string, error) {
	path := filepath.Join(dir, "edgedns.yaml")
	metrics := netip.AddrPortFrom(addr.Addr(), addr.Port()+1000)
	return []string{filepath.Join(bin, "edgedns"), "--config", path}, writeConfig(path, addr, metrics)
}

func gdnsd(dir string, addr netip.AddrPort) ([]string, error) {
	config := fmt.Sprintf(`options => {
  listen => %q, udp_threads => 1, tcp_threads => 1, run_dir => %q, state_dir => %q, max_nocookie_response => 0
}
`, addr, dir, dir)
	if err := os.MkdirAll(filepath.Join(dir, "zones"), 0o755); err != nil {
		return nil, err
	}
	return []string{"gdnsd", "-c", dir, "start"}, errors.Join(
		os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o644),
		writeZone(filepath.Join(dir, "zones", strings.TrimSuffix(zoneName, "."))))
}

func knot(dir string, addr netip.AddrPort) ([]string, error) {
	config := fmt.Sprintf(`server:
    listen: %s@%d
    rundir: %s
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %s
zone:
  - domain: %s
    file: %s/zone
    zonefile-sync: -1
`, addr.Addr(), addr.Port(), dir, dir, zoneName, dir)
	path := filepath.Join(dir, "knot.conf")
	return []string{"knotd", "-c", path}, errors.Join(os.WriteFile(path, []byte(config), 0o644), writeZone(filepath.Join(dir, "zone")))
}

func nsd(dir string, addr netip.AddrPort) ([]string, error) {
	config := fmt.Sprintf(`server:
    ip-address: %s@%d
    server-count: 1
    username: ""
    zonesdir: %q
    database: ""
    pidfile: "%s/nsd.pid"
    xfrdfile: "%s/xfrd.state"
    zonelistfile: "%s/zone.list"
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: %q
    zonefile: zone
`, addr.Addr(), addr.Port(), dir, dir, dir, dir, zoneName)
	path := filepath.Join(dir, "nsd.conf")
	return []string{"nsd", "-d", "-c", path}, errors.Join(os.WriteFile(path, []byte(config), 0o644), writeZone(filepath.Join(dir, "zone")))
}

func coredns(bin, dir string, addr netip.AddrPort) ([]string, error) {
	path := filepath.Join(dir, "Corefile")
	config := fmt.Sprintf("%s:%d {\n  file %s\n}\n", zoneName, addr.Port(), filepath.Join(dir, "zone"))
	return []string{filepath.Join(bin, "coredns"), "-conf", path}, errors.Join(os.WriteFile(path, []byte(config), 0o644), writeZone(filepath.Join(dir, "zone")))
}

// start starts a server on the first processor, waits until it answers, and stops it there.
func (s *server) start(root string) error {
	dir := filepath.Join(root, strings.Map(func(r rune) rune {
		if r == ' ' || r == ',' || r == '/' {
			return '-'
		}
		return r
	}, s.name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	command, err := s.command(dir, s.addr())
	if err != nil {
		return err
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		return fmt.Errorf("%w: install it (apt-get install gdnsd knot nsd), or leave it out by --only", err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.process = exec.Command("taskset", append([]string{"-c", "0"}, command...)...)
	s.process.Env = append(os.Environ(), "GOMAXPROCS=1")
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return err
	}
	began := time.Now()
	s.pid = s.process.Process.Pid
	if err := s.await(); err != nil {
		return fmt.Errorf("%w: see %s", err, log.Name())
	}
	s.ready = time.Since(began)
	return s.signal(syscall.SIGSTOP)
}

func (s *server) addr() netip.AddrPort {
	return netip.AddrPortFrom(netip.IPv6Loopback(), uint16(s.port))
}

// await waits until answers are right.
func (s *server) await() error {
	for range 300 {
		if r, err := generate(load{name: "ready", queries: queriesRandom, seconds: 0.01}, s); err == nil && r.Received > 0 && r.Wrong == 0 {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("does not answer")
}

// signal sends to all processes of the server.
func (s *server) signal(signal syscall.Signal) error { return syscall.Kill(-s.pid, signal) }

func (s *server) end() {
	if s.process == nil || s.process.Process == nil {
		return
	}
	_ = s.signal(syscall.SIGKILL)
	_ = s.process.Wait()
}

// used returns the processor time of all processes of the server, and the memory that they hold.
func (s *server) used() (cpu time.Duration, memory uint64, err error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, 0, err
	}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): what follows the name begins with field 3.
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) < 22 || f[2] != strconv.Itoa(s.pid) {
			continue
		}
		user, _ := strconv.ParseInt(f[11], 10, 64)
		system, _ := strconv.ParseInt(f[12], 10, 64)
		pages, _ := strconv.ParseUint(f[21], 10, 64)
		cpu += time.Duration(user+system) * (time.Second / 100)
		memory += pages * uint64(os.Getpagesize())
	}
	return cpu, memory, nil
}
