package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/pkg/probe"
)

// A Result is what an experiment leaves behind: DIR/result.json.
type Result struct {
	Lab        string     `json:"lab"`
	Experiment string     `json:"experiment"`
	Seed       uint64     `json:"seed"`
	Version    string     `json:"version"`
	Machine    Machine    `json:"machine"`
	Runs       []Measured `json:"runs"`
}

// Machine is where a result was measured.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Load   string `json:"load"`  // /proc/loadavg when the experiment began
	Delay  string `json:"delay"` // who delays the links: netem or wire
}

// Measured is one run: one fault, its failover and its failback. Times are in milliseconds; those of phases count from
// the fault.
type Measured struct {
	Fault           string             `json:"fault"`
	SiteFrom        string             `json:"site_from"`
	SiteTo          string             `json:"site_to"`
	DetectMs        float64            `json:"detect_ms"`      // the agent saw it; without an agent, the first router's table changed
	WithdrawMs      float64            `json:"withdraw_ms"`    // the UPDATE was written; without an agent, as DetectMs
	Lost            int                `json:"lost"`           // until 5 s after the service is back where it was
	LostOnReturn    int                `json:"lost_on_return"` // of these, after the fault was healed
	ReturnMs        float64            `json:"return_ms"`      // from healing until the site answers again; 0: the client stayed with another as near
	MTTRMs          float64            `json:"mttr_ms"`        // lost x probe interval (Equation 4.1 of the source thesis)
	GapMs           float64            `json:"gap_ms"`         // the longest: last answered send before -> first answered send after
	RTTMs           float64            `json:"rtt_ms"`         // median round trip from the client to the site that fails
	ProbeIntervalMs float64            `json:"probe_interval_ms"`
	Phases          map[string]float64 `json:"phases"`
	Updates         int                `json:"updates"`       // UPDATEs that agents wrote from the fault on: one for each change and neighbor
	RouteChanges    int                `json:"route_changes"` // of the routers' tables, for the measured address
	TCP             *TCP               `json:"tcp,omitempty"` // of a second client; nil: measured with DNS queries
	Trace           Trace              `json:"trace"`

	Drops  map[string]map[string]int64 `json:"drops,omitempty"`  // by node: what its kernel threw away or sent back in this run
	Series *probe.Series               `json:"series,omitempty"` // of the first run: what the prober saw around the fault; times count from it
}

// The phases of a failover and its failback, in the order in which they are shown.
var phases = []string{
	"noticed", "confirmed", "bridged", "written", "first_route", "diverted", "first_answer", "withdrawn", "unbridged",
	"healed", "announced", "returned", "back",
}

// machine describes where this process runs.
func machine(netem bool) Machine {
	var name unix.Utsname
	_ = unix.Uname(&name)
	load, _ := os.ReadFile("/proc/loadavg")
	m := Machine{CPUs: runtime.NumCPU(), Kernel: unix.ByteSliceToString(name.Release[:]), Delay: "wire"}
	if len(load) > 0 {
		m.Load = string(load[:len(load)-1])
	}
	if netem {
		m.Delay = "netem"
	}
	return m
}

// Write leaves the result in dir/result.json.
func (r Result) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "result.json"), append(data, '\n'), 0o644)
}

// Summary prints median and worst of every figure, for people.
func (r Result) Summary(w io.Writer) error {
	fmt.Fprintf(w, "%s %s: %d runs, probe every %s\n", r.Lab, r.Experiment, len(r.Runs), interval(r.Runs))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "ms after the fault\tmedian\tworst\t")
	for _, p := range phases {
		row(t, p, r.Runs, func(m Measured) (float64, bool) { v, ok := m.Phases[p]; return v, ok })
	}
	fmt.Fprintln(t, "\t\t\t")
	row(t, "lost", r.Runs, func(m Measured) (float64, bool) { return float64(m.Lost), true })
	row(t, "of these on return", r.Runs, func(m Measured) (float64, bool) { return float64(m.LostOnReturn), true })
	row(t, "lost x interval (MTTR)", r.Runs, func(m Measured) (float64, bool) { return m.MTTRMs, true })
	row(t, "longest gap", r.Runs, func(m Measured) (float64, bool) { return m.GapMs, true })
	row(t, "healed until back", r.Runs, func(m Measured) (float64, bool) { return m.ReturnMs, m.ReturnMs > 0 })
	row(t, "UPDATEs", r.Runs, func(m Measured) (float64, bool) { return float64(m.Updates), true })
	row(t, "TCP resets", r.Runs, func(m Measured) (float64, bool) {
		if m.TCP == nil {
			return 0, false
		}
		return float64(m.TCP.Resets), true
	})
	row(t, "RTT to the failed site", r.Runs, func(m Measured) (float64, bool) { return m.RTTMs, true })
	row(t, "MTTR - RTT", r.Runs, func(m Measured) (float64, bool) { return m.MTTRMs - m.RTTMs, m.Lost > 0 })
	return t.Flush()
}

func interval(runs []Measured) time.Duration {
	if len(runs) == 0 {
		return 0
	}
	return time.Duration(runs[0].ProbeIntervalMs * float64(time.Millisecond))
}

func row(w io.Writer, name string, runs []Measured, value func(Measured) (float64, bool)) {
	var values []float64
	for _, m := range runs {
		if v, ok := value(m); ok {
			values = append(values, v)
		}
	}
	if len(values) > 0 {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t\n", name, median(values), slices.Max(values))
	}
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
