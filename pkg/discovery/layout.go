package discovery

import "strings"

// A layout is where the values of an answer go that may tell of the load: each name has a column. Targets of one format
// that call things alike share one.
type layout struct {
	columns  map[string]int
	inFlight []int // columns of the gauge, the most telling name first
	latency  []latencyColumns
	cpu      []cpuColumn
}

// latencyColumns are those of one name: of a histogram or a summary, or of a gauge.
type latencyColumns struct {
	sum, count, mean int
	unit             float64 // in seconds
}

type cpuColumn struct {
	value   int
	counter bool // of CPU seconds
}

func newLayout(t Target) *layout {
	l, c := &layout{columns: make(map[string]int)}, t.candidates()
	for _, name := range c.inFlight {
		l.inFlight = append(l.inFlight, l.column(name))
	}
	for _, name := range c.latency {
		l.latency = append(l.latency, latencyColumns{l.column(name + "_sum"), l.column(name + "_count"), l.column(name), seconds(name)})
	}
	for _, name := range c.cpu {
		l.cpu = append(l.cpu, cpuColumn{l.column(name), t.Format == Prometheus && strings.HasSuffix(name, "_total")})
	}
	return l
}

func (l *layout) column(name string) int {
	i, ok := l.columns[name]
	if !ok {
		i = len(l.columns)
		l.columns[name] = i
	}
	return i
}
