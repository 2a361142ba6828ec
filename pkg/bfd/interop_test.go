package bfd_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/bfd"
	"github.com/anyedge/anyedge/pkg/bgp/bgptest"
)

// Slow enough for machines that tests share with others.
const interval = 100 * time.Millisecond

var link = bgptest.Link{
	Near: []string{"fd00:1::1/64", "10.0.0.1/24", "fe80::1/64"},
	Far:  []string{"fd00:1::2/64", "10.0.0.2/24", "fe80::2/64"},
}

// A watch is our end.
type watch struct {
	t    *testing.T
	s    *bfd.Sessions
	stop func()
}

func start(t *testing.T, configs ...bfd.Config) *watch {
	t.Helper()
	s, err := bfd.New(slog.New(slog.NewTextHandler(t.Output(), nil)), configs...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	w := &watch{t: t, s: s, stop: func() {
		if cancel(); !stopped {
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
		stopped = true
	}}
	t.Cleanup(w.stop)
	return w
}

// all waits until every session is as asked for.
func (w *watch) all(what string, is func(bfd.Status) bool) {
	w.t.Helper()
	limit := time.After(30 * time.Second)
	for !w.are(is) {
		select {
		case <-w.s.Changed():
		case <-limit:
			w.t.Fatalf("never %s: %+v\n%v", what, w.s.Status(), w.s.Discarded())
		}
	}
}

func (w *watch) are(is func(bfd.Status) bool) bool {
	return !slices.ContainsFunc(w.s.Status(), func(s bfd.Status) bool { return !is(s) })
}

func agreed(s bfd.Status) bool {
	return s.State == bfd.Up && s.RemoteState == bfd.Up && s.Interval == interval && s.DetectionTime == 3*interval
}

func failed(s bfd.Status) bool { return s.State != bfd.Up && s.Failed }

// configs are all kinds of path at once. BIRD sends multihop packets with a TTL of 64, FRR with 255.
func configs(d *bgptest.Daemon, minTTL uint8) []bfd.Config {
	return []bfd.Config{
		{Peer: netip.MustParseAddr("10.0.0.2"), Interval: interval},
		{Peer: netip.MustParseAddr("fe80::2%" + d.Interface), Interval: interval},
		{Local: netip.MustParseAddr("fd00:1::1"), Peer: netip.MustParseAddr("fd00:1::2"), Interval: interval, Multihop: true, MinTTL: minTTL},
	}
}

const frrConfig = `
bfd
 profile ours
  transmit-interval 100
  receive-interval 100
 exit
 peer 10.0.0.1 local-address 10.0.0.2 interface far
  profile ours
 exit
 peer fe80::1 local-address fe80::2 interface far
  profile ours
 exit
 peer fd00:1::1 multihop local-address fd00:1::2
  profile ours
 exit
`

const frrPeers = "show bfd peers json"

func TestInteropFRR(t *testing.T) {
	nettest.Need(t)
	d := bgptest.StartFRR(t, link, frrConfig, "zebra", "bfdd")
	w := start(t, configs(d, 255)...)
	w.all("up", agreed)
	d.WaitFor(frrPeers, []string{`"status":"up"`, `"remote-transmit-interval":100`}, []string{`"status":"down"`, `"remote-transmit-interval":1000`})

	// The router changes its timers: a Poll Sequence of its own, no flap.
	before := w.s.Status()
	d.Query("configure terminal\nbfd\nprofile ours\ntransmit-interval 300\nreceive-interval 200\ndetect-multiplier 4")
	w.all("renegotiated", func(s bfd.Status) bool { return s.Interval == 2*interval && s.DetectionTime == 4*3*interval })
	d.Query("configure terminal\nbfd\nprofile ours\ntransmit-interval 100\nreceive-interval 100\ndetect-multiplier 3")
	w.all("renegotiated back", agreed)
	for i, s := range w.s.Status() {
		if s.Since != before[i].Since {
			t.Errorf("flapped: %+v", s)
		}
	}
	story(t, d, w, func() {
		d.Query("configure terminal\nbfd\nprofile ours\nshutdown")
		w.all("shut by the router", shutByRouter)
		d.Query("configure terminal\nbfd\nprofile ours\nno shutdown")
	})
	d.WaitFor(frrPeers, []string{`"remote-diagnostic":"administratively down"`}, []string{`"status":"up"`})
}

func shutByRouter(s bfd.Status) bool {
	return s.State == bfd.Down && s.RemoteState == bfd.AdminDown && !s.Failed && strings.HasPrefix(s.Reason, "taken down by the peer")
}

// story is a silent link, an operator at the router, and our own end.
func story(t *testing.T, d *bgptest.Daemon, w *watch, shut func()) {
	t.Helper()
	d.Silence(true)
	w.all("failed", failed)
	for _, s := range w.s.Status() {
		if s.Diag != bfd.TimeExpired {
			t.Errorf("%+v", s)
		}
	}
	d.Silence(false)
	w.all("up again", agreed)
	if shut != nil {
		shut()
		w.all("up after that", agreed)
	}
	w.stop()
}

// For a neighbor on the link FRR speaks multihop BFD as soon as ttl-security is configured (package session's tests have
// its bgpd): Either finds out.
func TestInteropFRREither(t *testing.T) {
	nettest.Need(t)
	for multihop, words := range map[bool]string{true: "multihop local-address fd00:1::2", false: "local-address fd00:1::2 interface far"} {
		t.Run(words, func(t *testing.T) {
			d := bgptest.StartFRR(t, link, "bfd\n peer fd00:1::1 "+words+"\n  transmit-interval 100\n  receive-interval 100\n", "zebra", "bfdd")
			w := start(t, bfd.Config{Peer: netip.MustParseAddr("fd00:1::2"), Interval: interval, Either: true})
			w.all("up", func(s bfd.Status) bool { return agreed(s) && s.Multihop == multihop })
			d.WaitFor(frrPeers, []string{fmt.Sprintf(`"multihop":%v`, multihop), `"status":"up"`}, nil)
		})
	}
}

const birdConfig = `
router id 10.0.0.2;
protocol device { }
protocol bfd b {
	interface "far" { interval 100 ms; multiplier 3; };
	multihop { interval 100 ms; multiplier 3; };
	neighbor 10.0.0.1 dev "far";
	neighbor fe80::1%far;
	neighbor fd00:1::1 local fd00:1::2 multihop on;
}
`

func TestInteropBIRD(t *testing.T) {
	nettest.Need(t)
	d := bgptest.StartBIRD(t, link, birdConfig)
	w := start(t, configs(d, 64)...)
	w.all("up", agreed)
	d.WaitFor("show bfd sessions", []string{"Up", "0.100", "0.300"}, []string{"Down"})
	story(t, d, w, nil) // BIRD 2.0 has no AdminDown, and may crash when its BFD protocol is disabled
	d.WaitFor("show bfd sessions", []string{"Down"}, []string{"Up"})
}

// What is not supported is said.
func TestInteropBIRDAuthentication(t *testing.T) {
	nettest.Need(t)
	d := bgptest.StartBIRD(t, link, strings.ReplaceAll(birdConfig, "multiplier 3;", `multiplier 3; authentication keyed sha1; password "secret";`))
	w := start(t, configs(d, 64)...)
	w.all("refused", func(s bfd.Status) bool {
		return s.State == bfd.Down && s.Received == 0 && strings.Contains(s.Reason, "authenticated, which is not supported")
	})
}
