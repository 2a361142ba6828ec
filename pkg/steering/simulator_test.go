package steering

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"time"
)

// The simulator is the one of the table in docs/measurements.md: pods that serve one request after the other, exponentially
// distributed, and resolvers of very different size that ask the DNS once per TTL and send their clients where it said.
// Everything but the number of pods and the TTL is in seconds.

// A simPod serves requests in their order.
type simPod struct {
	rate     float64   // requests a second
	free     float64   // when all that came so far is done
	work     float64   // seconds of service given out
	done     []float64 // when those in the pod will be done
	measured float64   // work at the last sample
	gone     float64   // requests from then on fail; 0: never
}

// arrive returns how long a request that comes now takes until it is answered.
func (p *simPod) arrive(now, size float64) float64 {
	service := size / p.rate
	p.free = max(p.free, now) + service
	p.work += service
	p.done = append(p.done, p.free)
	return p.free - now
}

// inFlight is how many requests are in the pod.
func (p *simPod) inFlight(now float64) float64 {
	i := sort.SearchFloat64s(p.done, now)
	p.done = append(p.done[:0], p.done[i:]...)
	return float64(len(p.done))
}

// cpu is the part of the last period that the pod was busy.
func (p *simPod) cpu(now, period float64) float64 {
	busy := p.work - max(p.free-now, 0)
	defer func() { p.measured = busy }()
	return (busy - p.measured) / period
}

// A sample is what the metrics say of a pod.
type sample struct{ inFlight, cpu float64 }

// An algorithm decides what resolvers are told.
type algorithm interface {
	// observe is told the metrics when they come.
	observe(now float64, samples []sample)
	// answer returns the pods of one answer, to a resolver.
	answer(now float64, resolver int) []int
}

// A scenario is what happens to a service.
type scenario struct {
	capacities []float64 // what is declared of each pod
	load       float64   // requests a second
	resolvers  int
	zipf       float64
	ttl        func(now float64) float64
	period     float64 // between metrics
	warm, last float64 // seconds that do not count, and that do
	change     func(now float64, pods []*simPod)
	silent     func(now float64) bool // no metrics come
	extra      []float64              // seconds on the way to each pod, nil: none
}

// result is what came of it.
type result struct {
	p99    float64 // seconds, of those answered
	failed int
	took   []float64 // by pod: requests
}

// run simulates a scenario.
func (s scenario) run(seed uint64, build func(*rand.Rand, scenario) algorithm) result {
	random := rand.New(rand.NewPCG(seed, 1))
	a := build(rand.New(rand.NewPCG(seed, 2)), s)
	var pods []*simPod
	for _, c := range s.capacities {
		pods = append(pods, &simPod{rate: c})
	}
	sizes := zipf(s.resolvers, s.zipf)
	known, until := make([][]int, s.resolvers), make([]float64, s.resolvers)
	var waits []float64
	res := result{took: make([]float64, len(pods))}
	for now, next := 0.0, s.period; now < s.warm+s.last; now += random.ExpFloat64() / s.load {
		for ; next <= now; next += s.period {
			if samples := measure(next, s.period, pods); s.silent == nil || !s.silent(next) {
				a.observe(next, samples)
			}
		}
		if s.change != nil {
			s.change(now, pods)
		}
		r := sort.SearchFloat64s(sizes, random.Float64())
		if now >= until[r] {
			known[r], until[r] = append(known[r][:0], a.answer(now, r)...), now+s.ttl(now)
		}
		pod := known[r][random.IntN(len(known[r]))]
		size := random.ExpFloat64()
		if p := pods[pod]; p.gone > 0 && now >= p.gone {
			if now >= s.warm {
				res.failed++
			}
			continue
		}
		wait := pods[pod].arrive(now, size)
		if s.extra != nil {
			wait += s.extra[pod]
		}
		if now >= s.warm {
			waits = append(waits, wait)
			res.took[pod]++
		}
	}
	slices.Sort(waits)
	res.p99 = waits[len(waits)*99/100]
	return res
}

func measure(now, period float64, pods []*simPod) []sample {
	samples := make([]sample, len(pods))
	for i, p := range pods {
		samples[i] = sample{p.inFlight(now), p.cpu(now, period)}
	}
	return samples
}

// zipf returns the cumulated shares of n resolvers: that of the k-th is as 1/k^s.
func zipf(n int, s float64) []float64 {
	all, sum := make([]float64, n), 0.0
	for k := range all {
		sum += math.Pow(float64(k+1), -s)
		all[k] = sum
	}
	for k := range all {
		all[k] /= sum
	}
	return all
}

// always is a TTL that stays.
func always(ttl float64) func(float64) float64 { return func(float64) float64 { return ttl } }

// The algorithms of the table.

// fixed answers what a function says, and hears no metrics.
type fixed func(resolver int) []int

func (fixed) observe(float64, []sample)       {}
func (f fixed) answer(_ float64, r int) []int { return f(r) }

func roundRobin(_ *rand.Rand, s scenario) algorithm {
	turn := 0
	return fixed(func(int) []int {
		turn++
		return []int{turn % len(s.capacities)}
	})
}

// allSorted answers with all pods; each client takes the one whose address has the most leading bits of its own (RFC 6724).
func allSorted(random *rand.Rand, s scenario) algorithm {
	pods := make([]uint64, len(s.capacities))
	for i := range pods {
		pods[i] = random.Uint64()
	}
	choice := make([]int, s.resolvers)
	for r := range choice {
		client := random.Uint64()
		for i := range pods {
			if pods[i]^client < pods[choice[r]]^client {
				choice[r] = i
			}
		}
	}
	return fixed(func(r int) []int { return []int{choice[r]} })
}

// smooth is nginx's smooth weighted round robin.
type smooth struct{ weights, credit []float64 }

func newSmooth(weights []float64) *smooth {
	return &smooth{slices.Clone(weights), make([]float64, len(weights))}
}

func (s *smooth) next() int {
	best, sum := 0, 0.0
	for i, w := range s.weights {
		s.credit[i] += w
		sum += w
		if s.credit[i] > s.credit[best] {
			best = i
		}
	}
	s.credit[best] -= sum
	return best
}

func capacityOnly(_ *rand.Rand, s scenario) algorithm {
	turns := newSmooth(s.capacities)
	return fixed(func(int) []int { return []int{turns.next()} })
}

// argmin answers with the pod that was best when it was last looked at.
type argmin struct {
	scenario
	value func(sample, float64) float64
	best  int
}

func (a *argmin) observe(_ float64, samples []sample) {
	for i := range samples {
		if a.value(samples[i], a.capacities[i]) < a.value(samples[a.best], a.capacities[a.best]) {
			a.best = i
		}
	}
}

func (a *argmin) answer(float64, int) []int { return []int{a.best} }

func leastInFlight(_ *rand.Rand, s scenario) algorithm {
	return &argmin{scenario: s, value: func(x sample, c float64) float64 { return x.inFlight / c }}
}

func leastCPU(_ *rand.Rand, s scenario) algorithm {
	return &argmin{scenario: s, value: func(x sample, _ float64) float64 { return x.cpu }}
}

// twoChoices answers with the better of two random pods.
type twoChoices struct {
	scenario
	random   *rand.Rand
	weighted bool // by capacity, and counting what was answered since
	shares   []float64
	known    []float64
}

func (a *twoChoices) observe(_ float64, samples []sample) {
	for i := range samples {
		a.known[i] = samples[i].inFlight
	}
}

func (a *twoChoices) draw() int {
	if !a.weighted {
		return a.random.IntN(len(a.known))
	}
	return sort.SearchFloat64s(a.shares, a.random.Float64())
}

func (a *twoChoices) answer(float64, int) []int {
	x, y := a.draw(), a.draw()
	if !a.weighted {
		if a.known[y] < a.known[x] {
			x = y
		}
		return []int{x}
	}
	if a.known[y]/a.capacities[y] < a.known[x]/a.capacities[x] {
		x = y
	}
	a.known[x]++
	return []int{x}
}

func twoOfOld(random *rand.Rand, s scenario) algorithm {
	return &twoChoices{scenario: s, random: random, known: make([]float64, len(s.capacities))}
}

func twoByCapacity(random *rand.Rand, s scenario) algorithm {
	shares, sum := slices.Clone(s.capacities), 0.0
	for i := range shares {
		sum += shares[i]
		shares[i] = sum
	}
	for i := range shares {
		shares[i] /= sum
	}
	return &twoChoices{scenario: s, random: random, weighted: true, shares: shares, known: make([]float64, len(shares))}
}

// idle is capacity x (1-CPU), with CPU smoothed by alpha.
type idle struct {
	scenario
	*smooth
	alpha float64
	cpu   []float64
}

func (a *idle) observe(_ float64, samples []sample) {
	for i, x := range samples {
		a.cpu[i] += a.alpha * (x.cpu - a.cpu[i])
		a.weights[i] = a.capacities[i] * max(1-a.cpu[i], 0.01)
	}
}

func (a *idle) answer(float64, int) []int { return []int{a.next()} }

func idleBy(alpha float64) func(*rand.Rand, scenario) algorithm {
	return func(_ *rand.Rand, s scenario) algorithm {
		return &idle{s, newSmooth(s.capacities), alpha, make([]float64, len(s.capacities))}
	}
}

// written is rules 1 to 3 and 6 of the facts as they are written: CPU smoothed, and steps of the weight with bounds.
type written struct {
	scenario
	*smooth
	answers int
	cpu     []float64
}

func (a *written) observe(_ float64, samples []sample) {
	mean := 0.0
	for i, x := range samples {
		a.cpu[i] += smoothing * (x.cpu - a.cpu[i])
		mean += a.cpu[i] / float64(len(samples))
	}
	for i, c := range a.capacities {
		step := min(max(1+gain*(mean-a.cpu[i]), slowest), fastest)
		a.weights[i] = min(max(a.weights[i]*step, leastFactor*c), mostFactor*c)
	}
}

func (a *written) answer(float64, int) []int {
	pods := []int{a.next()}
	for len(pods) < a.answers {
		if i := a.next(); i != pods[0] {
			pods = append(pods, i)
		}
	}
	return pods
}

func asWritten(answers int) func(*rand.Rand, scenario) algorithm {
	return func(_ *rand.Rand, s scenario) algorithm {
		return &written{s, newSmooth(s.capacities), answers, make([]float64, len(s.capacities))}
	}
}

// product is what ships: Balancer and Picker.
type product struct {
	Balancer
	service Service
	picker  *Picker
	signals Signal
	index   map[netip.Addr]int
}

func ours(signal Signal, answers int) func(*rand.Rand, scenario) algorithm {
	return func(random *rand.Rand, s scenario) algorithm {
		a := &product{service: weighted(Capacity, answers, s.capacities...), signals: signal, index: make(map[netip.Addr]int)}
		for i, e := range a.service.Endpoints {
			a.index[e.Address] = i
		}
		a.picker = NewPicker(a.service, IPv6, random.Uint64())
		return a
	}
}

func simTime(now float64) time.Time { return epoch.Add(time.Duration(now * float64(time.Second))) }

func (a *product) observe(now float64, samples []sample) {
	loads := make([]Load, len(samples))
	for i, x := range samples {
		loads[i] = Load{At: simTime(now)}
		if a.signals == InFlight {
			loads[i].InFlight = Read(x.inFlight)
		} else {
			loads[i].CPU = Read(x.cpu)
		}
	}
	a.step(now, loads)
}

func (a *product) step(now float64, loads []Load) {
	weights, _ := a.Step(nil, simTime(now), a.service, loads)
	for i, w := range weights {
		a.service.Endpoints[i].Factor = w.Factor
	}
	a.service.Spill = a.Spill()
	a.picker = a.picker.Follow(a.service, IPv6)
}

func (a *product) answer(_ float64, resolver int) []int {
	var pods []int
	for _, addr := range a.picker.Pick(nil, client(uint32(resolver)<<8)) {
		pods = append(pods, a.index[addr])
	}
	return pods
}
