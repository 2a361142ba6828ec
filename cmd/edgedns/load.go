package main

import (
	"log/slog"
	"slices"
	"time"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/discovery"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

const (
	// idleWait is how long the loop waits when time alone changes nothing.
	idleWait = time.Hour
	// restWait is how long it waits at least: a thousand pods in their slow start change at a thousand moments, and what
	// costs a look at all services is done for all of those at once. Weights need not be more punctual than that.
	restWait = 100 * time.Millisecond
)

// loads are what is known of the load of endpoints, and what follows from it. They outlive configurations.
type loads struct {
	scraper       *discovery.Scraper
	weights       discovery.Weights
	file, cluster wanted
	known         []steering.Load
	looked        time.Time // when all services were looked at last
}

// wanted is what one source of services wants to know.
type wanted struct {
	targets []discovery.Target
	has     func(service string) bool // nil: none
	period  time.Duration             // between two looks; zero: no service has a load
}

func newLoads(log *slog.Logger, services []config.DNSService) *loads {
	l := &loads{scraper: discovery.NewScraper(log)}
	l.set(services)
	return l
}

// set takes on the services of a configuration. Of two looks in an interval, one finds each sample soon after it came.
func (l *loads) set(services []config.DNSService) {
	names := make(map[string]bool)
	l.file = wanted{has: func(name string) bool { return names[name] }}
	for _, s := range services {
		names[s.Name] = true
		l.file.look(s.Load.Interval)
		for _, c := range s.Checks {
			if c.Measures {
				l.file.look(c.Check.Interval)
			}
		}
		l.file.ask(s.Load.Targets)
	}
	l.apply()
}

// look has a look taken twice in an interval; zero: of nothing.
func (w *wanted) look(interval time.Duration) {
	if half := interval / 2; half > 0 && (w.period == 0 || half < w.period) {
		w.period = half
	}
}

// ask has targets asked but for zero ones.
func (w *wanted) ask(targets []discovery.Target) {
	for _, t := range targets {
		if t != (discovery.Target{}) {
			w.targets = append(w.targets, t)
		}
	}
}

// apply states what all sources want; of services that stay, what is known is kept.
func (l *loads) apply() {
	l.scraper.Set(slices.Concat(l.file.targets, l.cluster.targets)...)
	l.weights.Keep(func(name string) bool { return l.file.has(name) || l.cluster.has != nil && l.cluster.has(name) })
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
	l.ofTargets(s.Load.Targets, len(s.Endpoints))
	for i, st := range status {
		c, last := s.Checks[i], st.Checks[0]
		if s.Load.Checks != nil && s.Load.Checks[c.Index] && !last.Passed.IsZero() {
			l.known[c.Index] = steering.Load{At: last.Passed, Every: c.Check.Interval, Latency: steering.Read(last.Took.Seconds())}
		}
	}
	return l.known
}

// ofTargets returns what the first targets of n told, until it is called again.
func (l *loads) ofTargets(targets []discovery.Target, n int) []steering.Load {
	l.known = append(l.known[:0], make([]steering.Load, n)...)
	for i, t := range targets {
		if t != (discovery.Target{}) {
			l.known[i] = l.scraper.Latest(t)
		}
	}
	return l.known
}

// next is when to look again, whatever else is done meanwhile.
func (l *loads) next(now time.Time) time.Time {
	next := now.Add(idleWait)
	for _, w := range []wanted{l.file, l.cluster} {
		if w.period > 0 {
			next = earlier(next, l.looked.Add(w.period))
		}
	}
	if due := l.weights.Next(); !due.IsZero() {
		next = earlier(next, later(due, l.looked.Add(restWait)))
	}
	return next
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
