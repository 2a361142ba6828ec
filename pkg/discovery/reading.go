package discovery

import (
	"math"
	"time"

	"github.com/anyedge/anyedge/pkg/steering"
)

// A reading is what one answer says; NaN is what it does not say.
type reading struct {
	inFlight, latency, cpu float64 // as a gauge tells them
	busy                   counter // seconds that requests took, by requests
	processor              counter // CPU seconds
}

// A counter only grows, until the program that counts begins anew.
type counter struct {
	from     int     // which of the candidates it is; -1: none
	sum, per float64 // per: what sum is told by
}

// newReading returns one that says nothing.
func newReading() reading {
	none := counter{from: -1}
	return reading{inFlight: math.NaN(), latency: math.NaN(), cpu: math.NaN(), busy: none, processor: none}
}

// read takes what the columns of l hold at a time.
func (l *layout) read(values []float64, at time.Time) reading {
	r := newReading()
	for _, column := range l.inFlight {
		if v := values[column]; !math.IsNaN(v) {
			r.inFlight = sane(v)
			break
		}
	}
	r.readLatency(l, values)
	r.readCPU(l, values, at)
	return r
}

func (r *reading) readLatency(l *layout, values []float64) {
	for i, c := range l.latency {
		sum, count, mean := values[c.sum]*c.unit, values[c.count], values[c.mean]*c.unit
		switch {
		case !math.IsNaN(sum) && !math.IsNaN(count):
			r.busy = counter{i, sum, count}
			return
		case !math.IsNaN(mean):
			r.latency = sane(mean)
			return
		}
	}
}

func (r *reading) readCPU(l *layout, values []float64, at time.Time) {
	for i, c := range l.cpu {
		v := values[c.value]
		switch {
		case math.IsNaN(v):
		case c.counter:
			r.processor = counter{i, v, float64(at.UnixNano()) / 1e9}
			return
		default:
			r.cpu = sane(v)
			return
		}
	}
}

// since is what the pod told at a time, given what it had told before.
func (r reading) since(before reading, at time.Time) steering.Load {
	latency, cpu := r.latency, r.cpu
	if math.IsNaN(latency) {
		latency = r.busy.growth(before.busy)
	}
	if math.IsNaN(cpu) {
		cpu = r.processor.growth(before.processor)
	}
	return steering.Load{At: at, InFlight: known(r.inFlight), Latency: known(latency), CPU: known(cpu)}
}

func known(v float64) steering.Reading {
	if math.IsNaN(v) {
		return steering.Reading{}
	}
	return steering.Read(v)
}

// growth is by how much c grew since before, by what it is told by; NaN when that is not known.
func (c counter) growth(before counter) float64 {
	if c.from < 0 || c.from != before.from || c.sum < before.sum || c.per <= before.per {
		return math.NaN()
	}
	return sane((c.sum - before.sum) / (c.per - before.per))
}

// sane is v unless it cannot be what a pod measured.
func sane(v float64) float64 {
	if v >= 0 && !math.IsInf(v, 1) {
		return v
	}
	return math.NaN()
}

// empty tells that the answer says nothing at all.
func (r reading) empty() bool {
	return math.IsNaN(r.inFlight) && math.IsNaN(r.latency) && math.IsNaN(r.cpu) && r.busy.from < 0 && r.processor.from < 0
}
