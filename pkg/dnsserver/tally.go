package dnsserver

import (
	"net"
	"net/netip"
	"slices"
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

// A tally counts what came over one transport to one address. Every loop that reads has its own: to count takes no lock, and
// moves no memory from one processor to another.
type tally struct {
	proto       proto
	v4          bool
	server      netip.AddrPort // the address that is listened on
	places      [maxPlaces]atomic.Pointer[counts]
	picks       [maxPicks]atomic.Uint64
	prohibited  atomic.Uint64
	drops       [broken + 1]atomic.Uint64
	durations   [len(durationBounds) + 1]atomic.Uint64
	nanoseconds atomic.Uint64
	writeErrors atomic.Uint64
	cookies     [known + 1]atomic.Uint64
	limits      [acquitted + 1]atomic.Uint64
	slips       atomic.Uint64 // queries over the limit, of which each so many-th is answered
	_           [64]byte      // the next one begins on a cache line of its own
}

// counts are those of one zone and view.
type counts struct {
	requests  [otherType + 1]atomic.Uint64
	responses [otherRcode + 1]atomic.Uint64
}

// count counts one message that was read.
func (t *tally) count(x *exchange) {
	if x.dropped != answered {
		t.drop(x.dropped)
		return
	}
	c := t.of(x.place)
	c.requests[typeIndex(x.qtype)].Add(1)
	switch {
	case x.rcode == dns.RcodeBadVers:
		c.responses[badVers].Add(1)
	case x.rcode == dns.RcodeBadCookie:
		c.responses[badCookie].Add(1)
	case x.rcode < badVers:
		c.responses[x.rcode].Add(1)
	default:
		c.responses[otherRcode].Add(1)
	}
	if x.picked != 0 {
		t.picks[x.picked].Add(1)
	}
	if x.prohibited {
		t.prohibited.Add(1)
	}
}

// of returns the counts of a place, which are made when they are first needed.
func (t *tally) of(place uint16) *counts {
	if c := t.places[place].Load(); c != nil {
		return c
	}
	t.places[place].CompareAndSwap(nil, new(counts))
	return t.places[place].Load()
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
	server netip.AddrPort
	proto  proto
	v4     bool
}

// labels returns the values of "server", "proto" and "family"; the family labels are CoreDNS's: 1 is IPv4, 2 is IPv6.
func (t transport) labels() (server, proto, family string) {
	if t.server.IsValid() {
		server = t.server.String()
	}
	if t.v4 {
		return server, t.proto.String(), "1"
	}
	return server, t.proto.String(), "2"
}

// tallied turns tallies into metrics.
type tallied struct {
	tallies []*tally
	sockets *Listeners // nil: none
	names   *numbers

	requests, responses, picks, prohibited, drops, duration, writeErrors, shed *prometheus.Desc
	cookies, limits                                                            *prometheus.Desc
}

func newTallied(sockets *Listeners, names *numbers) tallied {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("anyedge_dns_"+name, help, labels, nil)
	}
	t := tallied{
		sockets:     sockets,
		names:       names,
		requests:    desc("requests_total", "Queries that were answered, by the address that is listened on, zone, view, transport, address family (1: IPv4, 2: IPv6) and type.", "server", "zone", "view", "proto", "family", "type"),
		responses:   desc("responses_total", "Answers, by the address that is listened on, zone, view and response code.", "server", "zone", "view", "rcode"),
		picks:       desc("picks_total", "Answers with picked endpoints, by service; those of services beyond the first 1022 are of \"other\".", "service"),
		prohibited:  desc("prohibited_requests_total", "Queries that were refused because of who asks: by an acl, without a view, or for an explanation."),
		drops:       desc("dropped_requests_total", "Messages that got no answer, by reason.", "reason"),
		duration:    desc("request_duration_seconds", "From a query over UDP read to its answer made, by the address that is listened on; not the time in sockets. Of queries read together, the mean.", "server"),
		writeErrors: desc("write_errors_total", "Answers that the kernel or the client did not take."),
		shed:        desc("shed_requests_total", "Queries over UDP that the kernel dropped, because more came than are answered: the newest first."),
	}
	t.cookies = desc("cookies_total", "Queries with a DNS cookie: of the client alone, with a server cookie that is not ours or too old, or with a good one.", "cookie")
	t.limits = desc("rate_limited_total", "Queries over UDP beyond the rate limit, or with too long an answer, by what became of them; answer: by a dry run.", "action")
	if sockets == nil {
		for _, p := range []proto{udp, tcp} {
			t.tallies = append(t.tallies, &tally{proto: p, v4: true}, &tally{proto: p})
		}
		return t
	}
	for _, sock := range sockets.udp {
		t.tallies = append(t.tallies, sock.tally)
	}
	for _, addr := range sockets.addrs {
		t.tallies = append(t.tallies, &tally{proto: tcp, v4: addr.Addr().Is4(), server: addr})
	}
	return t
}

// shared returns the first tally of a transport and family.
func (t *tallied) shared(p proto, v4 bool) *tally {
	return t.tallies[slices.IndexFunc(t.tallies, func(one *tally) bool { return one.proto == p && one.v4 == v4 })]
}

// stream returns the tally of the TCP connections to an address: all those to one that is listened on share it.
func (t *tallied) stream(to net.Addr) *tally {
	a := to.(*net.TCPAddr).AddrPort()
	a = netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
	var any *tally
	for _, one := range t.tallies {
		switch {
		case one.proto != tcp || one.v4 != a.Addr().Is4():
		case one.server == a:
			return one
		case any == nil || one.server.Port() == a.Port():
			any = one
		}
	}
	return any
}

func (t *tallied) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{t.requests, t.responses, t.picks, t.prohibited, t.drops, t.duration, t.writeErrors, t.shed, t.cookies, t.limits} {
		ch <- d
	}
}

func (t *tallied) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	t.collectPlaces(counter)
	t.collectPicks(counter)
	var drops [broken + 1]uint64
	var cookies [known + 1]uint64
	var limits [acquitted + 1]uint64
	var writeErrors, prohibited uint64
	for _, one := range t.tallies {
		sum(drops[:], one.drops[:])
		sum(cookies[:], one.cookies[:])
		sum(limits[:], one.limits[:])
		writeErrors += one.writeErrors.Load()
		prohibited += one.prohibited.Load()
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
	counter(t.prohibited, prohibited)
	counter(t.writeErrors, writeErrors)
	counter(t.shed, t.sockets.shed())
	t.collectDurations(ch)
}

// collectPlaces tells of each address that is listened on what came of each zone and view that was asked for there. Types
// that nobody asks for are left out.
func (t *tallied) collectPlaces(counter func(*prometheus.Desc, uint64, ...string)) {
	type key struct {
		transport
		place int
	}
	requests := make(map[key]*[otherType + 1]uint64)
	responses := make(map[key]*[otherRcode + 1]uint64) // of all transports
	for _, one := range t.tallies {
		for i := range one.places {
			c := one.places[i].Load()
			if c == nil {
				continue
			}
			here, all := key{transport{one.server, one.proto, one.v4}, i}, key{transport{server: one.server}, i}
			if requests[here] == nil {
				requests[here] = new([otherType + 1]uint64)
			}
			if responses[all] == nil {
				responses[all] = new([otherRcode + 1]uint64)
			}
			sum(requests[here][:], c.requests[:])
			sum(responses[all][:], c.responses[:])
		}
	}
	for k, counts := range requests {
		server, proto, family := k.labels()
		where := t.names.place(k.place)
		for i, n := range counts {
			if n > 0 {
				counter(t.requests, n, server, where.zone, where.view, proto, family, typeLabel(i))
			}
		}
	}
	for k, counts := range responses {
		server, _, _ := k.labels()
		where := t.names.place(k.place)
		for rcode, n := range counts {
			counter(t.responses, n, server, where.zone, where.view, rcodeLabel(rcode))
		}
	}
}

func (t *tallied) collectPicks(counter func(*prometheus.Desc, uint64, ...string)) {
	for number, service := range t.names.services() {
		n := uint64(0)
		for _, one := range t.tallies {
			n += one.picks[number].Load()
		}
		counter(t.picks, n, service)
	}
}

func (t *tallied) collectDurations(ch chan<- prometheus.Metric) {
	type durations struct {
		counts      [len(durationBounds) + 1]uint64
		nanoseconds uint64
	}
	servers := make(map[netip.AddrPort]*durations)
	for _, one := range t.tallies {
		d := servers[one.server]
		if d == nil {
			d = new(durations)
			servers[one.server] = d
		}
		sum(d.counts[:], one.durations[:])
		d.nanoseconds += one.nanoseconds.Load()
	}
	for addr, d := range servers {
		server, _, _ := transport{server: addr}.labels()
		ch <- histogram(t.duration, d.counts, d.nanoseconds, server)
	}
}

// histogram makes the metric of bucketed counts; each message is in one of them.
func histogram(d *prometheus.Desc, counts [len(durationBounds) + 1]uint64, nanoseconds uint64, labels ...string) prometheus.Metric {
	total, buckets := uint64(0), make(map[float64]uint64, len(durationBounds))
	for i, n := range counts {
		total += n
		if i < len(durationBounds) {
			buckets[durationBounds[i]] = total
		}
	}
	return prometheus.MustNewConstHistogram(d, total, float64(nanoseconds)/1e9, buckets, labels...)
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
