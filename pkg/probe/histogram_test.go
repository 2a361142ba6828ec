package probe

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBucketsAreAccurate(t *testing.T) {
	t.Parallel()
	last := -1
	for v := int64(0); v < 1<<histogramBits; v += 1 + v/1000 {
		b := bucket(v)
		if b < last || b >= histogramBuckets {
			t.Fatalf("%d ns lies in bucket %d after bucket %d of %d", v, b, last, histogramBuckets)
		}
		last = b
		if off := math.Abs(float64(middle(b) - v)); off > 0.004*float64(v) {
			t.Fatalf("%d ns lies in the bucket of %d ns", v, middle(b))
		}
	}
}

func TestHistogramEdges(t *testing.T) {
	t.Parallel()
	var h histogram
	if got := h.percentiles(); got != (Percentiles{}) {
		t.Errorf("without values: %+v", got)
	}
	h.add(-5)
	if got := h.percentiles(); got != (Percentiles{}) {
		t.Errorf("a negative duration: %+v, want 0", got)
	}
	h.add(math.MaxInt64)
	if got := h.quantile(1); got < 1<<(histogramBits-1) || h.max != math.MaxInt64 {
		t.Errorf("beyond the last bucket: %d, max %d", got, h.max)
	}
}

func TestHistogramAgainstSorting(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		var h histogram
		values := make([]int64, 1+random.IntN(2000))
		for i := range values {
			values[i] = int64(math.Exp(random.Float64() * math.Log(2e9)))
			h.add(values[i])
		}
		slices.Sort(values)
		for _, q := range []float64{0.5, 0.9, 0.99, 1} {
			want := float64(values[max(int(math.Ceil(q*float64(len(values)))), 1)-1])
			if got := float64(h.quantile(q)); math.Abs(got-want) > 0.01*want {
				t.Errorf("quantile %v of %d values: %v, want %v", q, len(values), got, want)
			}
		}
	}
}
