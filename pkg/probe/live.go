package probe

import "time"

const (
	// noticeFloor and noticeFactor say when an unanswered probe is an outage for those who watch: after noticeFloor,
	// or noticeFactor intervals or usual round trips, whichever is longest. The report does not depend on it.
	noticeFloor  = 20 * time.Millisecond
	noticeFactor = 3
	// smoothing is the weight of history in the usual round trip, as in RFC 6298.
	smoothing = 8
)

// An Event tells what happens while a Prober runs. Counts are those so far.
type Event struct {
	MonoNs   int64   `json:"mono_ns"`         // site, end of an outage: the answer's receive time; start: the probe's send time
	Event    string  `json:"event"`           // site | outage | progress
	State    string  `json:"state,omitempty"` // of an outage: start | end
	Seq      uint64  `json:"seq"`             // the probe that tells it; progress: the newest
	Site     string  `json:"site"`            // that answered the newest answered probe; empty: none did yet
	Sent     int     `json:"sent"`
	Received int     `json:"received"`
	Lost     int     `json:"lost"`      // lags by the timeout of 1 s
	RTTMs    float64 `json:"rtt_ms"`    // usual round trip lately
	OutageMs float64 `json:"outage_ms"` // since the first unanswered probe was sent; 0 outside an outage
}

// live notices at once, and provisionally, what a report will say for sure: who answers, and outages.
type live struct {
	interval time.Duration
	any      bool   // a probe was answered
	newest   uint64 // the newest answered probe
	site     string // of it
	usual    int64  // round trip in nanoseconds
	judged   uint64 // all probes before this one were judged
	down     bool   // an outage is on
	since    int64  // send time of its first probe
	first    uint64 // that probe
	events   []Event
}

func newLive(interval time.Duration) live { return live{interval: interval} }

// answered is told every answer in time.
func (l *live) answered(s *slot, site string) {
	rtt := s.received - s.sent
	if l.usual == 0 {
		l.usual = rtt
	}
	l.usual += (rtt - l.usual) / smoothing
	if l.any && s.seq < l.newest {
		return // overtaken: who answers now is known already
	}
	changed := !l.any || site != l.site
	l.any, l.newest, l.site = true, s.seq, site
	if l.down && s.seq > l.first {
		l.end(s)
	}
	if changed {
		l.tell(Event{Event: "site", MonoNs: s.received, Seq: s.seq})
	}
}

func (l *live) end(s *slot) {
	l.down = false
	l.judged = max(l.judged, s.seq+1) // what is unanswered before it belongs to this outage
	l.tell(Event{Event: "outage", State: "end", MonoNs: s.received, Seq: s.seq})
}

// judge looks at every probe once it is old enough.
func (l *live) judge(t *tally, now int64) {
	patience := l.patience()
	if held := uint64(len(t.slots)); t.next-l.judged > held {
		l.judged = t.next - held // what is older is forgotten
	}
	for l.judged < t.next {
		s := t.slot(l.judged)
		if now-s.sent < patience {
			return
		}
		l.judged++
		switch {
		case s.state == answered && l.down:
			l.end(s)
		case s.state != answered && s.state != skipped && !l.down:
			l.start(t, s)
		}
	}
}

// start begins an outage, and ends it at once where a later probe was answered meanwhile.
func (l *live) start(t *tally, s *slot) {
	l.down, l.since, l.first = true, s.sent, s.seq
	l.tell(Event{Event: "outage", State: "start", MonoNs: s.sent, Seq: s.seq})
	for seq := s.seq + 1; l.any && seq <= l.newest; seq++ {
		if after := t.slot(seq); after.state == answered {
			l.end(after)
			return
		}
	}
}

func (l *live) patience() int64 {
	if !l.any {
		return int64(timeout) // how long a round trip takes is not known yet
	}
	return max(int64(noticeFloor), noticeFactor*int64(l.interval), noticeFactor*l.usual)
}

func (l *live) tell(e Event) {
	e.Site = l.site
	l.events = append(l.events, e)
}

// takeEvents returns what happened since the last call, with the counts of now.
func (t *tally) takeEvents(now int64) []Event {
	events := t.live.events
	t.live.events = nil
	for i, e := range events {
		full := t.progress(now)
		full.MonoNs, full.Event, full.State, full.Seq, full.Site = e.MonoNs, e.Event, e.State, e.Seq, e.Site
		events[i] = full
	}
	return events
}

// progress tells where the run is.
func (t *tally) progress(now int64) Event {
	e := Event{
		MonoNs: now, Event: "progress", Seq: max(t.next, 1) - 1, Site: t.live.site,
		Sent: t.sent, Received: t.received, Lost: t.lost, RTTMs: ms(t.live.usual),
	}
	if t.live.down {
		e.OutageMs = ms(now - t.live.since)
	}
	return e
}
