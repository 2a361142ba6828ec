package lab

import (
	"math"

	"github.com/anyedge/anyedge/pkg/probe"
)

const (
	// probePoints is how many points a prober keeps: at a probe each millisecond, each of a run of more than a minute.
	probePoints = "100000"
	// courseSteps is how many steps of time around a fault a result keeps at most.
	courseSteps = 400
)

// course returns what the prober saw around the fault; times count from it. The longer the failover took, the more of it.
func (f failure) course(r probe.Report) *probe.Series {
	if len(r.Series.Points) == 0 {
		return nil
	}
	fault, repair := float64(f.at-r.StartMonoNs)/1e6, float64(f.answer-f.at)/1e6
	from, to := -min(max(repair, 50), 1000), min(max(3*repair, 150), 3000)
	step := r.Series.StepMs * max(1, math.Ceil((to-from)/r.Series.StepMs/courseSteps))
	c := &probe.Series{StepMs: step}
	for _, p := range r.Series.Points {
		if p.AtMs -= fault; p.AtMs < from || p.AtMs >= to {
			continue
		}
		p.AtMs = from + math.Floor((p.AtMs-from)/step)*step
		c.Points = pooled(c.Points, p)
	}
	return c
}

// pooled adds a point to those of its step and site, if there is one.
func pooled(points []probe.Point, p probe.Point) []probe.Point {
	for i := len(points) - 1; i >= 0 && points[i].AtMs == p.AtMs; i-- {
		if old := &points[i]; old.Site == p.Site {
			n := float64(old.Probes + p.Probes)
			old.MeanMs = (old.MeanMs*float64(old.Probes) + p.MeanMs*float64(p.Probes)) / n
			old.MinMs, old.MaxMs = min(old.MinMs, p.MinMs), max(old.MaxMs, p.MaxMs)
			old.Probes += p.Probes
			return points
		}
	}
	return append(points, p)
}
