package probe

import "time"

// A Report is the result of a run of a Prober. Durations are in milliseconds, times named ...MonoNs are
// CLOCK_MONOTONIC of the machine in nanoseconds. Sent = Received + Lost.
type Report struct {
	Target      string                 `json:"target"`
	Mode        string                 `json:"mode"`      // udp | dns
	Scheduled   int                    `json:"scheduled"` // probes that came due
	Sent        int                    `json:"sent"`      // all but those the prober was too late for
	Received    int                    `json:"received"`  // probes answered within 1 s
	Lost        int                    `json:"lost"`      // probes not answered within 1 s, or not well (Failed)
	Late        int                    `json:"late"`      // answers after more than 1 s; their probes are lost
	Failed      int                    `json:"failed"`    // DNS: answers without success or without records; their probes are lost
	Duplicates  int                    `json:"duplicates"`
	Ignored     int                    `json:"ignored"` // packets that answer nothing: of somebody else, or malformed
	Errors      int                    `json:"errors"`  // ICMP errors and failed sends
	LastError   string                 `json:"last_error,omitempty"`
	IntervalMs  float64                `json:"interval_ms"`
	MTTRMs      float64                `json:"mttr_ms"` // Lost x IntervalMs
	BySite      map[string]int         `json:"by_site"`
	RTTMs       Percentiles            `json:"rtt_ms"`
	RTTBySiteMs map[string]Percentiles `json:"rtt_by_site_ms"`
	SendLateMs  Percentiles            `json:"send_late_ms"` // how long after they were due probes left
	Outages     []Outage               `json:"outages"`
	MoreOutages int                    `json:"more_outages,omitempty"` // not listed: the list is bounded
	Started     time.Time              `json:"started"`
	Ended       time.Time              `json:"ended"`
	StartMonoNs int64                  `json:"start_mono_ns"`
	RTTBins     map[string][]Bin       `json:"rtt_bins"` // by site: the distribution of its round trips
	Series      Series                 `json:"series"`
}

// Percentiles of a duration in milliseconds; all zero when there was none.
type Percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// A Bin counts round trips of at least FromMs and less than ToMs. Bins are in order; empty ones are left out.
type Bin struct {
	FromMs float64 `json:"from_ms"`
	ToMs   float64 `json:"to_ms"`
	N      int     `json:"n"`
}

// An Outage is a maximal run of consecutive lost probes.
type Outage struct {
	Start      time.Time `json:"start"` // when the first lost probe was sent
	End        time.Time `json:"end"`   // when the first answered probe after was sent; without one, an interval after the last lost one
	Lost       int       `json:"lost"`
	DurationMs float64   `json:"duration_ms"` // Lost x interval
	GapMs      float64   `json:"gap_ms"`      // from the last answered send before to the first answered send after; 0 when one is missing
	FromSite   string    `json:"from_site"`   // that answered last before; empty at the start of the run
	ToSite     string    `json:"to_site"`     // that answered first after; empty at the end of the run

	StartMonoNs       int64 `json:"start_mono_ns"`        // when the first lost probe was sent
	LastAnswerMonoNs  int64 `json:"last_answer_mono_ns"`  // when the last answer before was received; 0 without one
	FirstAnswerMonoNs int64 `json:"first_answer_mono_ns"` // when the first answer after was received; 0 without one
}
