package announce

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/bgp"
	"github.com/anyedge/anyedge/pkg/health"
)

// stopwatch is a health, a speaker, a bridge and peers that do nothing but tell when they were asked.
type stopwatch struct {
	mu       sync.Mutex
	status   []health.Status
	news     chan struct{}
	bridged  chan time.Time
	speaking chan time.Time
	targets  []Target
}

func (w *stopwatch) Changed() <-chan struct{} { return w.news }

func (w *stopwatch) Status() []health.Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]health.Status(nil), w.status...)
}

// say changes what health tells of the first service, and returns when.
func (w *stopwatch) say(s health.State) time.Time {
	at := time.Now()
	w.mu.Lock()
	w.status[0].State, w.status[0].Since, w.status[0].Noticed = s, at.Add(-time.Hour), at
	w.mu.Unlock()
	w.news <- struct{}{}
	return at
}

type watchSpeaker struct{ *stopwatch }

func (w watchSpeaker) Set(context.Context, ...bgp.Advertisement) (uint64, error) {
	w.speaking <- time.Now()
	return 1, nil
}
func (watchSpeaker) Wait(context.Context, uint64) error { return nil }
func (watchSpeaker) Heard(netip.Prefix) []netip.Addr    { return nil }
func (watchSpeaker) Carries(netip.Prefix) bool          { return true }
func (watchSpeaker) Changed() <-chan struct{}           { return nil }

type watchBridge struct{ *stopwatch }

func (w watchBridge) Set(context.Context, ...Bridging) error {
	w.bridged <- time.Now()
	return nil
}
func (watchBridge) Busy(netip.Prefix) time.Time { return time.Time{} }
func (watchBridge) Found() []Bridging           { return nil }
func (watchBridge) Changed() <-chan struct{}    { return nil }

type watchPeers struct{ *stopwatch }

func (w watchPeers) Targets(netip.Addr) []Target { return w.targets }
func (watchPeers) Announced(netip.Addr) []string { return nil }
func (watchPeers) Urgent(...netip.Addr)          {}
func (watchPeers) Changed() <-chan struct{}      { return nil }

// BenchmarkFailover is from the news of a failure to the call of the bridge, which is first, and where routers are told at
// once to that of the speaker. Goal: one change among 10,000 VIPs within 5 ms.
func BenchmarkFailover(b *testing.B) {
	for _, n := range []int{1, 10000} {
		for _, told := range []bool{false, true} {
			b.Run(fmt.Sprintf("vips=%d/told=%v", n, told), func(b *testing.B) { benchmarkFailover(b, n, told) })
		}
	}
}

func benchmarkFailover(b *testing.B, n int, told bool) {
	w := &stopwatch{
		news: make(chan struct{}), bridged: make(chan time.Time, 4), speaking: make(chan time.Time, 4), targets: []Target{{"mec-2-a", 1}},
	}
	cfg := Config{Services: many(n)}
	if told {
		cfg.Bridge.Grace = -1
	}
	for i := range cfg.Services {
		cfg.Services[i].Guard = Guard{Withdrawals: -1, HoldDown: HoldDown{Base: -1}}
		w.status = append(w.status, health.Status{Service: cfg.Services[i].Name, State: health.Up, Reason: "1 of 1 checks up", Since: time.Now().Add(-time.Hour)})
	}
	c := NewController(nil, Parts{Health: w, Speaker: watchSpeaker{w}, Bridge: watchBridge{w}, Peers: watchPeers{w}}, cfg)
	ctx, stop := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	<-w.bridged // the first step
	<-w.speaking
	var bridge, speaker []time.Duration
	for b.Loop() {
		at := w.say(health.Down)
		bridge = append(bridge, (<-w.bridged).Sub(at))
		if told {
			speaker = append(speaker, (<-w.speaking).Sub(at))
		}
		w.say(health.Up)
		<-w.bridged
		if told {
			<-w.speaking
		}
	}
	median := func(all []time.Duration) float64 {
		return float64(slices.Sorted(slices.Values(all))[len(all)/2].Nanoseconds()) / 1000
	}
	b.ReportMetric(median(bridge), "us-to-bridge") // of other work on the machine the median tells less
	if told {
		b.ReportMetric(median(speaker), "us-to-speaker")
	}
	go func() { // the withdrawal at the end
		for range w.speaking {
		}
	}()
	stop()
	c.Hurry()
	<-done
	close(w.speaking)
}
