package main

import (
	"net/netip"
	"slices"
	"time"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/discovery"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

// A source joins the configuration with what the checks and the loads say.
type source struct {
	cfg      config.DNS
	loads    *loads             // nil: none
	synced   bool               // once true it stays: an endpoint that is in doubt later does not make the rest so
	since    time.Time          // of synced
	services []steering.Service // as they were told last, in the order of the configuration
	drains   *drains
	ordered  int       // so many of the orders to drain are in services
	next     time.Time // when time alone may change something
	ways     ways
}

// ways are the round trips to endpoints whose checks measure them, by name of the check.
type ways map[string]*steering.RoundTrip

// reloaded is what takes the place of s with another configuration.
func (s *source) reloaded(cfg config.DNS) *source {
	s.loads.set(cfg.Services)
	return &source{cfg: cfg, loads: s.loads, drains: s.drains, synced: s.synced, since: s.since, ways: s.ways.of(cfg.Services)}
}

// of returns the ways that services still want, with what is known of them.
func (w ways) of(services []config.DNSService) ways {
	kept := make(ways)
	for _, s := range services {
		for _, c := range s.Checks {
			if name := checkName(s, c.Index); c.Measures && w[name] != nil {
				kept[name] = w[name]
			}
		}
	}
	return kept
}

// take takes in the last attempt of a check that passed, and returns how far its endpoint is.
func (w ways) take(name string, last health.CheckStatus) time.Duration {
	way := w[name]
	if way == nil {
		way = new(steering.RoundTrip)
		w[name] = way
	}
	if !last.Passed.IsZero() {
		way.Take(last.Passed, last.Took)
	}
	return way.Distance()
}

// checkName is what the monitor calls one endpoint of a service; it stays when others come and go.
func checkName(s config.DNSService, endpoint int) string {
	return endpointName(s.Name, s.Endpoints[endpoint].Address)
}

func endpointName(service string, a netip.Addr) string { return service + "/" + a.String() }

// checks makes a health service of every endpoint that has a check.
func checks(services []config.DNSService) []health.Service {
	var all []health.Service
	for _, s := range services {
		for _, c := range s.Checks {
			all = append(all, health.Service{Name: checkName(s, c.Index), Checks: []health.Check{c.Check}})
		}
	}
	return all
}

// content is all that is answered, given the status of all checks, if there is any yet. It is synced when every check has told once.
func (s *source) content(status []health.Status) dnsserver.Content {
	if !s.synced && allTold(status) {
		s.synced, s.since = true, time.Now()
	}
	s.services = make([]steering.Service, len(s.cfg.Services))
	for i, service := range s.cfg.Services {
		s.services[i] = service.Service
	}
	s.ordered = -1
	s.changes(status)
	return dnsserver.Content{Zones: s.cfg.Zones, Services: s.services, Access: s.cfg.Access, Synced: s.synced}
}

// changes are the services of which the status of all checks, the drains or the loads tell something new.
func (s *source) changes(status []health.Status) (changed []steering.Service) {
	now := time.Now()
	ordered := s.ordered != s.drains.orders // else nobody need look at each of a million endpoints
	s.ordered = s.drains.orders
	for i, service := range s.cfg.Services {
		sv, n := &s.services[i], min(len(service.Checks), len(status)) // of a monitor, status has the order of checks
		news := ordered && s.drains.apply(sv, service.Endpoints)
		news = s.update(sv, service, status[:n]) || news
		if s.loads != nil {
			news = s.loads.weigh(now, service, sv, status[:n], news) || news
		}
		status = status[n:]
		if news {
			changed = append(changed, *sv)
		}
	}
	if s.loads != nil {
		s.next = s.loads.next(now)
	}
	return changed
}

// update puts what the checks say into sv, whose endpoints are shared with whoever was told of it before.
func (s *source) update(sv *steering.Service, service config.DNSService, status []health.Status) (changed bool) {
	for i, st := range status {
		c := service.Checks[i]
		e := sv.Endpoints[c.Index]
		e.State, e.Since, e.Holds = stateOf(st.State), s.up(st), service.Endpoints[c.Index].Holds
		if slices.ContainsFunc(st.Checks, func(c health.CheckStatus) bool { return c.Changing }) {
			e.Holds = steering.Soon // once for a row of attempts: each change makes a picker
		}
		if c.Measures {
			e.Distance = s.ways.take(endpointName(sv.Name, e.Address), st.Checks[0])
		}
		if sv.Endpoints[c.Index] == e {
			continue
		}
		if !changed {
			sv.Endpoints, changed = slices.Clone(sv.Endpoints), true
		}
		sv.Endpoints[c.Index] = e
	}
	return changed
}

// up is when an endpoint became up, the zero time when it was so from the beginning: that this program starts makes no pod a
// new one.
func (s *source) up(st health.Status) time.Time {
	if st.State == health.Up && s.synced && st.Since.After(s.since) {
		return st.Since
	}
	return time.Time{}
}

// trouble tells why the load of an endpoint is not told now; empty: it is, or need not be.
func (s *source) trouble(service string, e steering.Endpoint) string {
	for _, one := range s.cfg.Services {
		for i, t := range one.Load.Targets {
			if one.Name == service && one.Endpoints[i].Address == e.Address && t != (discovery.Target{}) {
				return s.loads.scraper.Trouble(t)
			}
		}
	}
	return ""
}

func allTold(status []health.Status) bool {
	return !slices.ContainsFunc(status, func(st health.Status) bool { return st.State == health.Unknown })
}

func stateOf(s health.State) steering.State {
	switch s {
	case health.Up:
		return steering.Up
	case health.Down:
		return steering.Down
	default:
		return steering.Unknown
	}
}
