package report

import (
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Lane is a row of what lasted and what happened at a moment.
type Lane struct {
	Name  string
	Spans []Span
	Marks []float64
}

// A Span lasted; later ones lie upon earlier ones.
type Span struct {
	From, To float64
	Color    Color
}

// Lanes draws rows of one time, the first one on top, as far as they lie within the time shown.
func Lanes(title, x string, from, to float64, lanes []Lane) (Picture, error) {
	from, to = within(from), within(to)
	if len(lanes) == 0 || !(from < to) {
		return Picture{}, nil
	}
	p := newPlot(x, "")
	p.X.Min, p.X.Max = from, to
	p.Y.Min, p.Y.Max = -0.6, float64(len(lanes))-0.4
	p.Y.Tick.Marker, p.Y.Tick.Length, p.Y.Padding = laneNames(lanes), 0, 5
	p.Y.LineStyle.Width = 0
	p.Add(painter(func(c draw.Canvas, x, y func(float64) vg.Length) { drawLanes(c, lanes, from, to, x, y) }))
	desc := fmt.Sprintf("%d rows from %s to %s.", len(lanes), Ms(from), Ms(to))
	return picture(p, title, desc, wide, 48+24*vg.Length(len(lanes)))
}

func drawLanes(c draw.Canvas, lanes []Lane, from, to float64, x, y func(float64) vg.Length) {
	thickness := (y(1) - y(0)) * 0.55 / 2
	var marks vg.Path
	for i, l := range lanes {
		middle := y(float64(len(lanes) - 1 - i))
		for _, s := range l.Spans {
			if s.To >= from && s.From <= to {
				var path vg.Path
				left := x(max(from, s.From))
				box(&path, left, middle-thickness, max(x(min(to, s.To)), left+0.7), middle+thickness)
				fill(c, s.Color, path)
			}
		}
		for _, at := range l.Marks {
			if at >= from && at <= to {
				marks.Move(vg.Point{X: x(at), Y: middle - thickness*1.3})
				marks.Line(vg.Point{X: x(at), Y: middle + thickness*1.3})
			}
		}
	}
	stroke(c, draw.LineStyle{Color: Ink, Width: 1.2}, marks)
}

func laneNames(lanes []Lane) plot.Ticker {
	var ticks plot.ConstantTicks
	for i, l := range slices.Backward(lanes) {
		ticks = append(ticks, plot.Tick{Value: float64(len(lanes) - 1 - i), Label: clean(l.Name)})
	}
	return ticks
}
