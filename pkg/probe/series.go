package probe

import "time"

const (
	// usualPoints is how many points a series has at most by default, minPoints and maxPoints what may be asked for. The
	// least one is more than a step can have: a point for each of maxSites, for others and for losses.
	usualPoints = 1000
	minPoints   = 100
	maxPoints   = 100_000
)

// A Series is the course of a run in a bounded number of points: the longer the run, the more time a point stands for.
type Series struct {
	StepMs float64 `json:"step_ms"` // of the schedule that a point stands for
	Points []Point `json:"points"`  // in the order of time; of one step: a point for each site that answered, one for losses
}

// A Point tells what became of some probes that follow each other. Times are in milliseconds.
type Point struct {
	AtMs   float64 `json:"at_ms"`  // from the start of the run until the step's first probe was due
	Site   string  `json:"site"`   // that answered; empty: nobody did, the probes are lost
	Probes int     `json:"probes"` // how many
	MinMs  float64 `json:"min_ms,omitempty"`
	MeanMs float64 `json:"mean_ms,omitempty"` // round trips, of answered probes
	MaxMs  float64 `json:"max_ms,omitempty"`
}

// lostSite stands for the site of lost probes in a series.
const lostSite = -1

// A series is the Series of a tally. It is told the final state of every sent probe in order.
type series struct {
	per    uint64  // probes of a step
	limit  int     // of points
	points []point // by step
}

// A point of a series counts nanoseconds.
type point struct {
	step          uint64
	site          int
	n             int64
	min, max, sum int64
}

// newSeries reserves all memory at once: nothing is allocated for a packet.
func newSeries(limit int) series {
	return series{per: 1, limit: limit, points: make([]point, 0, limit)}
}

func (s *series) add(seq uint64, site int, rtt int64) {
	for len(s.points) == s.limit && s.points[len(s.points)-1].step > 0 {
		s.merge()
	}
	s.points = put(s.points, point{step: seq / s.per, site: site, n: 1, min: rtt, max: rtt, sum: rtt})
}

// merge makes one step of every two.
func (s *series) merge() {
	s.per *= 2
	merged := s.points[:0] // never overtakes what is still to be read
	for _, p := range s.points {
		p.step /= 2
		merged = put(merged, p)
	}
	s.points = merged
}

// put adds a point of the last step, or of one after it.
func put(points []point, p point) []point {
	for i := len(points) - 1; i >= 0 && points[i].step == p.step; i-- {
		if old := &points[i]; old.site == p.site {
			old.n += p.n
			old.sum += p.sum
			old.min, old.max = min(old.min, p.min), max(old.max, p.max)
			return points
		}
	}
	return append(points, p)
}

func (s *series) report(interval time.Duration, site func(int) string) Series {
	step := float64(s.per) * ms(int64(interval))
	r := Series{StepMs: step, Points: make([]Point, 0, len(s.points))}
	for _, p := range s.points {
		point := Point{AtMs: float64(p.step) * step, Probes: int(p.n)}
		if p.site != lostSite {
			point.Site = site(p.site)
			point.MinMs, point.MeanMs, point.MaxMs = ms(p.min), ms(p.sum)/float64(p.n), ms(p.max)
		}
		r.Points = append(r.Points, point)
	}
	return r
}
