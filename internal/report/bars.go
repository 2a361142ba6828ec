package report

import (
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Bar is a row of parts one after the other, each in the colour of its number; parts may be 0.
type Bar struct {
	Name  string
	Parts []float64
}

// Bars draws stacked horizontal bars, the first one on top. Parts names what each part of them is.
func Bars(title, x string, parts []string, bars []Bar) (Picture, error) {
	longest := 0.0
	bars = drawableBars(bars)
	for _, b := range bars {
		longest = max(longest, sum(b.Parts))
	}
	if longest == 0 {
		return Picture{}, nil
	}
	p := newPlot(x, "")
	p.X.Min, p.X.Max = 0, longest*1.03
	p.Y.Min, p.Y.Max = -0.6, float64(len(bars))-0.4
	p.Y.Tick.Marker, p.Y.Tick.Length, p.Y.Padding = barNames(bars), 0, 5
	p.Y.LineStyle.Width = 0
	p.Add(painter(func(c draw.Canvas, x, y func(float64) vg.Length) { drawBars(c, bars, len(parts), x, y) }))
	desc := fmt.Sprintf("%d bars; each is a failover, from the fault on. The longest takes %s.", len(bars), Ms(longest))
	result, err := picture(p, title, desc, wide, 48+min(20, 340/vg.Length(len(bars))+7)*vg.Length(len(bars)))
	for i, name := range parts {
		if slices.ContainsFunc(bars, func(b Bar) bool { return b.Parts[i] > 0 }) {
			result.Legend = append(result.Legend, Key{name, Site(i)})
		}
	}
	return result, err
}

func drawableBars(bars []Bar) []Bar {
	bars = slices.Clone(bars)
	for i := range bars {
		bars[i].Parts = drawable(bars[i].Parts)
		for k, part := range bars[i].Parts {
			bars[i].Parts[k] = max(0, part)
		}
	}
	return bars
}

func drawBars(c draw.Canvas, bars []Bar, parts int, x, y func(float64) vg.Length) {
	thickness := (y(1) - y(0)) * 0.7 / 2
	for part := range parts {
		var path vg.Path
		for i, b := range bars {
			middle, from := y(float64(len(bars)-1-i)), sum(b.Parts[:part])
			if b.Parts[part] > 0 {
				box(&path, x(from), middle-thickness, max(x(from+b.Parts[part]), x(from)+0.7), middle+thickness)
			}
		}
		fill(c, Site(part), path)
	}
}

func barNames(bars []Bar) plot.Ticker {
	var ticks plot.ConstantTicks
	for i, b := range bars {
		ticks = append(ticks, plot.Tick{Value: float64(len(bars) - 1 - i), Label: clean(b.Name)})
	}
	return ticks
}

func sum(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}
