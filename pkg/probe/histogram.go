package probe

import (
	"math"
	"math/bits"
	"time"
)

// A histogram has buckets of 1 ns up to 256 ns, then 128 per power of two up to 137 s: the middle of a bucket is less
// than 0.4 % away from every value in it.
const (
	histogramBits    = 37
	histogramExact   = 256
	histogramPerBit  = 128
	histogramBuckets = histogramExact + (histogramBits-8)*histogramPerBit
)

// A histogram counts durations in bounded memory.
type histogram struct {
	counts [histogramBuckets]uint64
	n      uint64
	max    int64
}

func (h *histogram) add(ns int64) {
	ns = max(ns, 0)
	h.counts[bucket(ns)]++
	h.n++
	h.max = max(h.max, ns)
}

func bucket(ns int64) int {
	v := min(uint64(ns), 1<<histogramBits-1)
	if v < histogramExact {
		return int(v)
	}
	shift := bits.Len64(v) - 8
	return histogramExact + (shift-1)*histogramPerBit + int(v>>shift) - histogramPerBit
}

// middle returns the value in the middle of a bucket.
func middle(bucket int) int64 {
	if bucket < histogramExact {
		return int64(bucket)
	}
	shift := (bucket-histogramExact)/histogramPerBit + 1
	return floor(bucket) + int64(1)<<(shift-1)
}

// quantile returns the smallest counted value that at least the share q of all values does not exceed, within the
// histogram's accuracy.
func (h *histogram) quantile(q float64) int64 {
	rank := max(uint64(math.Ceil(q*float64(h.n))), 1)
	for i, c := range h.counts {
		if c >= rank {
			return min(middle(i), h.max)
		}
		rank -= c
	}
	return h.max
}

// percentiles returns what a report shows; zero without values.
func (h *histogram) percentiles() Percentiles {
	if h.n == 0 {
		return Percentiles{}
	}
	return Percentiles{P50: ms(h.quantile(0.5)), P90: ms(h.quantile(0.9)), P99: ms(h.quantile(0.99)), Max: ms(h.max)}
}

// maxBins bounds the bins of one site in a report.
const maxBins = 100

// bins returns the distribution for a report: as fine as at most maxBins of them allow.
func (h *histogram) bins() []Bin {
	first, last := 0, len(h.counts)-1
	for first < last && h.counts[first] == 0 {
		first++
	}
	for last > first && h.counts[last] == 0 {
		last--
	}
	width := (last-first)/maxBins + 1
	var bins []Bin
	for from := first; from <= last; from += width {
		b := Bin{FromMs: ms(floor(from)), ToMs: ms(floor(from + width))}
		for _, c := range h.counts[from:min(from+width, len(h.counts))] {
			b.N += int(c)
		}
		if b.N > 0 {
			bins = append(bins, b)
		}
	}
	return bins
}

// floor returns the smallest value of a bucket.
func floor(bucket int) int64 {
	if bucket < histogramExact {
		return int64(bucket)
	}
	shift := (bucket-histogramExact)/histogramPerBit + 1
	return int64((bucket-histogramExact)%histogramPerBit+histogramPerBit) << shift
}

// ms turns nanoseconds into the milliseconds of reports.
func ms(ns int64) float64 { return float64(ns) / float64(time.Millisecond) }
