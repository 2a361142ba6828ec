package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/health"
)

// floodFor is how long TestFlood floods, as "10s"; it is an experiment for docs/measurements.md, and skipped without.
const floodFor = "ANYEDGE_FLOOD"

const (
	floodTimes   = 10 // what the server can answer
	floodClients = 20 // with cookies, and as many without
	floodPause   = 100 * time.Millisecond
	floodConfig  = `site: mec-1
listen: ["[2001:db8:53::53]:53"]
zones:
  - {name: edge.example., min_ttl: 1s, ns: [{name: ns.edge.example., addresses: ["2001:db8:53::53"]}]}
services:
  - name: api.edge.example.
    answers: 2
    endpoints:
      - {address: "2001:db8:1::1", port: 7001, check: {type: tcp, interval: 500ms, fast_interval: 20ms, rise: 1, fall: 1}}
      - {address: "2001:db8:1::2", port: 7001, check: {type: tcp, interval: 500ms, fast_interval: 20ms, rise: 1, fall: 1}}
`
)

// forged is where the flood seems to come from: documentation addresses (RFC 9637), each packet from another one.
var forged = netip.MustParsePrefix("3fff::/20")

// TestFlood holds edgedns to a tenth of a processor and sends it ten times what it can answer, from forged addresses. Clients that hold a
// cookie are answered all the same, the checks of pods and that of the agent go on, memory stays, and all is well within a second after the flood.
func TestFlood(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv(floodFor))
	if err != nil {
		t.Skipf("an experiment of minutes: %s=10s runs it", floodFor)
	}
	nettest.Need(t)
	for _, a := range []string{"2001:db8:53::53/128", "2001:db8:1::1/128", "2001:db8:1::2/128"} {
		nettest.AddAddress(t, a)
	}
	bindAnything(t)
	for _, p := range []string{forged.String(), "2001:db8:c::/48"} {
		anyAddress(t, p)
	}
	pod(t, "[2001:db8:1::1]:7001")
	second := pod(t, "[2001:db8:1::2]:7001")
	pid := startHeld(t, configFile(t, floodConfig), 0.1)
	before := resident(t, pid)

	capacity := canAnswer(t, 2*time.Second)
	calm := [2]tried{askAround(t, 3*time.Second, false), askAround(t, 3*time.Second, true)}

	agent, watcher := agentsCheck(t), cookieClient(t, floodClients) // who has no cookie yet waits for seconds in a flood
	ctx, cancel := context.WithCancel(t.Context())
	sent, ended := flood(ctx, t, forged, floodTimes*capacity)
	begin, already := time.Now(), sent.Load()
	var under [2]tried
	var most int
	var noticed time.Duration
	var clients sync.WaitGroup
	for i := range under {
		clients.Go(func() { under[i] = askAround(t, length, i == 1) })
	}
	clients.Go(func() { // halfway a pod dies
		time.Sleep(length / 2)
		second()
		dies := time.Now()
		for time.Since(begin) < length {
			if one, ok := watcher.ask(); ok && one == 1 {
				noticed = time.Since(dies)
				return
			}
		}
	})
	for time.Since(begin) < length {
		most = max(most, resident(t, pid))
		time.Sleep(floodPause)
	}
	clients.Wait()
	checked, stayed := agent()
	rate := float64(sent.Load()-already) / time.Since(begin).Seconds()
	cancel()
	ended()
	recovered := untilWell(t)

	t.Logf("capacity at a tenth of a processor %.0f q/s, flood %.0f q/s, %.1f times as much, for %s", capacity, rate, rate/capacity, length)
	t.Logf("answered within %s, of %d clients with cookies: calm %s, flood %s; without: calm %s, flood %s",
		askPatience, floodClients, calm[1], under[1], calm[0], under[0])
	t.Logf("the agent's check: %s passed, stayed up: %t", checked, stayed)
	t.Logf("memory %d MB before, %d at most; a dead pod not answered any more after %s; well again %s after the flood",
		before>>20, most>>20, noticed, recovered)
	if under[1].share() < 0.9 || !stayed || noticed == 0 || most > before+64<<20 || recovered > time.Second {
		t.Error("not as promised")
	}
}

// agentsCheck begins the check that an agent has of edgedns, with the defaults of checks, and returns once it is up. The function that it
// returns tells how many attempts were made since, and whether it stayed up.
func agentsCheck(t *testing.T) func() (since tried, stayed bool) {
	t.Helper()
	m := health.NewMonitor(nil, health.Service{Name: "dns", Checks: []health.Check{{
		Name:     "answers",
		Checker:  health.DNS{Target: netip.MustParseAddrPort("[2001:db8:53::53]:53"), Name: "health.edge.example.", Type: dns.TypeAAAA},
		Interval: time.Second, Timeout: 500 * time.Millisecond, FastInterval: 200 * time.Millisecond, Rise: 3, Fall: 3,
	}}})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := m.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	for m.Status()[0].State != health.Up {
		<-m.Changed()
	}
	before, up := attempts(t, m), m.Status()[0].Since
	return func() (tried, bool) {
		now := attempts(t, m)
		return tried{now.asked - before.asked, now.answered - before.answered}, m.Status()[0].State == health.Up && m.Status()[0].Since.Equal(up)
	}
}

// attempts are those of the checks of a monitor so far.
func attempts(t *testing.T, m *health.Monitor) (all tried) {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "anyedge_health_attempts_total" {
			continue
		}
		for _, c := range f.GetMetric() {
			n := int(c.GetCounter().GetValue())
			all.asked += n
			if strings.Contains(c.String(), `"success"`) {
				all.answered += n
			}
		}
	}
	return all
}

// bindAnything lets sockets be bound to addresses that the host does not have, until the test ends.
func bindAnything(t *testing.T) {
	t.Helper()
	const path = "/proc/sys/net/ipv6/ip_nonlocal_bind"
	if err := os.WriteFile(path, []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(path, []byte("0"), 0o644) })
}

// anyAddress makes all addresses of a prefix this host's, until the test ends.
func anyAddress(t *testing.T, prefix string) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	dst, err := netlink.ParseIPNet(prefix)
	if err != nil {
		t.Fatal(err)
	}
	r := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: dst, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL}
	if err := netlink.RouteAdd(r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.RouteDel(r) })
}

// startHeld starts edgedns as a process of its own that gets a share of one processor, and waits until it answers.
func startHeld(t *testing.T, config string, share float64) (pid int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "--config", config, "--log-level", "error")
	cmd.Env = append(os.Environ(), role+"=self")
	cmd.Stderr = os.Stderr
	if err := nettest.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	untilWell(t)
	hold(t, cmd.Process.Pid, share)
	return cmd.Process.Pid
}

// hold puts a process into a cgroup of version 1 or 2 with a limit, in slices short enough that it never pauses for long.
func hold(t *testing.T, pid int, share float64) {
	t.Helper()
	const period = 10 * time.Millisecond
	quota := time.Duration(share * float64(period)).Microseconds()
	limits := map[string]string{"cpu.cfs_period_us": fmt.Sprint(period.Microseconds()), "cpu.cfs_quota_us": fmt.Sprint(quota)}
	dir := fmt.Sprintf("/sys/fs/cgroup/cpu/anyedge-flood-%d", pid)
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		dir = fmt.Sprintf("/sys/fs/cgroup/anyedge-flood-%d", pid)
		limits = map[string]string{"cpu.max": fmt.Sprintf("%d %d", quota, period.Microseconds())}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("needs root and the cgroup controller cpu: %v", err)
	}
	t.Cleanup(func() {
		for range 100 { // until the kernel has seen that the process is gone
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	limits["cgroup.procs"] = strconv.Itoa(pid)
	for _, name := range []string{"cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.max", "cgroup.procs"} {
		if value, ok := limits[name]; ok {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// resident returns what a process holds of memory, in octets.
func resident(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

const askPatience = time.Second

// An asker is a client with an address of its own.
type asker struct {
	t     *testing.T
	from  netip.Addr
	query *dns.Msg
	wait  time.Duration // for an answer
}

func newAsker(t *testing.T, from netip.Addr) *asker {
	a := &asker{t: t, from: from, wait: askPatience, query: new(dns.Msg).SetQuestion("api.edge.example.", dns.TypeAAAA)}
	a.query.SetEdns0(1232, false)
	return a
}

// cookieClient returns a client that has been given a cookie. The first time it may take many attempts.
func cookieClient(t *testing.T, i int) *asker {
	a := newAsker(t, clientAddress(1, i))
	opt := a.query.IsEdns0()
	given := &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: fmt.Sprintf("%016x", i+1)}
	opt.Option = append(opt.Option, given)
	for {
		m, err := a.exchange()
		if err != nil {
			if t.Context().Err() != nil {
				return a
			}
			continue
		}
		for _, o := range m.IsEdns0().Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				given.Cookie = c.Cookie
			}
		}
		return a
	}
}

func clientAddress(kind, i int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 5: 0xc, 7: byte(kind), 8: byte(i), 15: 1})
}

func (a *asker) exchange() (*dns.Msg, error) {
	c := dns.Client{Timeout: a.wait, Dialer: &net.Dialer{Timeout: a.wait, LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.from, 0))}}
	a.query.Id = dns.Id()
	m, _, err := c.ExchangeContext(a.t.Context(), a.query, "[2001:db8:53::53]:53")
	return m, err
}

// ask returns how many addresses the answer has; false: there was none in time, or none that helps.
func (a *asker) ask() (addresses int, ok bool) {
	m, err := a.exchange()
	if err != nil || m.Rcode != dns.RcodeSuccess || m.Truncated {
		return 0, false
	}
	return len(m.Answer), true
}

// tried is how often was asked, and how often answered.
type tried struct{ asked, answered int }

func (s tried) share() float64 { return float64(s.answered) / float64(max(s.asked, 1)) }

func (s tried) String() string { return fmt.Sprintf("%.1f %% of %d", 100*s.share(), s.asked) }

// askAround has all clients ask now and then.
func askAround(t *testing.T, length time.Duration, cookies bool) (all tried) {
	var mu sync.Mutex // guards all
	var clients sync.WaitGroup
	for i := range floodClients {
		clients.Go(func() {
			a := newAsker(t, clientAddress(0, i))
			if cookies {
				a = cookieClient(t, i)
			}
			for begin := time.Now(); time.Since(begin) < length; time.Sleep(floodPause) {
				_, ok := a.ask()
				mu.Lock()
				if all.asked++; ok {
					all.answered++
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	return all
}

// untilWell returns how long it takes until twenty queries in a row are answered. Nobody waits for long: a query that was lost at first would
// tell of its client's patience.
func untilWell(t *testing.T) time.Duration {
	t.Helper()
	a, begin := newAsker(t, clientAddress(2, 0)), time.Now()
	a.wait = 200 * time.Millisecond // held to a tenth of a processor, it is stopped for 90 at a time
	for row := 0; row < 20; {
		if _, ok := a.ask(); ok {
			row++
		} else if row = 0; time.Since(begin) > time.Minute {
			t.Fatal("not well in a minute")
		}
	}
	return time.Since(begin)
}

// canAnswer returns how many queries per second are answered when each client waits for its answer.
func canAnswer(t *testing.T, length time.Duration) float64 {
	t.Helper()
	var answered atomic.Int64
	var clients sync.WaitGroup
	for range 64 {
		clients.Go(func() {
			f := newForger(t, forged)
			defer f.conn.Close()
			_ = f.conn.SetReadDeadline(time.Now().Add(length))
			for answer := make([]byte, 512); f.send() == nil; answered.Add(1) {
				if _, err := f.conn.Read(answer); err != nil {
					return
				}
			}
		})
	}
	clients.Wait()
	return float64(answered.Load()) / length.Seconds()
}

// A forger sends from addresses that are not its own.
type forger struct {
	from   netip.Prefix
	conn   *net.UDPConn
	query  []byte
	oob    []byte
	server *net.UDPAddr
}

func newForger(t *testing.T, from netip.Prefix) *forger {
	q, err := newAsker(t, netip.Addr{}).query.Pack()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp6", nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{from: from, conn: conn, query: q, oob: unix.PktInfo6(new(unix.Inet6Pktinfo)), server: net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8:53::53]:53"))}
	return f
}

func (f *forger) send() error {
	binary.BigEndian.PutUint16(f.query, uint16(rand.Uint32()))
	a, fixed := f.from.Addr().As16(), f.from.Bits()
	for i := fixed / 8; i < len(a); i++ {
		a[i] |= byte(rand.Uint32()) & (0xff >> max(0, fixed-8*i))
	}
	copy(f.oob[unix.CmsgLen(0):], a[:])
	_, _, err := f.conn.WriteMsgUDP(f.query, f.oob, f.server)
	return err
}

// flood sends so many queries per second from addresses in a prefix until ctx is done; ended waits for it. Answers are not read: the kernel drops them.
func flood(ctx context.Context, t *testing.T, from netip.Prefix, rate float64) (sent *atomic.Int64, ended func()) {
	const senders = 2
	sent = new(atomic.Int64)
	var all sync.WaitGroup
	for range senders {
		f := newForger(t, from)
		all.Go(func() {
			defer f.conn.Close()
			begin := time.Now()
			for n := 0; ctx.Err() == nil; {
				for due := int(time.Since(begin).Seconds() * rate / senders); n < due; n++ {
					if f.send() == nil {
						sent.Add(1)
					}
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	return sent, all.Wait
}
