package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"regexp"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// A Color is one of the page's own: the page says how it looks in light, in dark and on paper.
type Color int

// Colors of what is not a site. Those of sites follow: see Site.
const (
	Ink  Color = iota // text
	Soft              // axes
	Grid
	Bad // losses
	badSoft
	siteColors
)

// palette is how many colours of sites there are; each has a soft one.
const palette = 8

// Site returns the colour of the site with a number; they repeat.
func Site(n int) Color { return siteColors + 2*Color(n%palette) }

// Pale returns the paler sister of a site's colour, for areas.
func (c Color) Pale() Color { return c + 1 }

func (c Color) css() string {
	switch {
	case c == Ink:
		return "var(--ink)"
	case c == Soft:
		return "var(--soft)"
	case c == Grid:
		return "var(--grid)"
	case c == Bad:
		return "var(--bad)"
	case c == badSoft:
		return "var(--bad-soft)"
	case (c-siteColors)%2 == 0:
		return fmt.Sprintf("var(--s%d)", (c-siteColors)/2)
	default:
		return fmt.Sprintf("var(--s%d-soft)", (c-siteColors)/2)
	}
}

// CSS returns the colour for an SVG attribute `style`.
func (c Color) CSS() string { return c.css() }

// RGBA makes a Color a color.Color that the drawing library writes into the SVG, where it is found and replaced.
func (c Color) RGBA() (r, g, b, a uint32) { return color.RGBA{0xA5, 0x5A, uint8(c), 0xFF}.RGBA() }

var (
	drawnColor = regexp.MustCompile(`(fill|stroke):#A55A([0-9A-F]{2})`)
	drawnFont  = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;?`)
)

const (
	wide = 720 * vg.Length(1)
	half = 350 * vg.Length(1)
)

// newPlot returns an empty plot in the page's manner.
func newPlot(x, y string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		text := font.Font{Typeface: "Liberation", Variant: "Sans"}
		a.Label.TextStyle.Font, a.Tick.Label.Font = font.From(text, 10), font.From(text, 9.5)
		a.Label.TextStyle.Color, a.Tick.Label.Color = Soft, Soft
		a.Color, a.Tick.Color = Grid, Grid
		a.LineStyle.Width, a.Tick.LineStyle.Width = 1, 1
		a.Tick.Length = 3
		a.Padding = 0
		a.Label.Padding = 4
	}
	p.X.Label.Text, p.Y.Label.Text = x, y
	p.X.Tick.Marker, p.Y.Tick.Marker = niceTicks(6), niceTicks(5)
	grid := plotter.NewGrid()
	grid.Horizontal = draw.LineStyle{Color: Grid, Width: 0.75}
	grid.Vertical = grid.Horizontal
	p.Add(grid)
	return p
}

// niceTicks are about so many, at round values.
type niceTicks int

func (n niceTicks) Ticks(low, high float64) []plot.Tick {
	step := niceWidth((high - low) / float64(n))
	if step <= 0 || math.IsInf(step, 0) {
		return nil
	}
	digits := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	var ticks []plot.Tick
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		v := i*step + 0 // never -0
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', digits, 64)})
		if len(ticks) > 3*int(n)+3 {
			break // of figures too large to count on in steps
		}
	}
	return ticks
}

// A painter draws in the coordinates of a plot's data.
type painter func(c draw.Canvas, x, y func(float64) vg.Length)

// Plot implements plot.Plotter.
func (p painter) Plot(c draw.Canvas, of *plot.Plot) {
	x, y := of.Transforms(&c)
	p(c, x, y)
}

// picture draws a plot.
func picture(p *plot.Plot, title, desc string, w, h vg.Length) (Picture, error) {
	canvas := vgsvg.New(w, h)
	inner := draw.New(canvas)
	p.Draw(draw.Crop(inner, 0, -8, 0, -6)) // room for the last tick's label
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return Picture{}, fmt.Errorf("draw %s: %w", title, err)
	}
	_, body, ok := strings.Cut(b.String(), "xlink\">\n")
	if !ok {
		return Picture{}, fmt.Errorf("draw %s: not the SVG that the drawing library used to write", title)
	}
	body = strings.TrimSuffix(strings.TrimSpace(body), "</svg>")
	body = drawnFont.ReplaceAllString(body, "")
	body = drawnColor.ReplaceAllStringFunc(body, func(found string) string {
		property, hex, _ := strings.Cut(found, ":#A55A")
		n, _ := strconv.ParseUint(hex, 16, 8) // matched
		return property + ":" + Color(n).css()
	})
	result := Drawn(title, desc, w.Points(), h.Points(), body)
	result.Half = w == half
	return result, nil
}

// box adds a rectangle to a path.
func box(path *vg.Path, x0, y0, x1, y1 vg.Length) {
	path.Move(vg.Point{X: x0, Y: y0})
	path.Line(vg.Point{X: x1, Y: y0})
	path.Line(vg.Point{X: x1, Y: y1})
	path.Line(vg.Point{X: x0, Y: y1})
	path.Close()
}

// fill paints an area in one colour.
func fill(c draw.Canvas, color Color, path vg.Path) {
	if len(path) > 0 {
		c.SetColor(color)
		c.Fill(path)
	}
}

// stroke draws a line.
func stroke(c draw.Canvas, style draw.LineStyle, path vg.Path) {
	if len(path) > 0 {
		c.SetLineStyle(style)
		c.Stroke(path)
	}
}
