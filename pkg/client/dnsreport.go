package client

import (
	"sync"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

// maxAnswers bounds how many answers, and sites, a report tells apart.
const maxAnswers = 1024

// A DNSReport is what a run of a DNS found; its JSON is in docs/clients.md. Times are milliseconds.
type DNSReport struct {
	Server  string  `json:"server"`
	Name    string  `json:"name"`
	Type    string  `json:"type"`
	Clients int     `json:"clients"`
	Rate    float64 `json:"rate"` // requests per second, as wanted
	Fixed   bool    `json:"fixed"`
	Seed    uint64  `json:"seed"`
	Cache   bool    `json:"cache"`

	Scheduled int      `json:"scheduled"`  // requests that came due
	Skipped   int      `json:"skipped"`    // of these, not made: this program was late by more than 250 ms
	CacheHits int      `json:"cache_hits"` // of these, answered from the client's cache
	Queries   int      `json:"queries"`    // of these, sent to the server
	Answered  int      `json:"answered"`   // queries that the server answered, whatever it said
	Failed    int      `json:"failed"`     // queries without an answer
	Errors    failures `json:"errors"`     // of failed queries, by kind

	QPS        float64           `json:"qps"`          // queries answered per second
	LatencyMs  probe.Percentiles `json:"latency_ms"`   // of answered queries, from the moment when they were due
	SendLateMs probe.Percentiles `json:"send_late_ms"` // how long after they were due requests were started

	Rcodes  map[string]int    `json:"rcodes"`  // answered queries
	Sites   map[string]int    `json:"sites"`   // answered queries, by NSID
	Answers map[string]Answer `json:"answers"` // by value
	TTL     TTLs              `json:"ttl_s"`

	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended"`
}

// An Answer is one value that the server gave: an address, where addresses were asked for.
type Answer struct {
	Given int     `json:"given"` // answered queries that had it
	Used  int     `json:"used"`  // requests, from caches or not, whose answer had it first: what a client would use
	Share float64 `json:"share"` // of all used ones, 0 to 1
}

// TTLs is the range of the TTLs of answers, in seconds.
type TTLs struct {
	Min float64 `json:"min"`
	Max float64 `json:"max"`
}

// A dnsTally counts what happens. It is safe for concurrent use.
type dnsTally struct {
	mu      sync.Mutex // guards following
	report  DNSReport
	used    int
	newest  time.Duration
	latency probe.Distribution
	answers map[string]*Answer
}

func newDNSTally() *dnsTally {
	return &dnsTally{
		report:  DNSReport{Errors: failures{}, Rcodes: make(map[string]int), Sites: make(map[string]int)},
		answers: make(map[string]*Answer),
	}
}

func (t *dnsTally) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Queries++
}

func (t *dnsTally) hit(a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.CacheHits++
	t.use(a)
}

func (t *dnsTally) answered(a answer, ttl, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.report
	s := ttl.Seconds()
	if r.Answered == 0 {
		r.TTL = TTLs{Min: s, Max: s}
	}
	r.TTL = TTLs{Min: min(r.TTL.Min, s), Max: max(r.TTL.Max, s)}
	r.Answered++
	t.newest = took
	t.latency.Add(took)
	count(r.Rcodes, a.rcode)
	count(r.Sites, a.site)
	for _, v := range a.values {
		t.answer(v).Given++
	}
	t.use(a)
}

// count adds one to a key of a map that does not grow without bounds.
func count(m map[string]int, key string) {
	if _, known := m[key]; !known && len(m) >= maxAnswers {
		key = other
	}
	m[key]++
}

func (t *dnsTally) use(a answer) {
	if len(a.values) == 0 {
		return
	}
	t.used++
	t.answer(a.values[0]).Used++
}

func (t *dnsTally) answer(value string) *Answer {
	value = limit(value)
	if t.answers[value] == nil && len(t.answers) >= maxAnswers {
		value = other
	}
	a := t.answers[value]
	if a == nil {
		a = new(Answer)
		t.answers[value] = a
	}
	return a
}

func (t *dnsTally) failed(f *failure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Failed++
	t.report.Errors.add(f)
}

func (t *dnsTally) status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &t.report
	return Status{
		Due: r.CacheHits + max(r.Queries, r.Answered+r.Failed), OK: r.CacheHits + r.Answered, Failed: r.Failed,
		InFlight: max(0, r.Queries-r.Answered-r.Failed), LatencyMs: float64(t.newest) / float64(time.Millisecond),
	}
}

// report puts together what a run found, which has ended.
func (r *dnsRun) report(l *loop, start time.Time) DNSReport {
	report := r.tally.result()
	cfg := r.cfg
	report.Server, report.Name, report.Type, report.Clients = cfg.Server.String(), cfg.Name, cfg.Type, cfg.Clients
	report.Rate, report.Fixed, report.Seed, report.Cache = cfg.Rate, cfg.Fixed, cfg.Seed, cfg.Cache
	report.Scheduled, report.Skipped, report.SendLateMs = l.scheduled, l.skipped, l.late.Percentiles()
	report.Started, report.Ended = start, time.Now()
	report.QPS = float64(report.Answered) / report.Ended.Sub(start).Seconds()
	return report
}

func (t *dnsTally) result() DNSReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	report := t.report
	report.LatencyMs = t.latency.Percentiles()
	report.Answers = make(map[string]Answer, len(t.answers))
	for value, a := range t.answers {
		a.Share = share(a.Used, t.used)
		report.Answers[value] = *a
	}
	return report
}
