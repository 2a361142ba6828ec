package steering

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
)

// maxCycle is how many turns weights are rounded to when no shorter cycle gives each its exact share; more endpoints than a
// quarter of it need a longer one.
const maxCycle = 1024

// shares turns weights into numbers of turns, at least one each: exact ones where small numbers do, else within one turn
// of the exact share of the cycle. (A weight that is due less than one turn takes it from the others.)
func shares(weights []float64) []int {
	cycle := max(maxCycle, 4*len(weights))
	if n := exact(weights, cycle); n != nil {
		return n
	}
	// The weights may be so large that their sum is not a number.
	largest, sum := slices.Max(weights), 0.0
	for _, w := range weights {
		sum += w / largest
	}
	type rest struct {
		index int
		part  float64
	}
	turns, rests, left := make([]int, len(weights)), []rest(nil), cycle
	for i, w := range weights {
		quota := w / largest / sum * float64(cycle)
		turns[i] = int(quota)
		left -= turns[i]
		rests = append(rests, rest{i, quota - math.Trunc(quota)})
	}
	slices.SortStableFunc(rests, func(a, b rest) int { return cmp.Compare(b.part, a.part) })
	for i := range left {
		turns[rests[i%len(rests)].index]++
	}
	for i := range turns {
		turns[i] = max(turns[i], 1)
	}
	return turns
}

// exact returns the smallest numbers of turns whose ratios are those of the weights; nil: none below cycle was found.
func exact(weights []float64, cycle int) []int {
	least := slices.Min(weights)
	turns := make([]int, len(weights))
	for scale := 1.0; scale <= 20; scale++ {
		fits, sum := true, 0
		for i, w := range weights {
			n := w / least * scale
			if n > float64(cycle) || math.Abs(n-math.Round(n)) > 1e-9*n {
				fits = false
				break
			}
			turns[i] = int(math.Round(n))
			sum += turns[i]
		}
		if fits && sum <= cycle {
			return turns
		}
	}
	return nil
}

// order spreads turns over a cycle so evenly that after any part of it, whoever is due x turns has had more than x-1 and
// less than x+1: smooth weighted round robin, by the earliest deadline first (Baruah et al., "Proportionate Progress",
// Algorithmica 15, 1996: the j-th turn of n in a cycle of c is neither before (j-1)c/n nor after jc/n). Who is due lags turns
// when the cycle begins, nil: nobody is, has all of them so much sooner; at the end of the cycle it is due them again.
func order(turns []int, lags []float64) []int32 {
	var all []turn
	cycle := 0
	for _, n := range turns {
		cycle += n
	}
	for i, n := range turns {
		shift := 0 // of a cycle, by the lag
		if lags != nil {
			shift = int(math.Round(lags[i] * float64(cycle)))
		}
		for j := range n {
			all = append(all, turn{int32(i), floorDiv(j*cycle-shift, n), -floorDiv(shift-(j+1)*cycle, n)})
		}
	}
	slices.SortStableFunc(all, func(a, b turn) int { return cmp.Compare(a.from, b.from) })
	list, due := make([]int32, 0, cycle), deadlines(nil)
	for at := range cycle {
		// Lags are rounded: nobody may be due yet.
		for len(all) > 0 && (all[0].from <= at || len(due) == 0) {
			heap.Push(&due, all[0])
			all = all[1:]
		}
		list = append(list, heap.Pop(&due).(turn).index)
	}
	return list
}

// floorDiv is a/b rounded down; b is above 0.
func floorDiv(a, b int) int {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

// turn is one place in the cycle that an endpoint is due, not before from and before to.
type turn struct {
	index    int32
	from, to int
}

// deadlines is a heap: who has to come first.
type deadlines []turn

func (d deadlines) Len() int { return len(d) }
func (d deadlines) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(d[i].to, d[j].to), cmp.Compare(d[i].index, d[j].index)) < 0
}
func (d deadlines) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)   { *d = append(*d, x.(turn)) }
func (d *deadlines) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}
