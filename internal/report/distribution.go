package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Sample is a set of values of one kind.
type Sample struct {
	Name   string
	Values []float64
	Color  Color
}

// CDF draws for every value what share of a sample does not exceed it, each sample as a staircase.
func CDF(title, x string, samples ...Sample) (Picture, error) {
	samples = slices.Clone(samples)
	for i := range samples {
		samples[i].Values = drawable(samples[i].Values)
	}
	low, high := bounds(samples)
	if math.IsInf(low, 0) {
		return Picture{}, nil
	}
	margin := max((high-low)*0.08, high*0.02, 0.01)
	p := newPlot(x, "share of runs, %")
	p.X.Min, p.X.Max = max(0, low-margin), high+margin
	p.Y.Min, p.Y.Max = 0, 100
	desc := "Cumulative distribution of " + x + "."
	var keys []Key
	for _, s := range samples {
		if len(s.Values) == 0 {
			continue
		}
		sorted := slices.Sorted(slices.Values(s.Values))
		p.Add(painter(func(c draw.Canvas, x, y func(float64) vg.Length) { stairs(c, s.Color, sorted, p.X.Max, x, y) }))
		keys = append(keys, Key{s.Name, s.Color})
		desc += fmt.Sprintf(" %s: %d values from %s to %s, median %s.", s.Name, len(sorted), Number(sorted[0]),
			Number(sorted[len(sorted)-1]), Number(Median(s.Values)))
	}
	result, err := picture(p, title, desc, half, 230)
	if len(samples) > 1 {
		result.Legend = keys
	}
	return result, err
}

// stairs draws one staircase, with a dot at each value where there are few.
func stairs(c draw.Canvas, color Color, sorted []float64, end float64, x, y func(float64) vg.Length) {
	var line, dots vg.Path
	n := float64(len(sorted))
	line.Move(vg.Point{X: x(sorted[0]), Y: y(0)})
	for i, v := range sorted {
		if i+1 < len(sorted) && sorted[i+1] == v {
			continue // one step for equal values
		}
		line.Line(vg.Point{X: x(v), Y: line[len(line)-1].Pos.Y})
		line.Line(vg.Point{X: x(v), Y: y(100 * float64(i+1) / n)})
		if n <= 50 {
			box(&dots, x(v)-2, y(100*float64(i+1)/n)-2, x(v)+2, y(100*float64(i+1)/n)+2)
		}
	}
	line.Line(vg.Point{X: x(end), Y: y(100)})
	stroke(c, draw.LineStyle{Color: color, Width: 1.8}, line)
	fill(c, color, dots)
}

// Histogram draws how many values fall into bins of equal width: a multiple of quantum (of which the values are
// multiples; 0: of nothing).
func Histogram(title, x string, s Sample, quantum float64) (Picture, error) {
	if len(s.Values) == 0 {
		return Picture{}, nil
	}
	s.Values = drawable(s.Values)
	low, width, counts := bin(s.Values, quantum)
	top := slices.Max(counts)
	p := newPlot(x, "runs")
	p.X.Min, p.X.Max = low, low+width*float64(len(counts))
	p.Y.Min, p.Y.Max = 0, float64(top)*1.08
	p.Y.Tick.Marker = wholeTicks{}
	p.Add(painter(func(c draw.Canvas, x, y func(float64) vg.Length) {
		var bars vg.Path
		for i, n := range counts {
			if n > 0 {
				from := low + width*float64(i)
				box(&bars, x(from)+0.5, y(0), x(from+width)-0.5, y(float64(n)))
			}
		}
		fill(c, s.Color, bars)
	}))
	desc := fmt.Sprintf("Histogram of %d values in bins of %s from %s to %s; the fullest bin has %d.", len(s.Values),
		Number(width), Number(low), Number(p.X.Max), top)
	return picture(p, title, desc, half, 230)
}

// bin counts values in bins of a round width. Values that are multiples of quantum lie in the middle of the finest bins.
func bin(values []float64, quantum float64) (low, width float64, counts []int) {
	smallest, largest := slices.Min(values), slices.Max(values)
	wanted := min(40, 5+2*math.Sqrt(float64(len(values))))
	if largest-smallest > 1e-9*max(math.Abs(largest), 1e-3) {
		width = niceWidth((largest - smallest) / wanted)
	}
	if quantum = within(quantum); quantum > 1e-6 {
		width = quantum * max(1, math.Ceil(width/quantum-1e-9))
		smallest -= quantum / 2
	}
	if width == 0 {
		width = max(1, largest/20)
		smallest -= width / 2
	}
	low = smallest
	if quantum <= 1e-6 && largest > slices.Min(values) {
		low = math.Floor(smallest/width) * width
	}
	counts = make([]int, int((largest-low)/width)+1)
	for _, v := range values {
		counts[int((v-low)/width)]++
	}
	return low, width, counts
}

// niceWidth rounds up to 1, 2 or 5 times a power of ten; 0 stays 0.
func niceWidth(w float64) float64 {
	if w <= 0 {
		return 0
	}
	power := math.Pow(10, math.Floor(math.Log10(w)))
	for _, digit := range []float64{1, 2, 5} {
		if digit*power >= w*0.999 {
			return digit * power
		}
	}
	return 10 * power
}

// wholeTicks are those of counts.
type wholeTicks struct{}

func (wholeTicks) Ticks(low, high float64) []plot.Tick {
	var whole []plot.Tick
	for _, t := range niceTicks(5).Ticks(low, high) {
		if t.Value == math.Trunc(t.Value) {
			whole = append(whole, plot.Tick{Value: t.Value, Label: fmt.Sprintf("%.0f", t.Value)})
		}
	}
	return whole
}

// Median returns the middle of values, which must not be empty.
func Median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// limit bounds what pictures draw, in the unit of the axis: files may hold any number, drawing must end.
const limit = 1e12

// within returns the nearest value that a picture can show.
func within(v float64) float64 { return min(max(v, -limit), limit) }

func drawable(values []float64) []float64 {
	values = slices.Clone(values)
	for i, v := range values {
		values[i] = within(v)
	}
	return values
}

func bounds(samples []Sample) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, s := range samples {
		for _, v := range s.Values {
			low, high = min(low, v), max(high, v)
		}
	}
	return low, high
}

// leastLog is where logarithmic axes begin at the latest: a nanosecond in milliseconds.
const leastLog = 1e-6

// A Weighted value stands for N values from Low to High.
type Weighted struct {
	Low, High float64
	N         int
}

// A WeightedSample is a Sample too large to keep each value.
type WeightedSample struct {
	Name   string
	Values []Weighted // in order
	Color  Color
}

// Spread draws histogram and CDF of large samples of positive values, on a logarithmic axis.
func Spread(x, of string, samples ...WeightedSample) ([]Picture, error) {
	samples = slices.Clone(samples)
	for i := range samples {
		samples[i].Values = samples[i].drawable()
	}
	low, high, most, keys := math.Inf(1), 0.0, 0.0, []Key{}
	desc := ""
	for _, s := range samples {
		n := 0
		for _, v := range s.Values {
			high, n = max(high, v.High), n+v.N
		}
		for _, v := range s.Values {
			most = max(most, 100*float64(v.N)/float64(n))
		}
		low = min(low, s.least())
		keys = append(keys, Key{s.Name, s.Color})
		desc += fmt.Sprintf(" %s: %d values.", s.Name, n)
	}
	if high == 0 {
		return nil, nil
	}
	counts, shares := logPlot(x, of+" in a bin, %", low, high, most*1.08), logPlot(x, of+", %", low, high, 100)
	for _, s := range samples {
		counts.Add(painter(func(c draw.Canvas, x, y func(float64) vg.Length) { drawBins(c, s, true, low, x, y) }))
		shares.Add(painter(func(c draw.Canvas, x, y func(float64) vg.Length) { drawShares(c, s, low, high, x, y) }))
	}
	for _, s := range samples {
		counts.Add(painter(func(c draw.Canvas, x, y func(float64) vg.Length) { drawBins(c, s, false, low, x, y) }))
	}
	h, err := picture(counts, "Histogram", "Histogram of "+x+", logarithmic."+desc, half, 230)
	if err != nil {
		return nil, err
	}
	cdf, err := picture(shares, "Cumulative", "Cumulative distribution of "+x+", logarithmic."+desc, half, 230)
	h.Legend, cdf.Legend = keys, keys
	return []Picture{h, cdf}, err
}

func logPlot(x, y string, low, high, top float64) *plot.Plot {
	p := newPlot(x, y)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, logTicks{}
	p.X.Min, p.X.Max = low/1.03, high*1.03
	p.Y.Min, p.Y.Max = 0, top
	return p
}

// drawBins draws the outline of a histogram over its pale area: what lies behind stays visible.
func drawBins(c draw.Canvas, s WeightedSample, area bool, low float64, x, y func(float64) vg.Length) {
	var bars, line vg.Path
	n, end := s.total(), vg.Length(-1)
	for _, v := range s.Values {
		left, right, top := x(max(v.Low, low)), x(max(v.High, low)), y(100*float64(v.N)/n)
		if right <= left {
			continue
		}
		box(&bars, left, y(0), right, top)
		if left-end > 0.01 { // not beside the bin before
			if end >= 0 {
				line.Line(vg.Point{X: end, Y: y(0)})
			}
			line.Move(vg.Point{X: left, Y: y(0)})
		}
		line.Line(vg.Point{X: left, Y: top})
		line.Line(vg.Point{X: right, Y: top})
		end = right
	}
	if area {
		fill(c, s.Color.Pale(), bars)
	} else if len(line) > 0 {
		line.Line(vg.Point{X: end, Y: y(0)})
		stroke(c, draw.LineStyle{Color: s.Color, Width: 1.2}, line)
	}
}

func drawShares(c draw.Canvas, s WeightedSample, low, high float64, x, y func(float64) vg.Length) {
	if len(s.Values) == 0 {
		return
	}
	var line vg.Path
	n, sum := s.total(), 0
	line.Move(vg.Point{X: x(max(s.Values[0].Low, low)), Y: y(0)})
	for _, v := range s.Values {
		line.Line(vg.Point{X: x(max(v.Low, low)), Y: y(100 * float64(sum) / n)})
		sum += v.N
		line.Line(vg.Point{X: x(max(v.High, low)), Y: y(100 * float64(sum) / n)})
	}
	line.Line(vg.Point{X: x(high), Y: y(100)})
	stroke(c, draw.LineStyle{Color: s.Color, Width: 1.8}, line)
}

// drawable returns the values that a logarithmic axis can show, within the limits of all pictures.
func (s WeightedSample) drawable() []Weighted {
	var values []Weighted
	for _, v := range s.Values {
		v.Low, v.High = max(within(v.Low), 0), within(v.High)
		if v.N > 0 && v.High > max(v.Low, leastLog) {
			values = append(values, v)
		}
	}
	return values
}

// least returns where a picture of the sample may begin: one value in a thousand may be smaller.
func (s WeightedSample) least() float64 {
	few, sum := s.total()/1000, 0.0
	for _, v := range s.Values {
		if sum += float64(v.N); sum > few {
			return max(v.Low, leastLog)
		}
	}
	return math.Inf(1)
}

func (s WeightedSample) total() float64 {
	n := 0
	for _, v := range s.Values {
		n += v.N
	}
	return float64(n)
}

// logTicks are at 1, 2 and 5 times the powers of ten, or closer where the range is small.
type logTicks struct{}

func (logTicks) Ticks(low, high float64) []plot.Tick {
	digits := []float64{1, 2, 5}
	switch ratio := high / low; {
	case ratio > 300:
		digits = []float64{1}
	case ratio < 1.5:
		return niceTicks(5).Ticks(low, high)
	case ratio < 6:
		digits = []float64{1, 1.5, 2, 3, 4, 5, 7}
	}
	var ticks []plot.Tick
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for _, d := range digits {
			if v := d * power; v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprintf("%.4g", v)})
			}
		}
	}
	slices.SortFunc(ticks, func(a, b plot.Tick) int { return cmp.Compare(a.Value, b.Value) })
	return ticks
}
