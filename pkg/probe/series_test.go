package probe

import (
	"math/rand/v2"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestSeries(t *testing.T) {
	t.Parallel()
	s := story{probes: 8, skip: []int{1}, answers: join(every("a", 0, 1), every("a", 2, 3), []reception{
		{seq: 5, at: 54, site: "b"}, {seq: 6, at: 68, site: "b"}, {seq: 7, at: 72, site: "a"},
	})}
	tests := []struct {
		name   string
		merges int
		want   Series
	}{
		{"each probe", 0, Series{StepMs: 10, Points: []Point{
			{0, "a", 1, 2, 2, 2}, {20, "a", 1, 2, 2, 2}, {AtMs: 30, Probes: 1}, {AtMs: 40, Probes: 1},
			{50, "b", 1, 4, 4, 4}, {60, "b", 1, 8, 8, 8}, {70, "a", 1, 2, 2, 2},
		}}},
		{"by two", 1, Series{StepMs: 20, Points: []Point{
			{0, "a", 1, 2, 2, 2}, {20, "a", 1, 2, 2, 2}, {AtMs: 20, Probes: 1}, {AtMs: 40, Probes: 1},
			{40, "b", 1, 4, 4, 4}, {60, "b", 1, 8, 8, 8}, {60, "a", 1, 2, 2, 2},
		}}},
		{"all", 3, Series{StepMs: 80, Points: []Point{
			{0, "a", 3, 2, 2, 2}, {AtMs: 0, Probes: 2}, {0, "b", 2, 4, 6, 8},
		}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tally, _ := s.play(10 * time.Millisecond)
			tally.settle(1 << 62)
			for range tt.merges {
				tally.series.merge()
			}
			var r Report
			tally.report(&r, 10*time.Millisecond)
			if diff := gocmp.Diff(tt.want, r.Series, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// However long the run and however many the sites, a series has no more points than asked for, keeps every probe, and
// allocates nothing on the way.
func TestSeriesIsBounded(t *testing.T) { // alone: it counts allocations
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s, seq := newSeries(minPoints), uint64(0)
	const probes = 20_000
	allocs := testing.AllocsPerRun(probes-1, func() { // and once to warm up
		s.add(seq, random.IntN(maxSites+2)-1, 1000)
		seq++
	})
	if allocs != 0 || cap(s.points) != minPoints {
		t.Errorf("%v allocations for a probe, room for %d points, want 0 and %d", allocs, cap(s.points), minPoints)
	}
	sum, last := 0, -1.0
	for _, p := range s.report(time.Millisecond, func(int) string { return "x" }).Points {
		if p.AtMs < last {
			t.Errorf("point at %v ms follows that at %v ms", p.AtMs, last)
		}
		sum, last = sum+p.Probes, p.AtMs
	}
	if sum != probes {
		t.Errorf("%d probes in all points, want %d", sum, probes)
	}
}

func TestBins(t *testing.T) {
	t.Parallel()
	var h histogram
	if got := h.bins(); len(got) != 0 {
		t.Errorf("no values: %v", got)
	}
	h.add(0)
	if diff := gocmp.Diff([]Bin{{0, 1e-6, 1}}, h.bins()); diff != "" {
		t.Errorf("one value (-want +got)\n%s", diff)
	}
	values := []int64{0, 1, 255, 256, 12_000_000, 12_000_001, 24_500_000, 1 << 40}
	for _, v := range values[1:] {
		h.add(v)
	}
	bins, n := h.bins(), 0
	for i, b := range bins {
		if n += b.N; b.N == 0 || b.FromMs >= b.ToMs || i > 0 && b.FromMs < bins[i-1].ToMs {
			t.Errorf("bin %d: %+v", i, b)
		}
	}
	if n != len(values) || len(bins) > maxBins {
		t.Errorf("%d values in %d bins, want %d in at most %d", n, len(bins), len(values), maxBins)
	}
}
