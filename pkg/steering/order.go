package steering

import (
	"cmp"
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
	cycle := 0
	for _, n := range turns {
		cycle += n
	}
	c := newCalendar(turns, cycle, lags)
	list, due, day := make([]int32, 0, cycle), make(deadlines, 0, len(turns)), 0
	for len(list) < cycle {
		// Lags are rounded: nobody may be due yet.
		for ; day < cycle && (day <= len(list) || len(due) == 0); day++ {
			due = c.release(due, day)
		}
		var next int32
		next, due = due.pop()
		list = append(list, next)
	}
	return list
}

// calendar knows from when on each endpoint is due its next turn: a list of endpoints for each place in the cycle.
type calendar struct {
	turns []int
	shift []int // by the lag, in parts of a turn: 1/cycle
	given []int // turns
	first []int32
	next  []int32 // endpoint of the same day
}

const nobody = -1

func newCalendar(turns []int, cycle int, lags []float64) *calendar {
	n := len(turns)
	c := &calendar{turns: turns, shift: make([]int, n), given: make([]int, n), first: make([]int32, cycle), next: make([]int32, n)}
	for i := range c.first {
		c.first[i] = nobody
	}
	for i := n - 1; i >= 0; i-- {
		if lags != nil {
			c.shift[i] = int(math.Round(lags[i] * float64(cycle)))
		}
		c.enter(i, 0)
	}
	return c
}

// enter puts endpoint i down for the day from which on it is due its next turn, not before today.
func (c *calendar) enter(i, today int) {
	cycle := len(c.first)
	day := min(max(floorDiv(c.given[i]*cycle-c.shift[i], c.turns[i]), today), cycle-1)
	c.next[i], c.first[day] = c.first[day], int32(i)
}

// release adds those that are due from this day on.
func (c *calendar) release(due deadlines, day int) deadlines {
	for c.first[day] != nobody {
		i := int(c.first[day])
		c.first[day] = c.next[i]
		c.given[i]++
		due = due.push(-floorDiv(c.shift[i]-c.given[i]*len(c.first), c.turns[i]), i)
		if c.given[i] < c.turns[i] {
			c.enter(i, day)
		}
	}
	return due
}

// floorDiv is a/b rounded down; b is above 0.
func floorDiv(a, b int) int {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}

// deadlines is a heap of turns: who has to come first is at its root. (That of container/heap allocates.)
type deadlines []deadline

// A deadline holds the place in the cycle before which a turn is due, and the endpoint: the earlier one is less, of two as
// early that of the smaller index.
type deadline int64

func (d deadlines) push(before, index int) deadlines {
	d = append(d, deadline(before)<<32|deadline(index))
	for i := len(d) - 1; i > 0 && d[i] < d[(i-1)/2]; i = (i - 1) / 2 {
		d[i], d[(i-1)/2] = d[(i-1)/2], d[i]
	}
	return d
}

func (d deadlines) pop() (index int32, rest deadlines) {
	index, last := int32(d[0]), len(d)-1
	d[0] = d[last]
	d = d[:last]
	for i := 0; ; {
		least := i
		for _, child := range [...]int{2*i + 1, 2*i + 2} {
			if child < last && d[child] < d[least] {
				least = child
			}
		}
		if least == i {
			return index, d
		}
		d[i], d[least] = d[least], d[i]
		i = least
	}
}
