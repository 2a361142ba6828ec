package lab

import (
	"testing"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

func TestCourse(t *testing.T) {
	msec := int64(time.Millisecond)
	r := probe.Report{StartMonoNs: 5 * msec, Series: probe.Series{StepMs: 1}}
	for n := range 20_000 {
		p := probe.Point{AtMs: float64(n), Site: "mec-1", Probes: 1, MinMs: 12, MeanMs: 12, MaxMs: 12}
		switch {
		case n >= 10_000 && n < 10_020:
			p = probe.Point{AtMs: float64(n), Probes: 1}
		case n >= 10_020:
			p.Site, p.MinMs, p.MeanMs, p.MaxMs = "mec-2", 24, float64(24+n%2), float64(24+n%2)
		}
		r.Series.Points = append(r.Series.Points, p)
	}
	at := 10_005 * msec // by the monotonic clock
	tests := []struct {
		name                string
		repair              int64
		step, first, last   float64
		lost, before, after int
	}{
		{"short: each probe", 26, 1, -50, 150, 20, 50, 130},
		{"long: steps of several", 800, 8, -800, 2400, 20, 800, 2380},
		{"too long to keep all", 30_000, 10, -1000, 3000, 20, 1000, 2980},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := failure{at: at, answer: at + tt.repair*msec}.course(r)
			n := map[string]int{}
			for _, p := range c.Points {
				n[p.Site] += p.Probes
			}
			first, last := c.Points[0], c.Points[len(c.Points)-1]
			if c.StepMs != tt.step || first.AtMs != tt.first || last.AtMs != tt.last-tt.step {
				t.Errorf("steps of %v ms from %v to %v, want %v from %v to %v", c.StepMs, first.AtMs, last.AtMs, tt.step, tt.first, tt.last)
			}
			if n[""] != tt.lost || n["mec-1"] != tt.before || n["mec-2"] != tt.after {
				t.Errorf("probes %v, want %d lost, %d by mec-1, %d by mec-2", n, tt.lost, tt.before, tt.after)
			}
			if tt.step > 1 && (last.MinMs != 24 || last.MaxMs != 25 || last.MeanMs <= 24 || last.MeanMs >= 25) {
				t.Errorf("round trips of the last step: %+v", last)
			}
		})
	}
	if c := (failure{}).course(probe.Report{}); c != nil {
		t.Errorf("of an empty report: %+v", c)
	}
}
