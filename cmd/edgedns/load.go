package main

import (
	"log/slog"
	"time"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/discovery"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

// idleWait is how long the loop waits when time alone changes nothing.
const idleWait = time.Hour

// loads are what is known of the load of endpoints, and what follows from it. They outlive configurations.
type loads struct {
	scraper *discovery.Scraper
	weights discovery.Weights
	period  time.Duration // between two looks; zero: no service has a load
	known   []steering.Load
}

func newLoads(log *slog.Logger, services []config.DNSService) *loads {
	l := &loads{scraper: discovery.NewScraper(log)}
	l.set(services)
	return l
}

// set takes on the services of a configuration; of those that stay, what is known is kept. Of two looks in an interval, one
// finds each sample soon after it came.
func (l *loads) set(services []config.DNSService) {
	var targets []discovery.Target
	names := make(map[string]bool)
	l.period = 0
	for _, s := range services {
		names[s.Name] = true
		if half := s.Load.Interval / 2; half > 0 && (l.period == 0 || half < l.period) {
			l.period = half
		}
		for _, t := range s.Load.Targets {
			if t != (discovery.Target{}) {
				targets = append(targets, t)
			}
		}
	}
	l.scraper.Set(targets...)
	l.weights.Keep(func(name string) bool { return names[name] })
}

// weigh sets the weights of sv, which is s as it is now, where its load or the time may have changed any; news: its
// endpoints changed.
func (l *loads) weigh(now time.Time, s config.DNSService, sv *steering.Service, status []health.Status, news bool) (changed bool) {
	if s.Load.Interval == 0 && !news && !l.weights.Due(now, s.Name) {
		return false
	}
	return l.weights.Weigh(now, sv, l.of(s, status))
}

// of returns the loads of the endpoints of s, in their order, given the status of its checks; nil: it has none.
func (l *loads) of(s config.DNSService, status []health.Status) []steering.Load {
	if s.Load.Interval == 0 {
		return nil
	}
	l.known = append(l.known[:0], make([]steering.Load, len(s.Endpoints))...)
	for i, t := range s.Load.Targets {
		if t != (discovery.Target{}) {
			l.known[i] = l.scraper.Latest(t)
		}
	}
	for i, st := range status {
		c, last := s.Checks[i], st.Checks[0]
		if s.Load.Checks != nil && s.Load.Checks[c.Index] && !last.Passed.IsZero() {
			l.known[c.Index] = steering.Load{At: last.Passed, Every: c.Check.Interval, Latency: steering.Read(last.Took.Seconds())}
		}
	}
	return l.known
}

// next is when to look again.
func (l *loads) next(now time.Time) time.Time {
	next := now.Add(idleWait)
	if l.period > 0 {
		next = now.Add(l.period)
	}
	if due := l.weights.Next(); !due.IsZero() && due.Before(next) {
		next = due
	}
	return next
}
