package client

import (
	"math"
	"net/netip"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

func TestFixedArrivals(t *testing.T) {
	t.Parallel()
	a := newArrivals(Load{Clients: 3, Rate: 4, Fixed: true})
	for n, want := range []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond, time.Second} {
		if due, client := a.next(); due != want || client != n%3 {
			t.Errorf("request %d: due %s by client %d; want %s by %d", n, due, client, want, n%3)
		}
	}
}

// A fixed schedule must not drift, however odd the interval.
func TestFixedArrivalsDoNotDrift(t *testing.T) {
	t.Parallel()
	a := newArrivals(Load{Clients: 1, Rate: 3, Fixed: true})
	var due time.Duration
	for range 3_000_001 {
		due, _ = a.next()
	}
	if want := 1_000_000 * time.Second; due != want {
		t.Errorf("request 3,000,000 at 3/s is due at %s; want %s", due, want)
	}
}

func TestPoissonArrivals(t *testing.T) {
	t.Parallel()
	const n, rate, clients = 100_000, 200, 10
	a, again := newArrivals(Load{Clients: clients, Rate: rate, Seed: 7}), newArrivals(Load{Clients: clients, Rate: rate, Seed: 7})
	var last time.Duration
	var squares float64
	by := make([]int, clients)
	for range n {
		due, client := a.next()
		if d, c := again.next(); d != due || c != client {
			t.Fatalf("the same seed gave %s by %d, then %s by %d", due, client, d, c)
		}
		if due < last {
			t.Fatalf("%s comes after %s", due, last)
		}
		x := (due-last).Seconds()*rate - 1
		squares += x * x
		last = due
		by[client]++
	}
	if mean := last.Seconds() * rate / n; math.Abs(mean-1) > 0.02 {
		t.Errorf("mean interval is %.3f of what it should be", mean)
	}
	if variance := squares / n; math.Abs(variance-1) > 0.05 { // of an exponential distribution: its mean squared
		t.Errorf("variance of intervals is %.3f of what it should be", variance)
	}
	for c, got := range by {
		if math.Abs(float64(got)*clients/n-1) > 0.05 {
			t.Errorf("client %d makes %d of %d requests", c, got, n)
		}
	}
}

func TestVerySlowArrivals(t *testing.T) {
	t.Parallel()
	if got := seconds(1e300); got != math.MaxInt64 {
		t.Errorf("1e300 s: %s", got)
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	a := answer{values: []string{"2001:db8::1"}, addresses: []netip.Addr{netip.MustParseAddr("2001:db8::1")}}
	kept := func(ttl time.Duration) *cache { c := new(cache); c.put(a, start, ttl); return c }
	pinned := new(cache)
	pinned.pin(a)
	pinned.drop()
	dropped := kept(time.Hour)
	dropped.drop()
	for name, tt := range map[string]struct {
		c     *cache
		after time.Duration
		want  bool
	}{
		"empty":                     {new(cache), 0, false},
		"fresh":                     {kept(5 * time.Second), 0, true},
		"just before the end":       {kept(5 * time.Second), 5*time.Second - 1, true},
		"at the end":                {kept(5 * time.Second), 5 * time.Second, false},
		"TTL 0":                     {kept(0), 0, false},
		"no longer than a week":     {kept(1 << 31 * time.Second), maxTTL, false},
		"a week":                    {kept(1 << 31 * time.Second), maxTTL - 1, true},
		"dropped":                   {dropped, 0, false},
		"for good":                  {pinned, 1000 * time.Hour, true},
		"before it was put (clock)": {kept(time.Second), -time.Hour, true},
	} {
		got, ok := tt.c.get(start.Add(tt.after))
		if ok != tt.want || ok && gocmp.Diff(a.values, got.values) != "" {
			t.Errorf("%s: %v, %v; want %v", name, got, ok, tt.want)
		}
	}
}

func TestGap(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for name, tt := range map[string]struct {
		do      func(g *gap)
		longest time.Duration
		from    int
	}{
		"never asked":  {func(*gap) {}, 0, 0},
		"never failed": {func(g *gap) { g.success(at(0), at(1)); g.success(at(500), at(501)) }, 0, 0},
		"one failure":  {func(g *gap) { g.success(at(0), at(1)); g.failed(at(10)); g.success(at(20), at(21)) }, 11 * time.Millisecond, 10},
		"never worked": {func(g *gap) { g.failed(at(0)); g.failed(at(10)) }, 100 * time.Millisecond, 0},
		"longest of two": {func(g *gap) {
			g.failed(at(0))
			g.success(at(5), at(6))
			g.failed(at(10))
			g.success(at(12), at(14))
		}, 6 * time.Millisecond, 0},
		"slow success that was due before does not end it": {func(g *gap) {
			g.failed(at(10))
			g.success(at(9), at(40))
			g.success(at(50), at(51))
		}, 41 * time.Millisecond, 10},
		"slow failure that was due before a success": {func(g *gap) { g.success(at(20), at(21)); g.failed(at(10)) }, 0, 0},
		"failures in another order":                  {func(g *gap) { g.failed(at(20)); g.failed(at(10)); g.success(at(30), at(31)) }, 21 * time.Millisecond, 10},
	} {
		var g gap
		tt.do(&g)
		g.close(at(100))
		if g.longest != tt.longest || tt.longest > 0 && !g.start.Equal(at(tt.from)) {
			t.Errorf("%s: %s from %s; want %s from %s", name, g.longest, g.start, tt.longest, at(tt.from))
		}
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	start := time.Unix(1000, 0)
	var i idle
	if i.take(start) != nil {
		t.Error("a connection out of nothing")
	}
	first, second := newConnection(new(closable), netip.Addr{}), newConnection(new(closable), netip.Addr{})
	i.put(first, start)
	i.put(second, start)
	if !first.Conn.(*closable).closed {
		t.Error("two connections are kept")
	}
	if i.take(start.Add(maxIdle)) != second {
		t.Error("the connection was not kept")
	}
	i.put(second, start)
	if i.take(start.Add(maxIdle+1)) != nil || !second.Conn.(*closable).closed {
		t.Error("an old connection was kept")
	}
}
