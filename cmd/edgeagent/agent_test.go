package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/bgp/bgptest"
)

const interrupt = unix.SIGINT

var (
	routerAddress = netip.MustParseAddr("fd00:1::1")
	vip6          = netip.MustParsePrefix("2001:db8:7::7/128")
	vip6b         = netip.MustParsePrefix("2001:db8:7::8/128")
)

// newRouter is the other end of the session.
func newRouter(t testing.TB) *bgptest.Peer {
	t.Helper()
	addLoopback(t, routerAddress.String()+"/128")
	return bgptest.NewPeer(t, bgptest.Config{Address: routerAddress, ASN: 65533, SpeakerASN: 64611})
}

// openService binds the socket that makes the service work.
func openService(t *testing.T) net.PacketConn {
	t.Helper()
	conn, err := net.ListenPacket("udp", "[::]:7007")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// parse reads the configuration of a test and adds a journal.
func parse(t *testing.T, path string) config.Agent {
	t.Helper()
	cfg, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Journal = filepath.Join(t.TempDir(), "journal.jsonl")
	return cfg
}

// entry is what the tests read of a line of the journal.
type entry struct {
	Event, Service, State, Action, Reason string
	Prefixes                              []netip.Prefix
	Generation                            uint64
	MonoNs                                int64 `json:"mono_ns"`
	NoticedNs                             int64 `json:"noticed_mono_ns"`
	WrittenNs                             int64 `json:"written_mono_ns"`
}

func readJournal(t *testing.T, path string) (entries []entry) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(content) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		entries = append(entries, e)
	}
	return entries
}

// A removal is an address that left the host.
type removal struct {
	at      time.Time
	address netip.Prefix
}

// watchRemovals tells when service addresses leave the host.
func watchRemovals(t *testing.T) <-chan removal {
	t.Helper()
	updates, done := make(chan netlink.AddrUpdate), make(chan struct{})
	if err := netlink.AddrSubscribe(updates, done); err != nil {
		t.Fatal(err)
	}
	removals := make(chan removal, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for u := range updates {
			if addr, _ := netip.AddrFromSlice(u.LinkAddress.IP); !u.NewAddr {
				removals <- removal{time.Now(), netip.PrefixFrom(addr, addr.BitLen())}
			}
		}
	}()
	t.Cleanup(func() { close(done); <-ended })
	return removals
}

// TestAgent is one life with all real parts: a service works, dies, comes back, and the agent is stopped.
func TestAgent(t *testing.T) {
	nettest.Need(t)
	router := newRouter(t)
	removals := watchRemovals(t)
	socket := openService(t)
	cfg := parse(t, place(t, "", "2001:db8:7::7/128"))
	cfg.Services[0].Announce.Guard = announce.Guard{Fail: announce.Closed, HoldDown: announce.HoldDown{Base: -1}} // nobody else is there
	var log logBuffer
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, nil, cfg, slog.New(slog.NewTextHandler(&log, nil))) }()

	router.WaitFor(vip6)
	if got := ours(t); !slices.Equal(got, []netip.Prefix{vip6}) {
		t.Errorf("announced with addresses %v", got)
	}
	for i := range uint64(5) {
		awaitWritten(t, cfg.Journal, 2*i+1)
		socket.Close()
		router.WaitFor()
		awaitWritten(t, cfg.Journal, 2*i+2)
		socket = openService(t)
		router.WaitFor(vip6)
	}
	awaitWritten(t, cfg.Journal, 11)
	stop()
	if err := <-ended; err != nil {
		t.Errorf("%v\n%s", err, log.String())
	}
	router.WaitFor()
	if left := ours(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	checkOrder(t, router.Events(), <-removals)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	checkJournal(t, readJournal(t, cfg.Journal))
}

// awaitWritten waits until the journal says that a generation was written.
func awaitWritten(t *testing.T, path string, generation uint64) {
	t.Helper()
	written := func(e entry) bool { return e.Event == "written" && e.Generation == generation }
	timeout := time.NewTimer(30 * time.Second)
	defer timeout.Stop()
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		if slices.ContainsFunc(readJournal(t, path), written) {
			tick.Stop()
			return
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			t.Fatalf("generation %d is never written", generation)
		}
	}
}

// checkOrder wants the withdrawal at the router, then the drain, then the address gone.
func checkOrder(t *testing.T, events []bgptest.Event, r removal) {
	t.Helper()
	last := events[len(events)-1]
	if !last.Withdrawn || last.Prefix != vip6 || r.address != vip6 {
		t.Fatalf("last event %+v, removal %+v", last, r)
	}
	if d := r.at.Sub(last.Time); d < 100*time.Millisecond {
		t.Errorf("the address left %v after the withdrawal was at the router, want the drain of 100 ms between them", d)
	}
}

// checkJournal wants the story in order, and every withdrawal followed by its writing.
func checkJournal(t *testing.T, entries []entry) {
	t.Helper()
	var story []string
	var took []time.Duration
	for i, e := range entries {
		if e.Event == "decision" && !strings.Contains(e.Reason, "not on the host yet") {
			story = append(story, e.State+" "+e.Action)
		}
		if e.Event == "decision" && e.Action == "withdraw" && e.State == "withdrawn" {
			w := slices.IndexFunc(entries[i:], func(w entry) bool { return w.Event == "written" && w.Generation == e.Generation })
			if w < 0 {
				t.Fatalf("never written: %+v in\n%+v", e, entries)
			}
			if !slices.Equal(e.Prefixes, []netip.Prefix{vip6}) || e.NoticedNs > e.MonoNs {
				t.Errorf("entry %+v", e)
			}
			took = append(took, time.Duration(entries[i:][w].WrittenNs-e.NoticedNs))
		}
	}
	t.Logf("noticed -> written: %v", took)
	if first, last := entries[0].Event, entries[len(entries)-1].Event; first != "start" || last != "stop" {
		t.Errorf("from %s to %s", first, last)
	}
	// A session takes more than a second, the service settles in 50 ms: it works before anybody can be told.
	want := []string{"settling none", "isolated announce", "up none"}
	for range 5 {
		want = append(want, "withdrawn withdraw", "settling none", "up announce")
	}
	want = append(want, "draining deprefer", "stopping withdraw")
	if diff := cmp.Diff(want, story); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// logBuffer may be read while it is written.
type logBuffer = output

// TestKilledAgent: the router withdraws by itself, the addresses stay, and the next agent keeps those that are still
// wanted, removes those that are not, and leaves none when it is stopped.
func TestKilledAgent(t *testing.T) {
	nettest.Need(t)
	router := newRouter(t)
	openService(t)
	first := startAgent(t, place(t, "", vip6.String(), vip6b.String()))
	router.WaitFor(vip6, vip6b)
	if status := first.signal(unix.SIGKILL); status != -1 {
		t.Errorf("exit status %d", status)
	}
	router.WaitFor()
	if left := ours(t); !slices.Equal(left, []netip.Prefix{vip6, vip6b}) {
		t.Errorf("after kill -9: %v", left)
	}
	removals := watchRemovals(t)
	second := startAgent(t, place(t, "", vip6.String()))
	router.WaitFor(vip6)
	if left := ours(t); !slices.Equal(left, []netip.Prefix{vip6}) {
		t.Errorf("after the restart: %v", left)
	}
	if status := second.signal(unix.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if got := []netip.Prefix{(<-removals).address, (<-removals).address}; !slices.Equal(got, []netip.Prefix{vip6b, vip6}) {
		t.Errorf("removed %v: what is still wanted is not to be touched before the end", got)
	}
	if left := ours(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A second signal does not wait for the drain.
func TestSecondSignal(t *testing.T) {
	nettest.Need(t)
	router := newRouter(t)
	openService(t)
	path := place(t, "", vip6.String())
	rewrite(t, path, "wait: 100ms", "wait: 1h")
	p := startAgent(t, path)
	router.WaitFor(vip6)
	if err := p.cmd.Process.Signal(unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.says("reload is not supported yet")
	if err := p.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	router.WaitRoute(vip6, depreferred)
	if left := ours(t); !slices.Equal(left, []netip.Prefix{vip6}) {
		t.Errorf("while draining: %v", left)
	}
	if status := p.signal(unix.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if left := ours(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func depreferred(e bgptest.Event) bool { return len(e.Path) > 1 && len(e.Communities) == 1 }

func rewrite(t testing.TB, path, old, new string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(content), old, new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}
