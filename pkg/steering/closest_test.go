package steering

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// distant is a service of endpoints at distances: 0 is in this site, below 0 on this node.
func distant(p Policy, distances ...time.Duration) Service {
	s := weighted(p, 1, make([]float64, len(distances))...)
	for i, d := range distances {
		s.Endpoints[i].Near, s.Endpoints[i].Distance = d < 0, max(d, 0)
	}
	return s
}

// answered is how many of n answers begin with each endpoint.
func answered(p *Picker, n int) map[string]int {
	count := make(map[string]int)
	for range n {
		count[p.Pick(nil, netip.Prefix{})[0].String()]++
	}
	return count
}

func TestClosest(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name      string
		policy    Policy
		distances []time.Duration
		down      int // the first ones
		spill     float64
		want      map[string]int // of 100
	}{
		{name: "the same node before the site", policy: Closest, distances: []time.Duration{0, -1, 5 * ms}, want: map[string]int{"::2": 100}},
		{name: "the site before others", policy: Closest, distances: []time.Duration{0, 0, ms}, want: map[string]int{"::1": 50, "::2": 50}},
		{name: "2 ms make no difference", policy: Closest, distances: []time.Duration{6 * ms, 7 * ms, 8 * ms}, want: map[string]int{"::1": 50, "::2": 50}},
		{name: "the next ones where the nearest are down", policy: Closest, distances: []time.Duration{0, 0, 8 * ms, 4 * ms}, down: 2, want: map[string]int{"::4": 100}},
		{name: "spilled over", policy: Closest, distances: []time.Duration{0, 0, 4 * ms, 8 * ms}, spill: 0.2, want: map[string]int{"::1": 40, "::2": 40, "::3": 20}},
		{name: "nowhere to spill to", policy: Closest, distances: []time.Duration{0, 0}, spill: 0.5, want: map[string]int{"::1": 50, "::2": 50}},
		{name: "some always stays", policy: Closest, distances: []time.Duration{0, ms}, spill: 7, want: map[string]int{"::1": 10, "::2": 90}},
		{name: "no number", policy: Closest, distances: []time.Duration{0, ms}, spill: math.NaN(), want: map[string]int{"::1": 100}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := distant(tt.policy, tt.distances...)
			s.Spill = tt.spill
			for i := range tt.down {
				s.Endpoints[i].State = Down
			}
			if diff := cmp.Diff(tt.want, answered(NewPicker(s, IPv6, 0), 100)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestClosestCapacity(t *testing.T) {
	s := distant(ClosestCapacity, 0, 0, time.Millisecond)
	s.Endpoints[0].Capacity, s.Endpoints[1].Capacity, s.Endpoints[1].Factor, s.Endpoints[2].Capacity = 4, 2, 0.5, 1000
	if diff := cmp.Diff(map[string]int{"::1": 80, "::2": 20}, answered(NewPicker(s, IPv6, 0), 100)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.Policy = Closest
	if diff := cmp.Diff(map[string]int{"::1": 50, "::2": 50}, answered(NewPicker(s, IPv6, 0), 100)); diff != "" {
		t.Errorf("without capacity (-want +got):\n%s", diff)
	}
}

func TestSpill(t *testing.T) {
	for _, tt := range []struct {
		name    string
		read    func(float64) Load
		samples [][]float64 // of two near ones and a far one
		want    float64
	}{
		{"little to do", ofCPU, [][]float64{{0.4, 0.5, 0}}, 0},
		{"too much", ofCPU, [][]float64{{0.9, 0.9, 0.1}}, 0.1},
		{"for long", ofCPU, [][]float64{{0.9, 0.9, 0.1}, {0.9, 0.9, 0.1}, {0.9, 0.9, 0.1}}, 0.3},
		{"a little more than the next stays", ofCPU, [][]float64{{0.9, 0.9, 0.6}, {0.6, 0.6, 0.9}}, 0.1},
		{"and comes back", ofCPU, [][]float64{{0.9, 0.9, 0.6}, {0.1, 0.1, 0.9}}, 0},
		{"the next do as much", ofCPU, [][]float64{{0.9, 0.9, 0.9}}, 0},
		{"nothing waits for long", ofInFlight, [][]float64{{4.9, 4.9, 0}}, 0},
		{"something waits", ofInFlight, [][]float64{{6, 6, 1}}, 0.1},
		{"and less", ofInFlight, [][]float64{{6, 6, 1}, {2, 2, 1}}, 0.1},
		{"and nothing", ofInFlight, [][]float64{{6, 6, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}}, 0},
		{"the next are silent", ofCPU, [][]float64{{0.9, 0.9, math.NaN()}}, 0},
		{"latency", ofLatency, [][]float64{{0.9, 0.9, 0.1}}, 0.1},
		{"most are silent", ofCPU, [][]float64{{math.NaN(), math.NaN(), 0.1}}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := teller{service: distant(Closest, 0, 0, 5*time.Millisecond), now: epoch}
			for _, s := range tt.samples {
				x.tell(tt.read, s...)
			}
			if got := x.Spill(); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("spills %v, want %v", got, tt.want)
			}
		})
	}
}

// By hash clients stay where they are until their endpoint has more than a quarter above the mean, and come back.
func TestHashIsBounded(t *testing.T) {
	x := teller{service: weighted(Hash, 1, 1, 1, 1), now: epoch}
	for _, step := range []struct {
		loads []float64
		want  []float64
	}{
		{[]float64{9, 10, 11}, []float64{1, 1, 1}},
		{[]float64{5, 5, 200}, []float64{1, 1, 0.8}}, // the average is 67.7, the mean 25.3
		{[]float64{10, 10, 10}, []float64{1, 1, 0.64}},
		{[]float64{100, 100, 10}, []float64{1, 1, 0.64}}, // 35.7 and 36.3: nearly alike
		{[]float64{100, 100, 10}, []float64{1, 1, 0.8}},
	} {
		if diff := cmp.Diff(step.want, factors(x.tell(ofInFlight, step.loads...))); diff != "" {
			t.Errorf("%v (-want +got):\n%s", step.loads, diff)
		}
	}
}

// Clients of equal endpoints stay where they are, however little there is to do: chance is no load.
func TestHashIsSteady(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, mean := range []float64{0.2, 1, 5, 18, 50, 1000} {
		x, moved := teller{service: weighted(Hash, 1, 1, 1, 1, 1, 1), now: epoch}, 0
		for range 2000 {
			loads := make([]float64, 5)
			for i := range loads {
				loads[i] = float64(poisson(random, mean))
			}
			if !slices.Equal(factors(x.tell(ofInFlight, loads...)), []float64{1, 1, 1, 1, 1}) {
				moved++
			}
		}
		if moved > 0 {
			t.Errorf("%v in flight at each: clients were moved after %d of 2000 samples", mean, moved)
		}
	}
}

// poisson is Knuth's for small means, and the normal distribution for large ones.
func poisson(random *rand.Rand, mean float64) int {
	if mean > 100 {
		return int(math.Round(mean + math.Sqrt(mean)*random.NormFloat64()))
	}
	n, p := -1, 1.0
	for least := math.Exp(-mean); p > least; n++ {
		p *= random.Float64()
	}
	return n
}

// With five of six near there is somewhere to spill to, and names that state a policy spill although their service does not.
func TestSpillOf(t *testing.T) {
	const far = 6 * time.Millisecond
	named := distant(Capacity, 0, far)
	named.Semantic = Semantic{App: "shop", AppNS: "acme", Service: "api", ServiceNS: "prod"}
	for _, tt := range []struct {
		name    string
		service Service
		loads   []float64
		want    float64
	}{
		{"most are near", distant(Closest, 0, 0, 0, 0, 0, far), []float64{1, 1, 1, 1, 1, 0}, 0.1},
		{"the next are idle, those behind are not", distant(Closest, 0, far, 2*far, 2*far), []float64{0.9, 0.1, 1, 1}, 0.1},
		{"one of the near tells", distant(Closest, 0, 0, 0, 0, far), []float64{0.9, math.NaN(), math.NaN(), math.NaN(), 0.1}, 0.1},
		{"by no distance", distant(Capacity, 0, far), []float64{1, 0}, 0},
		{"by distance in a semantic name", named, []float64{1, 0}, 0.1},
	} {
		x := teller{service: tt.service, now: epoch}
		x.tell(ofCPU, tt.loads...)
		if got := x.Spill(); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: spills %v, want %v", tt.name, got, tt.want)
		}
	}
}

// What spills comes back by half with each period that the nearest are silent, whatever the others tell; the step is due when Step says.
func TestSpillForgets(t *testing.T) {
	x := teller{service: distant(Closest, 0, 0, 5*time.Millisecond), now: epoch}
	for range 9 {
		x.tell(ofCPU, 1, 1, 0.1)
	}
	if got := x.Spill(); math.Abs(got-0.9) > 1e-9 {
		t.Fatalf("spills %v", got)
	}
	var got []float64
	now := x.now.Add(-2 * time.Second)
	for range 7 {
		far := Load{At: now.Add(-time.Millisecond), CPU: Read(0.1)}
		_, now = x.Step(nil, now, x.service, []Load{{}, {}, far})
		got = append(got, math.Round(100*x.Spill())/100)
	}
	if diff := cmp.Diff([]float64{0.9, 0.9, 0.4, 0.2, 0.1, 0.1, 0}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The nearest place has failed as a whole: panic does not believe that all are down, but those that are up, elsewhere, are no reason to
// answer with none but dead ones.
func TestClosestInPanic(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		down int // the first ones
		want map[string]int
	}{
		{"the rack died", 3, map[string]int{"::4": 50, "::5": 50}},
		{"one of the rest is down, too", 4, map[string]int{"::4": 50, "::5": 50}},
		{"none is up", 5, map[string]int{"::1": 34, "::2": 33, "::3": 33}},
	} {
		s := distant(Closest, -1, -1, -1, 6*ms, 6*ms)
		s.Panic.Below = 0.5
		for i := range tt.down {
			s.Endpoints[i].State = Down
		}
		if diff := cmp.Diff(tt.want, answered(NewPicker(s, IPv6, 0), 100)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Endpoints that drain answer by distance only where no other is up: those elsewhere are no help, and those here would draw all to a place that
// is being left.
func TestClosestWithDrains(t *testing.T) {
	const ms = time.Millisecond
	for _, tt := range []struct {
		name           string
		down, draining []int
		want           map[string]int
	}{
		{"far ones drain", []int{1, 2, 3}, []int{4, 5}, map[string]int{"::1": 25, "::2": 25, "::3": 25, "::4": 25}},
		{"near ones drain", []int{5}, []int{0, 1, 2, 3}, map[string]int{"::5": 100}},
		{"near ones drain, most are down", []int{5, 6, 7}, []int{0, 1, 2, 3}, map[string]int{"::5": 25, "::6": 25, "::7": 25, "::8": 25}},
		{"none stays", nil, []int{0, 1, 2, 3, 4, 5}, map[string]int{"::1": 25, "::2": 25, "::3": 25, "::4": 25}},
	} {
		s := distant(Closest, 0, 0, 0, 0, 6*ms, 6*ms)
		if len(tt.down) > 1 && tt.down[1] == 6 {
			s = distant(Closest, 0, 0, 0, 0, 6*ms, 6*ms, 6*ms, 6*ms)
		}
		s.Panic.Below = 0.5
		for _, i := range tt.down {
			s.Endpoints[i].State = Down
		}
		for _, i := range tt.draining {
			s.Endpoints[i].Draining = true
		}
		if diff := cmp.Diff(tt.want, answered(NewPicker(s, IPv6, 0), 100)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// A CPU that is busy all the time is too much for Hash wherever the others have less to do, and not where they have as much.
func TestHashIsBoundedByCPU(t *testing.T) {
	for others, want := range map[float64]bool{0.5: true, 0.65: true, 0.75: true, 0.9: true, 1: false} {
		x := teller{service: weighted(Hash, 1, 1, 1, 1, 1), now: epoch}
		var got []float64
		for range 60 {
			got = factors(x.tell(ofCPU, 1, others, others, others))
		}
		if got[0] < 1 != want {
			t.Errorf("beside others with %v: %v", others, got)
		}
	}
}

func TestAnswerSize(t *testing.T) {
	var got []int
	for _, p := range []Policy{RoundRobin, Capacity, Hash, Closest, ClosestCapacity} {
		got = append(got, Service{Policy: p}.AnswerSize(), Service{Policy: p, Answers: 3}.AnswerSize())
	}
	if diff := cmp.Diff([]int{2, 3, 2, 3, 1, 3, 1, 3, 1, 3}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTTL(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct{ holds, least, most, want time.Duration }{
		{0, s, 5 * s, 5 * s}, {0, s, time.Hour, time.Hour}, {3 * s, s, 5 * s, 3 * s}, {1400 * time.Millisecond, s, 5 * s, s}, {time.Millisecond, s, 5 * s, s},
		{time.Millisecond, 4 * s, 5 * s, 4 * s}, {time.Hour, s, time.Hour, 30 * s}, {time.Hour, time.Minute, time.Hour, time.Minute}, {s, 9 * s, 5 * s, 5 * s}, {0, 0, 0, s},
	} {
		if got := TTL(tt.holds, tt.least, tt.most); got != tt.want {
			t.Errorf("holds %s, from %s to %s: %s, want %s", tt.holds, tt.least, tt.most, got, tt.want)
		}
	}
}

func TestTTLOfPicker(t *testing.T) {
	holds := func(e Endpoint, d time.Duration) Endpoint {
		e.Holds = d
		return e
	}
	for _, tt := range []struct {
		name      string
		endpoints []Endpoint
		want      time.Duration
	}{
		{"nobody checks", []Endpoint{up("::1"), up("::2")}, 5 * time.Second},
		{"the one that can change first", []Endpoint{holds(up("::1"), 4*time.Second), holds(down("::2"), 3*time.Second), up("::3")}, 3 * time.Second},
		{"not of the other family", []Endpoint{up("::1"), holds(up("10.0.0.1"), 2*time.Second)}, 5 * time.Second},
		{"panic", []Endpoint{down("::1")}, time.Second},
		{"somebody drains", []Endpoint{drains("::1", Up), up("::2")}, time.Second},
		{"nobody else serves", []Endpoint{drains("::1", Up)}, time.Second},
	} {
		if got := NewPicker(Service{Policy: RoundRobin, Endpoints: tt.endpoints}, IPv6, 0).TTL(time.Second, 5*time.Second); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
