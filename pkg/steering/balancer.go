package steering

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The constants of feedback. Weights move slowly: who answers with the pod that was the least loaded one when it was last
// looked at sends everybody there until it is looked at again.
const (
	smoothing    = 0.3             // of a new sample in the moving average
	gain         = 0.5             // of a step, by how far an endpoint is from the mean
	slowest      = 0.8             // what one step may take
	fastest      = 1.25            // and give
	leastFactor  = 0.1             // feedback keeps to these bounds,
	mostFactor   = 4               // however long it lasts
	stepNoise    = 50              // requests in flight that one moment may have and the next not
	boundNoise   = 5               // requests in flight by which averages differ by chance: five times the deviation of a Poisson process at most
	boundCPU     = 0.1             // and of CPU, which has other work, too
	freshPeriods = 2               // so old may a load be, in the periods at which it comes
	hysteresis   = 0.04            // smaller changes of a factor are not told: each makes a new picker
	hashBound    = 1.25            // times the mean: more makes Hash send clients elsewhere
	rampFloor    = 0.1             // of slow start
	rampStep     = 10              // parts of slow start
	assumed      = 2 * time.Second // the period until two samples have told it
)

// The constants of the brake, for what is far beyond noise: a pod that was slowed down has a queue of many seconds by the time that
// the metrics tell, and all that is sent there meanwhile waits for that long. (docs/measurements.md: without it no algorithm gets below 10 s.)
const (
	brakeTimes  = 6    // times the median in flight,
	brakeNoise  = 25   // and so many more: such a queue does not come by chance;
	leastNoise  = 15   // fewer do where samples come sooner than in brakePeriod: a mistake does not last
	brakeCPU    = 0.95 // busy all the time,
	brakeAbove  = 0.2  // and the median is not
	brakePart   = 0.1  // is left after brakePeriod; less of one brakes as much less
	brakePeriod = 4 * time.Second
)

// DefaultSlowStart is how long a new endpoint takes to its full weight: caches are cold, code is not compiled yet.
const DefaultSlowStart = 30 * time.Second

// A Weight is what a Balancer makes of one endpoint, and of what.
type Weight struct {
	Factor   float64 // the value for Endpoint.Factor
	Feedback float64 // its part by load; 1: none
	Ramp     float64 // its part by slow start; 1: it is over
	Signal   Signal
	Load     float64       // of Signal, smoothed
	Mean     float64       // of Signal over the endpoints that tell and may be picked
	Age      time.Duration // of the last load; 0 where there was none
}

// Reason tells in words what made the factor.
func (w Weight) Reason() string {
	var parts []string
	if w.Ramp < 1 {
		parts = append(parts, fmt.Sprintf("slow start %.2f", w.Ramp))
	}
	switch {
	case w.Signal == NoSignal:
		parts = append(parts, "load not known")
	case w.Feedback == 1:
		parts = append(parts, fmt.Sprintf("%s %.3g, mean %.3g", w.Signal, w.Load, w.Mean))
	default:
		parts = append(parts, fmt.Sprintf("%s %.3g, mean %.3g: feedback %.2f", w.Signal, w.Load, w.Mean, w.Feedback))
	}
	return strings.Join(parts, ", ")
}

// A Balancer turns what the endpoints of one service tell of their load into weights: each moves slowly away from the
// capacity that was declared while its endpoint is more, or less, loaded than the others of this site. The zero value is
// ready. Not safe for concurrent use.
type Balancer struct {
	accounts []account // of the endpoints of the last step, in their order
	signal   Signal
	spill    spill
}

// account is what is kept of one endpoint.
type account struct {
	address  netip.Addr
	port     uint16
	sampled  time.Time     // of the last sample; zero: none
	period   time.Duration // between samples; 0: there were not two
	latest   float64       // of the signal
	average  float64       // of it, smoothed
	feedback float64       // by steps, before ageing
	braked   float64       // the part of it that the brake leaves
	told     float64       // the factor of the last step
}

// Step takes in what the endpoints of s tell now - loads[i] of s.Endpoints[i]; a nil loads tells nothing - and appends the
// weights of the endpoints to dst, in their order. again is when the next step is due although no load comes in: zero,
// when only a load or another s can change anything.
//
// A load that does not come any more loses its say: its endpoint's weight is pulled back to its capacity by half with each
// period. No endpoint is left out because nothing is known of it.
func (b *Balancer) Step(dst []Weight, now time.Time, s Service, loads []Load) (weights []Weight, again time.Time) {
	b.align(s.Endpoints)
	if len(loads) == len(s.Endpoints) {
		b.observe(now, s, loads)
	}
	b.spill.tell(now)
	mean, _ := b.mean(now, s.Endpoints, nil)
	begin := len(dst)
	for i, e := range s.Endpoints {
		dst = append(dst, b.accounts[i].weight(now, s.SlowStart, e, b.signal, mean))
	}
	return dst, b.again(now, s, dst[begin:])
}

// align brings the accounts into the order of the endpoints; who is new begins with nothing.
func (b *Balancer) align(endpoints []Endpoint) {
	if slices.EqualFunc(b.accounts, endpoints, account.of) {
		return
	}
	old := make(map[netip.AddrPort]account, len(b.accounts))
	for _, a := range b.accounts {
		old[netip.AddrPortFrom(a.address, a.port)] = a
	}
	b.accounts = make([]account, len(endpoints))
	for i, e := range endpoints {
		a, known := old[netip.AddrPortFrom(e.Address, e.Port)]
		if !known {
			a = account{address: e.Address, port: e.Port, feedback: 1, braked: 1, told: 1}
		}
		b.accounts[i] = a
	}
}

func (a account) of(e Endpoint) bool { return a.address == e.Address && a.port == e.Port }

// observe takes in new samples, and lets those that have one take a step.
func (b *Balancer) observe(now time.Time, s Service, loads []Load) {
	if signal := signalOf(s.Endpoints, loads); signal != NoSignal && signal != b.signal {
		b.signal = signal
		for i := range b.accounts {
			b.accounts[i].sampled = time.Time{} // averages of something else
		}
	}
	var fresh []int
	for i, l := range loads {
		// The future is a clock that is wrong.
		if r := b.signal.of(s.Endpoints[i], l); r.Known && l.At.After(b.accounts[i].sampled) && !l.At.After(now) {
			b.accounts[i].sample(l.At, r.Value)
			if l.Every > 0 { // one that came late after a silence does not make the next silence a shorter one
				b.accounts[i].period = l.Every
			}
			fresh = append(fresh, i)
		}
	}
	mean, _ := b.mean(now, s.Endpoints, nil)
	if mean == 0 || len(fresh) == 0 {
		return
	}
	middle := b.middle(now, s.Endpoints)
	for _, i := range fresh {
		a := &b.accounts[i]
		if s.Policy == Hash {
			a.bound(mean, b.signal.bound(s.Endpoints[i], mean))
			continue
		}
		a.step(b.signal, s.Endpoints[i], mean)
		a.brake(b.signal, s.Endpoints[i], middle)
	}
	if s.Policy.byDistance() || s.Semantic.Complete() { // a semantic name may state such a policy
		b.stepSpill(now, s.Endpoints, fresh)
	}
}

// signalOf returns the best signal that all endpoints tell that tell any.
func signalOf(endpoints []Endpoint, loads []Load) Signal {
	for signal := InFlight; signal <= CPU; signal++ {
		tell := 0
		for i, l := range loads {
			switch {
			case signal.of(endpoints[i], l).Known:
				tell++
			case InFlight.of(endpoints[i], l).Known || Latency.of(endpoints[i], l).Known || CPU.of(endpoints[i], l).Known:
				tell = -len(loads)
			}
		}
		if tell > 0 {
			return signal
		}
	}
	return NoSignal
}

func (a *account) sample(at time.Time, value float64) {
	if a.sampled.IsZero() {
		a.average, a.period = value, 0
	} else {
		a.follow(at.Sub(a.sampled), value)
	}
	a.sampled, a.latest = at, value
}

// follow takes in a further sample after a time. What was known before a silence does not come back with the first sample after it, and
// what was a silence is no period.
func (a *account) follow(gap time.Duration, value float64) {
	if a.period > 0 {
		silent := float64(gap)/float64(a.period) - freshPeriods
		a.average = aged(a.average, value, silent)
		a.feedback, a.braked = aged(a.feedback, 1, silent), aged(a.braked, 1, silent)
		gap = min(gap, freshPeriods*a.period)
	}
	a.period = gap
	a.average += smoothing * (value - a.average)
}

// step moves the feedback by how far the endpoint is from the mean: of CPU, in parts of the whole; of what has no whole,
// in parts of the mean, where that is more than the noise of a few requests.
func (a *account) step(signal Signal, e Endpoint, mean float64) {
	off := mean - a.average
	switch signal {
	case InFlight:
		off /= mean + stepNoise/positive(e.Capacity)
	case Latency:
		off /= mean
	}
	a.feedback = min(max(a.feedback*min(max(1+gain*off, slowest), fastest), leastFactor), mostFactor)
}

// brake takes from an endpoint that has far more than the others at once what steps would take from it in minutes. It lets go
// when the queue is gone; the steps remember.
func (a *account) brake(signal Signal, e Endpoint, middle float64) {
	periods := min(float64(a.every())/float64(brakePeriod), 1)
	if !over(signal, e, a.latest, middle, max(brakeNoise*periods, leastNoise)) {
		a.braked = 1
		return
	}
	a.feedback = max(a.feedback*slowest, leastFactor)
	a.braked = max(a.braked*math.Pow(brakePart, periods), brakePart)
}

// over tells that an endpoint has so much more than the median that noise, of requests in flight, does not explain it.
func over(signal Signal, e Endpoint, latest, middle, noise float64) bool {
	switch signal {
	case InFlight:
		return latest > brakeTimes*middle+noise/positive(e.Capacity)
	case CPU:
		return latest >= brakeCPU && latest > middle+brakeAbove
	default: // latency tells of what is done, and a few slow requests are no queue
		return false
	}
}

// bound is the step by Hash: clients stay where they are while their endpoint has less than a bound above the mean and noise; then
// some of them move, and come back once it has less than the mean. (Rendezvous with bounded load, by what is measured: it moves
// none but those that a smaller weight moves.)
func (a *account) bound(mean, most float64) {
	switch {
	case a.average > most:
		a.feedback = max(a.feedback*max(most/a.average, slowest), leastFactor)
	case a.average < mean:
		a.feedback = min(a.feedback*min(2-a.average/mean, fastest), 1)
	}
}

// every is the period, or what is likely.
func (a *account) every() time.Duration { return cmp.Or(a.period, assumed) }

// age returns how old the last sample is, in periods.
func (a *account) age(now time.Time) float64 {
	if a.sampled.IsZero() {
		return math.Inf(1)
	}
	return float64(now.Sub(a.sampled)) / float64(max(a.every(), time.Millisecond))
}

// mean is that of the signal over the endpoints that may be picked, whose load is fresh and that are among some; nil: all. n is
// how many there are.
func (b *Balancer) mean(now time.Time, endpoints []Endpoint, among func(Endpoint) bool) (mean float64, n int) {
	sum := 0.0
	for i, e := range endpoints {
		if a := &b.accounts[i]; e.State == Up && !e.Draining && a.age(now) <= freshPeriods && (among == nil || among(e)) {
			sum, n = sum+a.average, n+1
		}
	}
	return sum / float64(max(n, 1)), n
}

// middle is the median of the latest samples of the endpoints that may be picked and whose load is fresh.
func (b *Balancer) middle(now time.Time, endpoints []Endpoint) float64 {
	var all []float64
	for i, e := range endpoints {
		if a := &b.accounts[i]; e.State == Up && !e.Draining && a.age(now) <= freshPeriods {
			all = append(all, a.latest)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}

// weight is what the endpoint gets now.
func (a *account) weight(now time.Time, slowStart time.Duration, e Endpoint, signal Signal, mean float64) Weight {
	w := Weight{Feedback: 1, Ramp: ramp(now.Sub(e.Since), slowStart)}
	if e.Since.IsZero() {
		w.Ramp = 1
	}
	if !a.sampled.IsZero() {
		w.Signal, w.Load, w.Mean, w.Age = signal, a.average, mean, now.Sub(a.sampled)
		w.Feedback = aged(a.feedback*a.braked, 1, a.age(now)-freshPeriods)
	}
	w.Factor = w.Feedback * w.Ramp
	if math.Abs(w.Factor-a.told) < hysteresis*a.told && w.Factor != 1 {
		w.Factor = a.told
	}
	a.told = w.Factor
	return w
}

// aged pulls what a load has made to what is true without it, by half for each period that it is too old.
func aged(x, without, periods float64) float64 {
	switch {
	case periods <= 0:
		return x
	case periods >= 10: // a thousandth is nothing
		return without
	default:
		return without + (x-without)*math.Pow(0.5, periods)
	}
}

// ramp is the part of its weight that an endpoint has which is up for so long: it grows in steps, since each is a change.
func ramp(up, slowStart time.Duration) float64 {
	if up >= slowStart || slowStart <= 0 { // up may lie in the future: a clock was set back
		return 1
	}
	part := math.Floor(rampStep*float64(max(up, 0))/float64(slowStart)) / rampStep
	return max(part, rampFloor)
}

// again is when time alone changes a weight: it ages, or ramps.
func (b *Balancer) again(now time.Time, s Service, weights []Weight) time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(b.spill.again(now))
	for i, w := range weights {
		if w.Ramp < 1 {
			e := s.Endpoints[i]
			part := max(s.SlowStart/rampStep, 1)
			sooner(e.Since.Add((max(now.Sub(e.Since), 0)/part + 1) * part))
		}
		if a := &b.accounts[i]; w.Signal != NoSignal && w.Feedback != 1 {
			fresh := a.sampled.Add(freshPeriods * a.every())
			sooner(fresh)
			if !fresh.After(now) {
				sooner(now.Add(a.every()))
			}
		}
	}
	return next
}
