package probe

import "time"

// maxOutages bounds the list of outages of a report.
const maxOutages = 10_000

// outages finds the maximal runs of consecutive lost probes. It is told the final state of every sent probe in order.
type outages struct {
	interval time.Duration
	before   slot // the last answered probe; state pending: none yet
	any      bool // before is one
	open     *lossRun
	closed   []lossRun
	more     int // closed ones that found no place
}

// A lossRun is one outage as probes tell it.
type lossRun struct {
	first, last   slot // lost
	lost          int
	before, after slot // answered
	begun, ended  bool // before, after are ones
}

func (o *outages) lose(s *slot) {
	if o.open == nil {
		o.open = &lossRun{first: *s, before: o.before, begun: o.any}
	}
	o.open.last = *s
	o.open.lost++
}

func (o *outages) answered(s *slot) {
	if o.open != nil {
		o.open.after, o.open.ended = *s, true
		o.close()
	}
	o.before, o.any = *s, true
}

func (o *outages) close() {
	if len(o.closed) < maxOutages {
		o.closed = append(o.closed, *o.open)
	} else {
		o.more++
	}
	o.open = nil
}

// list ends the outage that is open, if one is, and returns all for a report, and how many found no place in it.
func (o *outages) list(site func(int) string, wall func(mono int64) time.Time) ([]Outage, int) {
	if o.open != nil {
		o.close()
	}
	list := make([]Outage, 0, len(o.closed))
	for _, run := range o.closed {
		list = append(list, run.outage(o.interval, site, wall))
	}
	return list, o.more
}

func (r lossRun) outage(interval time.Duration, site func(int) string, wall func(mono int64) time.Time) Outage {
	o := Outage{
		Start:       wall(r.first.sent),
		End:         wall(r.last.sent).Add(interval),
		Lost:        r.lost,
		DurationMs:  float64(r.lost) * ms(int64(interval)),
		StartMonoNs: r.first.sent,
	}
	if r.begun {
		o.FromSite, o.LastAnswerMonoNs = site(r.before.site), r.before.received
	}
	if r.ended {
		o.End = wall(r.after.sent)
		o.ToSite, o.FirstAnswerMonoNs = site(r.after.site), r.after.received
	}
	if r.begun && r.ended {
		o.GapMs = ms(r.after.sent - r.before.sent)
	}
	return o
}
