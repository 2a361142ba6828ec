package dnsserver

import (
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// knownTypes are the query types with a label of their own; clients must not be able to make series.
var knownTypes = [...]uint16{
	dns.TypeA, dns.TypeAAAA, dns.TypeNS, dns.TypeSOA, dns.TypeTXT, dns.TypeSRV, dns.TypeSVCB, dns.TypeHTTPS, dns.TypePTR,
	dns.TypeMX, dns.TypeCNAME, dns.TypeCAA, dns.TypeDS, dns.TypeDNSKEY, dns.TypeANY, dns.TypeAXFR, dns.TypeIXFR,
}

const (
	otherType  = len(knownTypes)
	badVers    = dns.RcodeRefused + 1 // the response codes up to REFUSED have their own numbers as index
	badCookie  = badVers + 1
	otherRcode = badCookie + 1
	other      = "other"
)

// durationBounds are the upper bounds of the buckets in seconds.
var durationBounds = [...]float64{1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2, 0.1}

// A tally counts what came over one transport and family. Every loop that reads has its own: to count takes no lock, and
// moves no memory from one processor to another.
type tally struct {
	proto       proto
	v4          bool
	requests    [otherType + 1]atomic.Uint64
	responses   [otherRcode + 1]atomic.Uint64
	drops       [broken + 1]atomic.Uint64
	durations   [len(durationBounds) + 1]atomic.Uint64
	nanoseconds atomic.Uint64
	writeErrors atomic.Uint64
	cookies     [known + 1]atomic.Uint64
	limits      [acquitted + 1]atomic.Uint64
	slips       atomic.Uint64 // queries over the limit, of which each so many-th is answered
	_           [64]byte      // the next one begins on a cache line of its own
}

// count counts one message that was read.
func (t *tally) count(x exchange) {
	if x.dropped != answered {
		t.drop(x.dropped)
		return
	}
	t.requests[typeIndex(x.qtype)].Add(1)
	switch {
	case x.rcode == dns.RcodeBadVers:
		t.responses[badVers].Add(1)
	case x.rcode == dns.RcodeBadCookie:
		t.responses[badCookie].Add(1)
	case x.rcode < badVers:
		t.responses[x.rcode].Add(1)
	default:
		t.responses[otherRcode].Add(1)
	}
}

// typeIndex puts the types that are asked most at the front.
func typeIndex(qtype uint16) int {
	switch qtype {
	case dns.TypeA:
		return 0
	case dns.TypeAAAA:
		return 1
	}
	for i, known := range knownTypes {
		if known == qtype {
			return i
		}
	}
	return otherType
}

func (t *tally) drop(reason dropReason) { t.drops[reason].Add(1) }

// took counts that n messages were read, and their answers made, in a time: each is counted with the mean.
func (t *tally) took(n int, d time.Duration) {
	if n == 0 {
		return
	}
	t.nanoseconds.Add(uint64(d))
	i, mean := 0, d.Seconds()/float64(n)
	for i < len(durationBounds) && mean > durationBounds[i] {
		i++
	}
	t.durations[i].Add(uint64(n))
}

// transport is what tallies are summed up by.
type transport struct {
	proto proto
	v4    bool
}

// labels returns the values of "proto" and "family"; the family labels are CoreDNS's: 1 is IPv4, 2 is IPv6.
func (t transport) labels() (string, string) {
	if t.v4 {
		return t.proto.String(), "1"
	}
	return t.proto.String(), "2"
}

// tallied turns tallies into metrics.
type tallied struct {
	tallies                                                 []*tally
	sockets                                                 *Listeners // nil: none
	requests, responses, drops, duration, writeErrors, shed *prometheus.Desc
	cookies, limits                                         *prometheus.Desc
}

func newTallied(sockets *Listeners) tallied {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("anyedge_dns_"+name, help, labels, nil)
	}
	t := tallied{
		sockets:     sockets,
		requests:    desc("requests_total", "Queries that were answered, by transport, address family (1: IPv4, 2: IPv6) and type.", "proto", "family", "type"),
		responses:   desc("responses_total", "Answers, by response code.", "rcode"),
		drops:       desc("dropped_requests_total", "Messages that got no answer, by reason.", "reason"),
		duration:    desc("request_duration_seconds", "From a query read to its answer made; not the time in sockets. Of queries read together, the mean."),
		writeErrors: desc("write_errors_total", "Answers that the kernel or the client did not take."),
		shed:        desc("shed_requests_total", "Queries over UDP that the kernel dropped, because more came than are answered: the newest first."),
	}
	t.cookies = desc("cookies_total", "Queries with a DNS cookie: of the client alone, with a server cookie that is not ours or too old, or with a good one.", "cookie")
	t.limits = desc("rate_limited_total", "Queries over UDP beyond the rate limit, by what became of them; answer: by a dry run.", "action")
	for _, p := range []proto{udp, tcp} {
		for _, v4 := range []bool{true, false} {
			t.tallies = append(t.tallies, &tally{proto: p, v4: v4}) // of TCP; of UDP there may be no socket
		}
	}
	if sockets != nil {
		for _, sock := range sockets.udp {
			t.tallies = append(t.tallies, sock.tally)
		}
	}
	return t
}

// shared returns the tally of whoever has none of its own.
func (t *tallied) shared(p proto, v4 bool) *tally {
	for _, one := range t.tallies {
		if one.proto == p && one.v4 == v4 {
			return one
		}
	}
	return nil
}

func (t *tallied) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{t.requests, t.responses, t.drops, t.duration, t.writeErrors, t.shed, t.cookies, t.limits} {
		ch <- d
	}
}

func (t *tallied) Collect(ch chan<- prometheus.Metric) {
	requests := make(map[transport]*[otherType + 1]uint64)
	var responses [otherRcode + 1]uint64
	var drops [broken + 1]uint64
	var durations [len(durationBounds) + 1]uint64
	var cookies [known + 1]uint64
	var limits [acquitted + 1]uint64
	var nanoseconds, writeErrors uint64
	for _, one := range t.tallies {
		key := transport{one.proto, one.v4}
		if requests[key] == nil {
			requests[key] = new([otherType + 1]uint64)
		}
		sum(requests[key][:], one.requests[:])
		sum(responses[:], one.responses[:])
		sum(drops[:], one.drops[:])
		sum(durations[:], one.durations[:])
		sum(cookies[:], one.cookies[:])
		sum(limits[:], one.limits[:])
		nanoseconds += one.nanoseconds.Load()
		writeErrors += one.writeErrors.Load()
	}
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for key, counts := range requests {
		proto, family := key.labels()
		for i, n := range counts {
			counter(t.requests, n, proto, family, typeLabel(i))
		}
	}
	for rcode, n := range responses {
		counter(t.responses, n, rcodeLabel(rcode))
	}
	for reason, label := range dropLabels {
		counter(t.drops, drops[reason], label)
	}
	for who, label := range cookieLabels {
		counter(t.cookies, cookies[who], label)
	}
	for action, label := range limitLabels {
		counter(t.limits, limits[action], label)
	}
	counter(t.writeErrors, writeErrors)
	counter(t.shed, t.sockets.shed())
	ch <- histogram(t.duration, durations, nanoseconds)
}

// histogram makes the metric of bucketed counts; each message is in one of them.
func histogram(d *prometheus.Desc, counts [len(durationBounds) + 1]uint64, nanoseconds uint64) prometheus.Metric {
	total, buckets := uint64(0), make(map[float64]uint64, len(durationBounds))
	for i, n := range counts {
		total += n
		if i < len(durationBounds) {
			buckets[durationBounds[i]] = total
		}
	}
	return prometheus.MustNewConstHistogram(d, total, float64(nanoseconds)/1e9, buckets)
}

func sum(into []uint64, from []atomic.Uint64) {
	for i := range from {
		into[i] += from[i].Load()
	}
}

func typeLabel(i int) string {
	if i == otherType {
		return other
	}
	return dns.TypeToString[knownTypes[i]]
}

func rcodeLabel(i int) string {
	switch i {
	case badVers:
		return "BADVERS"
	case badCookie:
		return "BADCOOKIE"
	case otherRcode:
		return other
	default:
		return dns.RcodeToString[i]
	}
}

// dropLabels has a reason for each message that gets no answer.
var dropLabels = map[dropReason]string{notAQuery: "response", tooShort: "short", noPort: "port_0", limited: "rate_limit", broken: "panic"}

var (
	cookieLabels = map[identity]string{newcomer: "client", foreign: "bad", known: "good"}
	limitLabels  = map[sentence]string{ignored: "drop", truncated: "truncate", challenged: "badcookie", acquitted: "answer"}
)
