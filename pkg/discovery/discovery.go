// Package discovery finds out, without a cluster to ask, what steering needs to know of endpoints: their load, as the pods
// themselves tell it over HTTP.
package discovery

import (
	"net/netip"
	"time"
)

// Format is how a pod tells its load.
type Format int

// The formats.
const (
	Prometheus Format = iota + 1 // "prometheus": the text exposition format, version 0.0.4
	JSON                         // "json": the body is a JSON object
	ORCA                         // "orca": the header endpoint-load-metrics is an ORCA load report, TEXT or JSON
)

// String returns the format's name in a configuration.
func (f Format) String() string {
	switch f {
	case Prometheus:
		return "prometheus"
	case JSON:
		return "json"
	case ORCA:
		return "orca"
	default:
		return "invalid"
	}
}

// Path is where pods tell it unless they say otherwise.
func (f Format) Path() string {
	switch f {
	case Prometheus:
		return "/metrics"
	case JSON:
		return "/load"
	default:
		return "/"
	}
}

// FormatOf returns the format of a name; ok is false where there is none.
func FormatOf(name string) (f Format, ok bool) {
	for f = Prometheus; f <= ORCA; f++ {
		if f.String() == name {
			return f, true
		}
	}
	return 0, false
}

// A Target is where one pod tells its load. Who asks for the same target twice has it asked once.
type Target struct {
	Address  netip.AddrPort
	Path     string // with query; begins with /
	Format   Format
	Names    Names
	Interval time.Duration // between two requests
	Timeout  time.Duration // of one request
}

// Names are what the target calls its signals; an empty one stands for all the names that are well known, of which the
// first that is there counts. In JSON and ORCA a dot leads into an object, as in named_metrics.queue.
type Names struct {
	InFlight string // a gauge
	Latency  string // of Prometheus a histogram or a summary, without _sum and _count; else a mean; ending in _ms: of milliseconds
	CPU      string // of Prometheus a counter of CPU seconds when it ends in _total; else a utilization
}
