package dnsserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// queueSize is how many queries may wait to be written: more are dropped, and counted.
const queueSize = 1024

// A QueryPolicy says which queries are written down, and where.
type QueryPolicy struct {
	Sample int // one in so many; 0: none
	Errors int // beside them, so many failures a second: all response codes but NOERROR and NXDOMAIN. 0: none
	// File gets a JSON object a line; empty: the program's log does.
	File string
	// Bits6 and Bits4 are how much of a client's address is told.
	Bits6, Bits4 int
}

// A QueryLog writes down some queries. Who answers never waits for it: what the queue has no room for is dropped. Make it
// with NewQueryLog, Set it, and Run it.
type QueryLog struct {
	log    *slog.Logger
	names  *numbers // of the server that it is of
	policy atomic.Pointer[QueryPolicy]
	budget atomic.Int64 // failures that may be written this second

	// Entries go round: from those that are free to those that are full, and back. Each channel has room for all of them.
	free, full chan *entry

	written, dropped, suppressed, failed atomic.Uint64

	mu   sync.Mutex // guards following
	file *os.File   // nil: the program's log
	out  *bufio.Writer
}

// entry is a query as it was answered.
type entry struct {
	time   time.Time
	client netip.Addr
	proto  proto
	place  uint16
	why    string
	size   int // of the reply; its room may hold less
	reply  [udpPayload]byte
}

// NewQueryLog returns a log that writes nothing yet. A nil log discards.
func NewQueryLog(log *slog.Logger) *QueryLog {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l := &QueryLog{log: log, free: make(chan *entry, queueSize), full: make(chan *entry, queueSize)}
	for range queueSize {
		l.free <- new(entry)
	}
	return l
}

// Set changes what is written from now on. The file is opened anew, also when its name is the same: it may have been moved
// away. An error leaves everything as it was.
func (l *QueryLog) Set(p QueryPolicy) error {
	var file *os.File
	if p.File != "" && (p.Sample > 0 || p.Errors > 0) {
		var err error
		// A pipe that nobody reads is an error, and does not block.
		if file, err = os.OpenFile(p.File, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK, 0o640); err != nil {
			return fmt.Errorf("query_log.file: %w", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.close()
	if file != nil {
		l.file, l.out = file, bufio.NewWriter(file)
	}
	l.budget.Store(int64(p.Errors))
	l.policy.Store(&p)
	return nil
}

// close writes what waits and closes the file.
func (l *QueryLog) close() {
	if l.file == nil {
		return
	}
	l.check(l.out.Flush())
	_ = l.file.Close() // what was not written is told already
	l.file, l.out = nil, nil
}

// check counts what could not be written.
func (l *QueryLog) check(err error) {
	if err == nil {
		return
	}
	if l.failed.Add(1) == 1 {
		l.log.Error("cannot write the query log; further failures are counted alone", "err", err)
	}
	l.out.Reset(l.file) // a bufio.Writer keeps its error, and a disk may have room again
}

// take writes a query down if it is one of those that are to be. It neither blocks nor allocates. l may be nil.
func (l *QueryLog) take(x *exchange, p proto, client netip.Addr, reply []byte) {
	if l == nil || reply == nil {
		return
	}
	policy := l.policy.Load()
	if policy == nil || !l.wants(policy, x) {
		return
	}
	select {
	case e := <-l.free:
		e.time, e.client, e.proto = time.Now(), client, p
		e.place, e.why, e.size = x.place, x.why, len(reply)
		copy(e.reply[:], reply)
		l.full <- e
	default:
		l.dropped.Add(1)
	}
}

func (l *QueryLog) wants(p *QueryPolicy, x *exchange) bool {
	if p.Sample > 0 && (p.Sample == 1 || rand.Uint32N(uint32(p.Sample)) == 0) {
		return true
	}
	if p.Errors == 0 || x.rcode == dns.RcodeSuccess || x.rcode == dns.RcodeNameError {
		return false
	}
	if l.budget.Add(-1) < 0 {
		l.suppressed.Add(1)
		return false
	}
	return true
}

// Run writes until ctx is done, then what is left, and returns nil. It may be called once.
func (l *QueryLog) Run(ctx context.Context) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case e := <-l.full:
			l.write(e)
			l.free <- e
		case <-second.C:
			if p := l.policy.Load(); p != nil {
				l.budget.Store(int64(p.Errors))
			}
		case <-ctx.Done():
			l.drain()
			return nil
		}
	}
}

// drain writes what waits. A reader that does not read does not hold up the end for long.
func (l *QueryLog) drain() {
	l.mu.Lock()
	if l.file != nil {
		_ = l.file.SetWriteDeadline(time.Now().Add(time.Second)) // a plain file has none, and does not wait
	}
	l.mu.Unlock()
	for {
		select {
		case e := <-l.full:
			l.write(e)
			l.free <- e
		default:
			l.mu.Lock()
			defer l.mu.Unlock()
			l.close()
			return
		}
	}
}

// write writes one entry, and what waits in memory when it is the last for now.
func (l *QueryLog) write(e *entry) {
	line := l.line(e)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written.Add(1)
	if l.file == nil {
		l.log.Info("query", line.attributes()...)
		return
	}
	b, err := json.Marshal(line)
	if err == nil {
		_, err = l.out.Write(append(b, '\n'))
	}
	if err == nil && len(l.full) == 0 {
		err = l.out.Flush()
	}
	l.check(err)
}

// A line is what is told of a query.
type line struct {
	Time   time.Time `json:"time"`
	Client string    `json:"client"` // a prefix, or the whole address
	Proto  string    `json:"proto"`
	Name   string    `json:"name,omitempty"`
	Type   string    `json:"type,omitempty"`
	Rcode  string    `json:"rcode"`
	Answer []string  `json:"answer,omitempty"` // data of the records
	Zone   string    `json:"zone,omitempty"`
	View   string    `json:"view,omitempty"`
	Why    string    `json:"why,omitempty"`
	Size   int       `json:"size"`
}

func (l *QueryLog) line(e *entry) line {
	m := new(dns.Msg)
	_ = m.Unpack(e.reply[:min(e.size, len(e.reply))]) // of a long one, what could be read
	where := l.names.place(int(e.place))
	ln := line{
		Time: e.time.UTC(), Client: l.policy.Load().prefix(e.client), Proto: e.proto.String(),
		Rcode: rcodeText(m), Zone: where.zone, View: where.view, Why: e.why, Size: e.size,
	}
	if len(m.Question) == 1 {
		ln.Name, ln.Type = m.Question[0].Name, dns.Type(m.Question[0].Qtype).String()
	}
	for _, rr := range m.Answer {
		ln.Answer = append(ln.Answer, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	return ln
}

// prefix leaves out what identifies a person.
func (p *QueryPolicy) prefix(client netip.Addr) string {
	client = client.Unmap().WithZone("")
	bits := p.Bits6
	if client.Is4() {
		bits = p.Bits4
	}
	if bits >= client.BitLen() {
		return client.String()
	}
	cut, err := client.Prefix(bits)
	if err != nil {
		return ""
	}
	return cut.String()
}

func rcodeText(m *dns.Msg) string {
	rcode := m.Rcode
	if opt := m.IsEdns0(); opt != nil {
		rcode = m.Rcode&0xf | opt.ExtendedRcode()
	}
	if rcode == dns.RcodeBadVers {
		return "BADVERS" // the library calls 16 by its other name
	}
	return dns.RcodeToString[rcode]
}

// attributes are all of a line but its time, which the program's log has of its own.
func (ln line) attributes() []any {
	return []any{
		"client", ln.Client, "proto", ln.Proto, "name", ln.Name, "type", ln.Type, "rcode", ln.Rcode,
		"answer", strings.Join(ln.Answer, " "), "zone", ln.Zone, "view", ln.View, "why", ln.Why, "size", ln.Size,
	}
}

var queryLogDesc = prometheus.NewDesc("anyedge_dns_query_log_entries_total",
	"Queries for the query log, by what became of them: written, dropped (the queue was full), suppressed (too many failures), failed (to be written).",
	[]string{"result"}, nil)

// Describe implements prometheus.Collector.
func (l *QueryLog) Describe(ch chan<- *prometheus.Desc) { ch <- queryLogDesc }

// Collect implements prometheus.Collector.
func (l *QueryLog) Collect(ch chan<- prometheus.Metric) {
	for result, n := range map[string]*atomic.Uint64{"written": &l.written, "dropped": &l.dropped, "suppressed": &l.suppressed, "failed": &l.failed} {
		ch <- prometheus.MustNewConstMetric(queryLogDesc, prometheus.CounterValue, float64(n.Load()), result)
	}
}
