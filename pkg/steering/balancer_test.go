package steering

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var epoch = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// A teller gives a service its loads every two seconds.
type teller struct {
	Balancer
	service Service
	now     time.Time
}

// tell steps with what each endpoint says its signal is, NaN: nothing new.
func (t *teller) tell(read func(float64) Load, values ...float64) []Weight {
	loads := make([]Load, len(values))
	for i, v := range values {
		if !math.IsNaN(v) {
			loads[i] = read(v)
			loads[i].At = t.now
		}
	}
	weights, _ := t.Step(nil, t.now, t.service, loads)
	t.now = t.now.Add(2 * time.Second)
	return weights
}

func ofCPU(v float64) Load      { return Load{CPU: Read(v)} }
func ofInFlight(v float64) Load { return Load{InFlight: Read(v)} }
func ofLatency(v float64) Load  { return Load{Latency: Read(v)} }

func factors(weights []Weight) []float64 {
	var all []float64
	for _, w := range weights {
		all = append(all, math.Round(1000*w.Factor)/1000)
	}
	return all
}

func TestStep(t *testing.T) {
	quiet := math.NaN()
	for _, tt := range []struct {
		name       string
		read       func(float64) Load
		capacities []float64
		samples    [][]float64
		want       []float64
	}{
		{"no load", ofCPU, []float64{1, 2}, nil, []float64{1, 1}},
		{"alike", ofCPU, []float64{1, 2}, [][]float64{{0.7, 0.7}}, []float64{1, 1}},
		{"half a step by the mean of CPU", ofCPU, []float64{1, 2}, [][]float64{{0.4, 0.8}}, []float64{1.1, 0.9}},
		{"what is little is not told", ofCPU, []float64{1, 1}, [][]float64{{0.57, 0.63}}, []float64{1, 1}},
		{"until it adds up", ofCPU, []float64{1, 1}, [][]float64{{0.57, 0.63}, {0.57, 0.63}, {0.57, 0.63}}, []float64{1.046, 0.956}},
		{"a step has bounds", ofCPU, []float64{1, 1, 1}, [][]float64{{0, 0, 0.94}}, []float64{1.157, 1.157, 0.8}},
		{"a factor has bounds", ofLatency, []float64{1, 1}, [][]float64{{0, 50}, {0, 50}, {0, 50}, {0, 50}, {0, 50}, {0, 50}, {0, 50}, {0, 50}, {0, 50}, {0, 50}, {0, 50}, {0, 50}}, []float64{4, 0.1}},
		{"in flight by capacity", ofInFlight, []float64{1, 2}, [][]float64{{10, 20}}, []float64{1, 1}},
		{"in parts of the mean", ofInFlight, []float64{1, 1}, [][]float64{{1000, 1200}}, []float64{1.043, 0.957}},
		{"a few in flight are noise", ofInFlight, []float64{1, 1}, [][]float64{{0, 3}}, []float64{1, 1}},
		{"a queue brakes", ofInFlight, []float64{1, 1, 1}, [][]float64{{3, 4, 200}}, []float64{1.25, 1.25, 0.202}},
		{"for as long as it is there", ofInFlight, []float64{1, 1, 1}, [][]float64{{3, 4, 200}, {3, 4, 100}}, []float64{1.563, 1.563, 0.041}},
		{"and no longer", ofInFlight, []float64{1, 1, 1}, [][]float64{{3, 4, 200}, {3, 4, 9}}, []float64{1.543, 1.537, 0.512}},
		{"so does who is busy all the time", ofCPU, []float64{1, 1, 1}, [][]float64{{0.5, 0.5, 1}}, []float64{1.083, 1.083, 0.211}},
		{"unless all are", ofCPU, []float64{1, 1, 1}, [][]float64{{0.9, 0.9, 1}}, []float64{1, 1, 1}},
		{"latency", ofLatency, []float64{1, 2}, [][]float64{{0.009, 0.011}}, []float64{1.05, 0.95}},
		{"nothing at all is in flight", ofInFlight, []float64{1, 1}, [][]float64{{0, 0}}, []float64{1, 1}},
		{"who is quiet keeps its capacity", ofCPU, []float64{1, 1, 1}, [][]float64{{0.4, quiet, 0.8}}, []float64{1.1, 1, 0.9}},
		{"nonsense tells nothing", ofCPU, []float64{1, 1, 1, 1}, [][]float64{{math.Inf(1), -1, 0.4, 0.8}}, []float64{1, 1, 1.1, 0.9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := teller{service: weighted(Capacity, 1, tt.capacities...), now: epoch}
			weights, _ := x.Step(nil, x.now, x.service, nil)
			for _, s := range tt.samples {
				weights = x.tell(tt.read, s...)
			}
			if diff := cmp.Diff(tt.want, factors(weights)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Endpoints are compared by what all of them tell that tell anything.
func TestSignal(t *testing.T) {
	cpu, both := Load{At: epoch, CPU: Read(0.5)}, Load{At: epoch, CPU: Read(0.5), InFlight: Read(3)}
	for _, tt := range []struct {
		loads []Load
		want  Signal
	}{
		{[]Load{both, both}, InFlight}, {[]Load{both, cpu}, CPU}, {[]Load{both, {}}, InFlight}, {[]Load{{}, {}}, NoSignal},
	} {
		x := teller{service: weighted(Capacity, 1, 1, 1)}
		weights, _ := x.Step(nil, epoch, x.service, tt.loads)
		if got := weights[0].Signal; got != tt.want {
			t.Errorf("%v: goes by %s, want %s", tt.loads, got, tt.want)
		}
	}
}

// The same sample twice is one sample; one from the future is none.
func TestSamplesCountOnce(t *testing.T) {
	x := teller{service: weighted(Capacity, 1, 1, 1)}
	loads := []Load{{At: epoch, CPU: Read(0.2)}, {At: epoch, CPU: Read(0.8)}}
	for range 3 {
		weights, _ := x.Step(nil, epoch, x.service, loads)
		if diff := cmp.Diff([]float64{1.15, 0.85}, factors(weights)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		loads[0].At = epoch.Add(time.Hour)
	}
}

// A load that does not come any more loses its say by half with each period; the step is due at the times that Step tells.
func TestLoadAges(t *testing.T) {
	x := teller{service: weighted(Capacity, 1, 1, 1), now: epoch}
	for range 4 {
		x.tell(ofLatency, 0, 1)
	}
	last := x.now.Add(-2 * time.Second)
	var got [][]float64
	now := last
	for !now.IsZero() {
		var weights []Weight
		weights, now = x.Step(nil, now, x.service, nil)
		got = append(got, factors(weights))
	}
	want := [][]float64{{2.441, 0.41}, {2.441, 0.41}, {1.721, 0.705}, {1.36, 0.852}, {1.18, 0.926}, {1.09, 0.926}, {1.045, 0.982}, {1.045, 0.982}, {1.045, 0.982}, {1.045, 0.982}, {1.003, 0.982}, {1, 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What a silence has outlived does not come back with the first sample after it.
func TestSilenceForgets(t *testing.T) {
	x := teller{service: weighted(Capacity, 1, 1, 1, 1), now: epoch}
	for range 24 {
		x.tell(ofCPU, 0.2, 0.5, 0.9)
	}
	x.now = x.now.Add(time.Hour)
	if diff := cmp.Diff([]float64{1, 1, 1}, factors(x.tell(ofCPU, 0.5, 0.5, 0.5))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]float64{1.055, 1, 0.95}, factors(x.tell(ofCPU, 0.1, 0.5, 0.8))); diff != "" {
		t.Errorf("then (-want +got):\n%s", diff)
	}
}

func TestSlowStart(t *testing.T) {
	s := weighted(Capacity, 1, 1, 1, 1)
	s.SlowStart = 30 * time.Second
	s.Endpoints[0].Since, s.Endpoints[1].Since = epoch, epoch.Add(time.Second)
	var b Balancer
	for _, tt := range []struct {
		at   time.Duration
		want []float64
		next time.Duration
	}{
		{0, []float64{0.1, 0.1, 1}, 3 * time.Second}, {3 * time.Second, []float64{0.1, 0.1, 1}, 4 * time.Second}, {4 * time.Second, []float64{0.1, 0.1, 1}, 6 * time.Second},
		{15 * time.Second, []float64{0.5, 0.4, 1}, 16 * time.Second}, {30 * time.Second, []float64{1, 0.9, 1}, 31 * time.Second}, {31 * time.Second, []float64{1, 1, 1}, 0},
	} {
		weights, next := b.Step(nil, epoch.Add(tt.at), s, nil)
		if diff := cmp.Diff(tt.want, factors(weights)); diff != "" || !next.IsZero() && next.Sub(epoch) != tt.next || next.IsZero() != (tt.next == 0) {
			t.Errorf("after %s: next step at %v, want %s (-want +got):\n%s", tt.at, next, tt.next, diff)
		}
	}
}

// Endpoints come, go and change places: what is known of those that stay is kept.
func TestBalancerFollowsEndpoints(t *testing.T) {
	x := teller{service: weighted(Capacity, 1, 1, 1, 1), now: epoch}
	x.tell(ofLatency, 0, 0.5, 1)
	e := x.service.Endpoints
	x.service.Endpoints = []Endpoint{e[2], {Address: netip.MustParseAddr("::9"), State: Up}, e[0]}
	weights, _ := x.Step(nil, x.now, x.service, nil)
	if diff := cmp.Diff([]float64{0.8, 1, 1.25}, factors(weights)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReason(t *testing.T) {
	for want, w := range map[string]Weight{
		"load not known":                        {Feedback: 1, Ramp: 1},
		"slow start 0.10, load not known":       {Feedback: 1, Ramp: 0.1},
		"CPU 0.5, mean 0.4":                     {Feedback: 1, Ramp: 1, Signal: CPU, Load: 0.5, Mean: 0.4},
		"in flight 12.3, mean 4: feedback 0.41": {Feedback: 0.41, Ramp: 1, Signal: InFlight, Load: 12.345, Mean: 4},
	} {
		if got := w.Reason(); got != want {
			t.Errorf("%+v: %q, want %q", w, got, want)
		}
	}
}

// Whatever is told: a factor is a finite number above 0.
func FuzzStep(f *testing.F) {
	f.Add(1.0, 2.0, 0.5, 0.7, int64(2e9), uint8(1))
	f.Add(math.Inf(1), math.NaN(), -1.0, 1e308, int64(-1), uint8(7))
	f.Fuzz(func(t *testing.T, c1, c2, l1, l2 float64, later int64, known uint8) {
		s := weighted(Capacity, 1, c1, c2)
		s.SlowStart, s.Endpoints[1].Since = time.Duration(later), epoch
		var b Balancer
		for n := range 5 {
			now := epoch.Add(time.Duration(n) * time.Duration(later%1e12))
			load := func(v float64, bits uint8) Load {
				return Load{At: now, InFlight: Reading{v, bits&1 != 0}, Latency: Reading{v, bits&2 != 0}, CPU: Reading{v, bits&4 != 0}}
			}
			weights, again := b.Step(nil, now, s, []Load{load(l1, known), load(l2, known>>3)})
			for _, w := range weights {
				if !(w.Factor > 0 && w.Factor <= mostFactor) {
					t.Fatalf("factor %v of %+v", w.Factor, w)
				}
			}
			if !again.IsZero() && !again.After(now) {
				t.Fatalf("next step %v is not after %v", again, now)
			}
		}
	})
}

func BenchmarkStep(b *testing.B) {
	x := teller{service: weighted(Capacity, 1, make([]float64, 100)...), now: epoch}
	loads, weights := make([]Load, 100), make([]Weight, 0, 100)
	b.ReportAllocs()
	for b.Loop() {
		x.now = x.now.Add(time.Second)
		for i := range loads {
			loads[i] = Load{At: x.now, CPU: Read(float64(i%7) / 7)}
		}
		weights, _ = x.Step(weights[:0], x.now, x.service, loads)
	}
}
