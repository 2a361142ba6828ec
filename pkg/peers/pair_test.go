package peers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var t0 = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

func TestLeastRTT(t *testing.T) {
	t.Parallel()
	var r rtt
	for _, step := range []struct {
		at, add, want time.Duration
	}{
		{0, 12 * ms, 12 * ms},
		{1 * time.Second, 90 * ms, 12 * ms}, // a burst of load
		{2 * time.Second, 11 * ms, 11 * ms}, // shorter: at once
		{9 * time.Second, 20 * ms, 11 * ms},
		{10 * time.Second, 20 * ms, 11 * ms}, // the window before still counts
		{19 * time.Second, 20 * ms, 11 * ms},
		{20 * time.Second, 21 * ms, 20 * ms}, // and no longer
		{60 * time.Second, 30 * ms, 21 * ms}, // asked seldom
		{120 * time.Second, 30 * ms, 30 * ms},
	} {
		r.add(step.add, t0.Add(step.at))
		if got := r.least(); got != step.want {
			t.Errorf("after %s: %s, want %s", step.at, got, step.want)
		}
	}
}

func TestSilent(t *testing.T) {
	t.Parallel()
	const interval = 50 * ms
	at := pair{reachable: true, rtt: rtt{current: 20 * ms}}
	for i := range 3 {
		if now := t0.Add(time.Duration(i) * interval); at.silent(interval, now) {
			t.Errorf("silent after %d", i)
		}
		at.ask(uint64(i), t0.Add(time.Duration(i)*interval))
	}
	if at.silent(interval, t0.Add(2*interval+40*ms)) {
		t.Error("silent before the third could be answered")
	}
	if !at.silent(interval, t0.Add(3*interval)) {
		t.Error("three are lost, and that is not noticed")
	}
	at.answered(at.find(1), State{}, t0.Add(3*interval))
	if at.silent(interval, t0.Add(time.Hour)) || at.find(0) >= 0 || at.find(2) < 0 {
		t.Errorf("an answer to the second ends it, and what was asked before: %+v", at.open)
	}
}

// A long way holds more than three requests: they are no loss while they can be under way.
func TestLongWay(t *testing.T) {
	t.Parallel()
	at := pair{reachable: true, rtt: rtt{current: 400 * ms}}
	for i := range 10 {
		if now := t0.Add(time.Duration(i) * 50 * ms); at.silent(50*ms, now) {
			t.Errorf("silent after %d", i)
		}
		at.ask(uint64(i), t0.Add(time.Duration(i)*50*ms))
	}
	if !at.silent(50*ms, t0.Add(100*ms+425*ms)) {
		t.Error("not silent")
	}
	for i := range maxOpen {
		at.ask(uint64(100+i), t0)
	}
	if len(at.open) != maxOpen {
		t.Errorf("%d under way", len(at.open))
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	var s silence
	for i := range 3 {
		s.ask(t0.Add(time.Duration(i) * ms)) // three VIPs
	}
	if s.over(50*ms, 10*ms, t0.Add(150*ms)) || !s.over(50*ms, 10*ms, t0.Add(160*ms)) {
		t.Error("a host is silent after three intervals and the RTT")
	}
	if (silence{t0, 2}).over(50*ms, 10*ms, t0.Add(time.Hour)) {
		t.Error("two requests prove nothing")
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	urgent := func(n int) map[int]bool {
		m := make(map[int]bool)
		for i := range n {
			m[i] = true
		}
		return m
	}
	type want struct {
		urgent, normal time.Duration // intervals
		base           time.Duration
	}
	for _, tt := range []struct {
		vips, urgent int
		want         want
	}{
		{1, 0, want{0, 500 * ms, 500 * ms}},
		{500, 0, want{0, 500 * ms, 500 * ms}},
		{1000, 0, want{0, time.Second, 500 * ms}},
		{10000, 0, want{0, 10 * time.Second, 500 * ms}},
		{1, 1, want{50 * ms, 0, 50 * ms}},
		{2, 1, want{50 * ms, 500 * ms, 50 * ms}},
		{10000, 1, want{50 * ms, 9999 * time.Second / 980, 50 * ms}},
		{1000, 1000, want{1000 * time.Second / 750, 0, 50 * ms}},
		{1000, 900, want{1200 * ms, 500 * ms, 50 * ms}},
		{10000, 5000, want{5000 * time.Second / 750, 5000 * time.Second / 249, 50 * ms}},
	} {
		p := newPlan(500*ms, rateFor(2), tt.vips, urgent(tt.urgent))
		if diff := cmp.Diff(tt.want, want{p.urgent.interval, p.normal.interval, p.base}, cmp.AllowUnexported(want{})); diff != "" {
			t.Errorf("%d VIPs, %d urgent (-want +got)\n%s", tt.vips, tt.urgent, diff)
		}
		sum := 0.0
		for _, r := range []ring{p.urgent, p.normal} {
			if len(r.vips) > 0 {
				sum += float64(r.burst) / r.step.Seconds()
			}
			if r.burst > 10 {
				t.Errorf("%d VIPs, %d urgent: a burst of %d", tt.vips, tt.urgent, r.burst)
			}
		}
		if sum > MaxRate+1 {
			t.Errorf("%d VIPs, %d urgent: %g requests per second", tt.vips, tt.urgent, sum)
		}
	}
}

func TestRateFor(t *testing.T) {
	t.Parallel()
	for peers, want := range map[int]int{0: 1000, 1: 1000, 3: 1000, 10: 300, 5000: 1} {
		if got := rateFor(peers); got != want {
			t.Errorf("%d peers: %d, want %d", peers, got, want)
		}
	}
}

func TestTurn(t *testing.T) {
	t.Parallel()
	var turn turn
	turn.follow(newRing([]int{1, 3, 5}, 300*ms, MaxRate), t0)
	var got []int
	for i := range 4 {
		got = append(got, turn.take(t0.Add(time.Duration(i)*100*ms), 0)...)
	}
	turn.follow(newRing([]int{1, 5}, 300*ms, MaxRate), t0.Add(time.Hour)) // 3 was next and became urgent
	got = append(got, turn.take(t0.Add(400*ms), 1)...)
	if more := turn.take(t0.Add(400*ms), 0); more != nil || !turn.due.Equal(t0.Add(565*ms)) {
		t.Errorf("%v, due %s", more, turn.due.Sub(t0))
	}
	turn.follow(newRing([]int{0, 1, 5}, 300*ms, MaxRate), t0.Add(410*ms)) // a new one: at once
	got = append(got, turn.take(t0.Add(410*ms), 0)...)
	if diff := cmp.Diff([]int{1, 3, 5, 1, 5, 1}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	turn.follow(ring{}, t0)
	if turn.take(t0.Add(time.Hour), 0) != nil {
		t.Error("an empty ring")
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	var b bucket
	count := func(now time.Time) (n int) {
		for b.take(now, 100) {
			n++
		}
		return n
	}
	got := []int{count(t0), count(t0), count(t0.Add(100 * ms)), count(t0.Add(time.Hour))}
	if diff := cmp.Diff([]int{100, 0, 10, 100}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
