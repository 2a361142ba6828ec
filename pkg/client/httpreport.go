package client

import (
	"net/netip"
	"sync"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

// maxPods bounds how many pods a report tells apart, other is the name for the rest.
const (
	maxPods = 1024
	other   = "(other)"
)

// What a report says of TTLs.
const ttlHonoured, ttlIgnored = "honour", "ignore"

// An HTTPReport is what a run of an HTTP found; its JSON is in docs/clients.md. Times are milliseconds.
type HTTPReport struct {
	Server    string  `json:"server"`
	Name      string  `json:"name"`
	Port      uint16  `json:"port"`
	Clients   int     `json:"clients"`
	Rate      float64 `json:"rate"` // requests per second, as wanted
	Fixed     bool    `json:"fixed"`
	Seed      uint64  `json:"seed"`
	TTL       string  `json:"ttl"` // honour or ignore
	KeepAlive bool    `json:"keep_alive"`

	Scheduled int      `json:"scheduled"` // requests that came due
	Skipped   int      `json:"skipped"`   // of these, not made: this program was late by more than 250 ms
	OK        int      `json:"ok"`        // of these, answered with 2xx
	Failed    int      `json:"failed"`    // all others
	Errors    failures `json:"errors"`    // of failed requests, by kind

	Retries     int `json:"retries"`     // further attempts of requests that could not connect
	Reconnects  int `json:"reconnects"`  // kept connections that the pod had closed
	Connections int `json:"connections"` // made
	IPv6        int `json:"ipv6"`        // of these
	IPv4        int `json:"ipv4"`
	Lookups     int `json:"lookups"` // not answered from a cache
	LookupFails int `json:"lookups_failed"`

	LatencyMs  probe.Percentiles `json:"latency_ms"`   // of OK requests, from the moment when they were due
	LookupMs   probe.Percentiles `json:"lookup_ms"`    // of lookups that succeeded
	ConnectMs  probe.Percentiles `json:"connect_ms"`   // of connections: lookups, if any, and handshake
	SendLateMs probe.Percentiles `json:"send_late_ms"` // how long after they were due requests were started

	Pods map[string]Pod `json:"pods"` // by address
	Gaps Gaps           `json:"gaps"`

	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
}

// A Pod is what clients had of one address.
type Pod struct {
	Name      string            `json:"name"` // that it gave itself last; may be empty
	OK        int               `json:"ok"`
	Failed    int               `json:"failed"` // where the address is known
	Share     float64           `json:"share"`  // of all OK requests, 0 to 1
	LatencyMs probe.Percentiles `json:"latency_ms"`
}

// Gaps tells how long clients went without success: of each client the longest time from the moment when a request that
// failed was due until a later one succeeded (or the run ended).
type Gaps struct {
	Asking  int               `json:"asking"` // clients that made requests
	Clients int               `json:"clients"`
	Never   int               `json:"never"` // clients whose requests all failed
	Ms      probe.Percentiles `json:"ms"`    // of the clients that had one
	Longest time.Time         `json:"longest"`
}

// An httpTally counts what happens. It is safe for concurrent use.
type httpTally struct {
	mu      sync.Mutex // guards following
	report  HTTPReport
	begun   int
	newest  time.Duration
	latency probe.Distribution
	lookup  probe.Distribution
	connect probe.Distribution
	pods    map[string]*podTally
	nowhere podTally // requests that had no address
}

type podTally struct {
	Pod
	latency probe.Distribution
}

func newHTTPTally() *httpTally {
	return &httpTally{report: HTTPReport{Errors: failures{}}, pods: make(map[string]*podTally)}
}

func (t *httpTally) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun++
}

func (t *httpTally) looked(took time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Lookups++
	if !ok {
		t.report.LookupFails++
		return
	}
	t.lookup.Add(took)
}

func (t *httpTally) connected(took time.Duration, address netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Connections++
	if address.Is4() {
		t.report.IPv4++
	} else {
		t.report.IPv6++
	}
	t.connect.Add(took)
}

// end counts a request that has ended.
func (t *httpTally) end(res result, latency time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Retries += res.retries
	if res.stale {
		t.report.Reconnects++
	}
	pod := t.pod(res.address)
	if res.failure != nil {
		t.report.Failed++
		t.report.Errors.add(res.failure)
		pod.Failed++
		return
	}
	t.report.OK++
	t.newest = latency
	t.latency.Add(latency)
	pod.OK++
	pod.latency.Add(latency)
	pod.Name = res.reply.name
}

// pod returns the tally of an address; where there is none, one that nobody sees.
func (t *httpTally) pod(a netip.Addr) *podTally {
	if !a.IsValid() {
		return &t.nowhere
	}
	key := a.String()
	if t.pods[key] == nil && len(t.pods) >= maxPods {
		key = other
	}
	p := t.pods[key]
	if p == nil {
		p = new(podTally)
		t.pods[key] = p
	}
	return p
}

func (t *httpTally) status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.report
	return Status{
		Due: max(t.begun, r.OK+r.Failed), OK: r.OK, Failed: r.Failed, InFlight: max(0, t.begun-r.OK-r.Failed),
		LatencyMs: float64(t.newest) / float64(time.Millisecond),
	}
}

// report puts together what a run found, which has ended.
func (r *httpRun) report(l *loop, start time.Time) HTTPReport {
	report := r.tally.result()
	cfg := r.cfg
	report.Server, report.Name, report.Port, report.Clients = cfg.Server.String(), cfg.Name, cfg.Port, cfg.Clients
	report.Rate, report.Fixed, report.Seed, report.KeepAlive = cfg.Rate, cfg.Fixed, cfg.Seed, cfg.KeepAlive
	report.TTL = ttlHonoured
	if cfg.IgnoreTTL {
		report.TTL = ttlIgnored
	}
	report.Scheduled, report.Skipped, report.SendLateMs = l.scheduled, l.skipped, l.late.Percentiles()
	report.Started, report.Ended = start, time.Now()
	report.Gaps = r.gaps(report.Ended)
	return report
}

func (t *httpTally) result() HTTPReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	report := t.report
	report.LatencyMs, report.LookupMs, report.ConnectMs = t.latency.Percentiles(), t.lookup.Percentiles(), t.connect.Percentiles()
	report.Pods = make(map[string]Pod, len(t.pods))
	for address, p := range t.pods {
		p.LatencyMs = p.latency.Percentiles()
		p.Share = share(p.OK, report.OK)
		report.Pods[address] = p.Pod
	}
	return report
}

// gaps sums up the gaps of all clients at the end.
func (r *httpRun) gaps(end time.Time) (g Gaps) {
	var all probe.Distribution
	var longest time.Duration
	for i := range r.clients {
		c := &r.clients[i].gap
		c.close(end)
		if c.successes+c.failures > 0 {
			g.Asking++
		}
		if c.successes == 0 && c.failures > 0 {
			g.Never++
		}
		if c.longest == 0 {
			continue
		}
		g.Clients++
		all.Add(c.longest)
		if c.longest > longest {
			longest, g.Longest = c.longest, c.start
		}
	}
	g.Ms = all.Percentiles()
	return g
}

// share returns n of total, 0 to 1.
func share(n, total int) float64 {
	if total == 0 {
		return 0
	}
	return float64(n) / float64(total)
}
