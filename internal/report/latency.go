package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/anyedge/anyedge/pkg/probe"
)

// A Mark is a moment in a picture over time.
type Mark struct {
	AtMs float64
	Name string
}

// Sites gives every site a colour: the same in all pictures of a page.
func Sites(names []string) map[string]Color {
	colors := map[string]Color{}
	for i, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		colors[name] = Site(i)
	}
	return colors
}

// Latency draws the course of a run: round trips coloured by site, losses marked.
func Latency(title, x string, s probe.Series, colors map[string]Color, marks ...Mark) (Picture, error) {
	if len(s.Points) == 0 {
		return Picture{}, nil
	}
	s = drawableSeries(s)
	d := latency{Series: s, colors: colors, marks: marks, unit: 1}
	first, last := s.Points[0].AtMs, s.Points[len(s.Points)-1].AtMs+s.StepMs
	if last-first > 5000 {
		d.unit = 1000
		x += ", s"
	} else {
		x += ", ms"
	}
	p := newPlot(x, "round trip, ms")
	p.X.Min, p.X.Max = first/d.unit, last/d.unit
	p.X.Tick.Marker = niceTicks(10)
	p.Y.Min, p.Y.Max = 0, d.top()
	p.Add(painter(d.draw))
	result, err := picture(p, title, d.describe(), wide, 250)
	result.Legend = d.legend()
	return result, err
}

// drawableSeries is in order, and within the limits of all pictures.
func drawableSeries(s probe.Series) probe.Series {
	s.StepMs = max(within(s.StepMs), 1e-3)
	s.Points = slices.Clone(s.Points)
	for i := range s.Points {
		p := &s.Points[i]
		p.AtMs, p.MinMs, p.MeanMs, p.MaxMs = within(p.AtMs), max(0, within(p.MinMs)), max(0, within(p.MeanMs)), max(0, within(p.MaxMs))
	}
	slices.SortStableFunc(s.Points, func(a, b probe.Point) int { return cmp.Compare(a.AtMs, b.AtMs) })
	return s
}

// headroom is what the names of marks need above everything.
const headroom = 16

type latency struct {
	probe.Series
	colors map[string]Color
	marks  []Mark
	unit   float64 // ms of one on the x axis
}

// top returns the upper end of the y axis.
func (d latency) top() float64 {
	if top := d.highest(); top > 0 {
		return top * 1.2
	}
	return 1
}

func (d latency) highest() (highest float64) {
	for _, p := range d.Points {
		highest = max(highest, p.MaxMs)
	}
	return highest
}

func (d latency) draw(c draw.Canvas, x, y func(float64) vg.Length) {
	at := func(ms float64) vg.Length { return x(ms / d.unit) }
	d.drawLosses(c, at)
	for _, site := range d.sites() {
		d.drawSite(c, site, at, y)
	}
	d.drawMarks(c, at)
}

// drawLosses paints the time in which probes were lost, with a bar at the foot that is seen in black and white, too.
func (d latency) drawLosses(c draw.Canvas, at func(float64) vg.Length) {
	var area, foot vg.Path
	for i := 0; i < len(d.Points); {
		if d.Points[i].Site != "" {
			i++
			continue
		}
		from := d.Points[i].AtMs
		to := from
		for ; i < len(d.Points) && (d.Points[i].Site == "" || d.Points[i].AtMs < to) && d.Points[i].AtMs <= to+d.StepMs/2; i++ {
			if d.Points[i].Site == "" {
				to = d.Points[i].AtMs + d.StepMs
			}
		}
		left := at(from)
		right := max(at(to), left+1.2)
		box(&area, left, c.Min.Y, right, c.Max.Y-headroom)
		box(&foot, left, c.Min.Y, right, c.Min.Y+5)
	}
	fill(c, badSoft, area)
	fill(c, Bad, foot)
}

// drawSite draws a bar from the shortest to the longest round trip of each step, and a dot at their mean.
func (d latency) drawSite(c draw.Canvas, site string, at, y func(float64) vg.Length) {
	var ranges, dots vg.Path
	size := vg.Length(1.7)
	if len(d.Points) > 500 {
		size = 1.1
	}
	for _, p := range d.Points {
		if p.Site != site {
			continue
		}
		mid := at(p.AtMs + d.StepMs/2)
		if low, high := y(p.MinMs), y(p.MaxMs); high-low > size {
			box(&ranges, mid-0.6, low, mid+0.6, high)
		}
		box(&dots, mid-size, y(p.MeanMs)-size, mid+size, y(p.MeanMs)+size)
	}
	fill(c, d.colors[site].Pale(), ranges)
	fill(c, d.colors[site], dots)
}

func (d latency) drawMarks(c draw.Canvas, at func(float64) vg.Length) {
	for _, m := range d.marks {
		var line vg.Path
		line.Move(vg.Point{X: at(m.AtMs), Y: c.Min.Y})
		line.Line(vg.Point{X: at(m.AtMs), Y: c.Max.Y})
		stroke(c, draw.LineStyle{Color: Ink, Width: 1, Dashes: []vg.Length{4, 3}}, line)
		label := plot.New().X.Label.TextStyle
		label.Font.Typeface, label.Font.Variant, label.Font.Size = "Liberation", "Sans", 9.5
		label.Color, label.XAlign, label.YAlign = Ink, draw.XLeft, draw.YTop
		c.FillText(label, vg.Point{X: at(m.AtMs) + 4, Y: c.Max.Y - 2}, clean(m.Name))
	}
}

// sites returns those that answered, in the order of their names.
func (d latency) sites() []string {
	var sites []string
	for _, p := range d.Points {
		if p.Site != "" && !slices.Contains(sites, p.Site) {
			sites = append(sites, p.Site)
		}
	}
	slices.Sort(sites)
	return sites
}

func (d latency) lost() (lost int) {
	for _, p := range d.Points {
		if p.Site == "" {
			lost += p.Probes
		}
	}
	return lost
}

func (d latency) legend() []Key {
	var keys []Key
	for _, site := range d.sites() {
		keys = append(keys, Key{site, d.colors[site]})
	}
	if n := d.lost(); n > 0 {
		keys = append(keys, Key{fmt.Sprintf("%d lost", n), Bad})
	}
	return keys
}

func (d latency) describe() string {
	text := fmt.Sprintf("Round trips of probes over time, %s for each point, up to %s.", Ms(d.StepMs), Ms(d.highest()))
	for _, site := range d.sites() {
		n, from, to := 0, math.Inf(1), 0.0
		for _, p := range d.Points {
			if p.Site == site {
				n, from, to = n+p.Probes, min(from, p.MinMs), max(to, p.MaxMs)
			}
		}
		text += fmt.Sprintf(" %s answered %d, in %s to %s.", site, n, Ms(from), Ms(to))
	}
	return text + fmt.Sprintf(" %d were lost.", d.lost())
}

// Ms formats milliseconds for people.
func Ms(ms float64) string { return Number(ms) + " ms" }

// Number formats a figure with three digits that count, and at most three behind the point.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case a < 1:
		return fmt.Sprintf("%.3f", v)
	case a < 10:
		return fmt.Sprintf("%.2f", v)
	case a < 1000:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}
