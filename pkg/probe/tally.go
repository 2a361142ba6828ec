package probe

import (
	"math"
	"time"
)

const (
	// timeout is how long a probe may stay unanswered before it is lost.
	timeout = time.Second
	// readGrace is how much longer an answer may wait to be read: it counts when the kernel had it in time.
	readGrace = 100 * time.Millisecond
)

// A state is what became of a probe.
type state uint8

const (
	skipped  state = iota // never sent: the prober was too late
	pending               // sent, not answered yet
	answered              // in time
	failed                // answered, not well
	expired               // not answered in time
	late                  // answered, not in time
)

// A slot is what a tally remembers of one probe. Times are CLOCK_MONOTONIC in nanoseconds.
type slot struct {
	seq      uint64
	sent     int64
	received int64
	site     int
	state    state
}

// A tally matches answers to probes and adds up. It knows neither clock nor socket, and takes bounded memory. Probes
// are numbered from 0 without gaps; each is sent or skipped, in this order. It is not safe for concurrent use.
type tally struct {
	slots   []slot // of the newest probes; that of probe n is at n modulo the length
	next    uint64 // number of the probe that comes next
	settled uint64 // all probes before this one have their final state
	pending int    // probes without a state yet

	sent, received, lost, late, failed, duplicates int

	sites    sites
	rtt      histogram
	sendLate histogram
	outages  outages
	series   series
	live     live
}

// newTally returns a tally of probes sent every interval, with a series of so many points.
func newTally(interval time.Duration, points int) *tally {
	// Twice what can be under way: duplicates are told from late answers as long as the probe is remembered.
	window := int(2*(timeout+readGrace)/interval) + 1024
	return &tally{
		slots:   make([]slot, window),
		outages: outages{interval: interval},
		series:  newSeries(points),
		live:    newLive(interval),
	}
}

func (t *tally) slot(seq uint64) *slot { return &t.slots[seq%uint64(len(t.slots))] }

// send records that the next probe, due at due, is sent now and returns its number.
func (t *tally) send(due, now int64) uint64 {
	t.sent++
	t.pending++
	t.sendLate.add(now - due)
	return t.add(slot{sent: now, state: pending}, now)
}

// skip records that the next probe is not sent at all.
func (t *tally) skip(now int64) { t.add(slot{sent: now, state: skipped}, now) }

func (t *tally) add(s slot, now int64) uint64 {
	t.settle(now)
	if t.next-t.settled >= uint64(len(t.slots)) {
		t.settleOne() // only after a schedule that no prober keeps
	}
	s.seq = t.next
	*t.slot(s.seq) = s
	t.next++
	return s.seq
}

// An answer is what a protocol reads from a packet.
type answer struct {
	seq    uint64
	site   []byte // valid until the next packet
	failed bool   // it is an answer, but not a success
}

// receive records an answer that was received at at, and returns whether it answers a probe.
func (t *tally) receive(a answer, at int64) bool {
	if a.seq >= t.next {
		return false
	}
	s := t.slot(a.seq)
	if s.seq != a.seq {
		t.late++ // its probe is forgotten: sent long ago
		return true
	}
	switch s.state {
	case pending:
		t.answer(s, a, at)
	case expired:
		s.state = late
		t.late++
	case skipped:
		return false
	default:
		t.duplicates++
	}
	return true
}

// answer records the first answer to a probe.
func (t *tally) answer(s *slot, a answer, at int64) {
	t.pending--
	s.received = at
	switch {
	case at-s.sent > int64(timeout):
		s.state = late
		t.late++
	case a.failed:
		s.state = failed
		t.failed++
	default:
		s.state = answered
		s.site = t.sites.id(a.site)
		t.count(s)
		t.live.answered(s, t.siteName(s.site))
	}
}

func (t *tally) count(s *slot) {
	t.received++
	t.rtt.add(s.received - s.sent)
	site := t.sites.list[s.site]
	site.received++
	site.rtt.add(s.received - s.sent)
}

func (t *tally) siteName(id int) string { return t.sites.list[id].name }

// settle gives probes their final state, in their order, as far as it is known at now.
func (t *tally) settle(now int64) {
	for t.settled < t.next {
		s := t.slot(t.settled)
		if s.state == pending && now-s.sent <= int64(timeout+readGrace) {
			return
		}
		t.settleOne()
	}
}

func (t *tally) settleOne() {
	s := t.slot(t.settled)
	t.settled++
	switch s.state {
	case skipped:
	case answered:
		t.outages.answered(s)
		t.series.add(s.seq, s.site, s.received-s.sent)
	case pending:
		s.state = expired
		t.pending--
		t.lose(s)
	default:
		t.lose(s)
	}
}

func (t *tally) lose(s *slot) {
	t.lost++
	t.outages.lose(s)
	t.series.add(s.seq, lostSite, 0)
}

// tick settles what can be settled at now and notices outages early.
func (t *tally) tick(now int64) {
	t.settle(now)
	t.live.judge(t, now)
}

// report ends the tally, whatever is unanswered is lost, and fills in all that it knows. r.Started and r.StartMonoNs
// name the same moment.
func (t *tally) report(r *Report, interval time.Duration) {
	t.settle(math.MaxInt64)
	r.Scheduled, r.Sent, r.Received, r.Lost = int(t.next), t.sent, t.received, t.lost
	r.Late, r.Failed, r.Duplicates = t.late, t.failed, t.duplicates
	r.IntervalMs = ms(int64(interval))
	r.MTTRMs = float64(t.lost) * r.IntervalMs
	r.RTTMs, r.SendLateMs = t.rtt.percentiles(), t.sendLate.percentiles()
	r.BySite, r.RTTBySiteMs, r.RTTBins = map[string]int{}, map[string]Percentiles{}, map[string][]Bin{}
	for _, s := range t.sites.list {
		r.BySite[s.name] = s.received
		r.RTTBySiteMs[s.name] = s.rtt.percentiles()
		r.RTTBins[s.name] = s.rtt.bins()
	}
	r.Outages, r.MoreOutages = t.outages.list(t.siteName, func(mono int64) time.Time {
		return r.Started.Add(time.Duration(mono - r.StartMonoNs))
	})
	r.Series = t.series.report(interval, t.siteName)
}
