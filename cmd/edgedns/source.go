package main

import (
	"net/netip"
	"slices"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

// A source joins the configuration with what the checks say.
type source struct {
	cfg      config.DNS
	synced   bool               // once true it stays: an endpoint that is in doubt later does not make the rest so
	services []steering.Service // as they were told last, in the order of the configuration
	drains   *drains
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
	s.synced = s.synced || allTold(status)
	s.services = make([]steering.Service, len(s.cfg.Services))
	for i, service := range s.cfg.Services {
		s.services[i] = service.Service
	}
	s.changes(status)
	return dnsserver.Content{Zones: s.cfg.Zones, Services: s.services, Access: s.cfg.Access, Synced: s.synced}
}

// changes are the services of which the status of all checks, or the drains, tell something new.
func (s *source) changes(status []health.Status) (changed []steering.Service) {
	for i, service := range s.cfg.Services {
		news := s.drains.apply(&s.services[i], service.Endpoints)
		if len(status) > 0 {
			n := len(service.Checks) // of a monitor, status has the order of checks
			news = update(&s.services[i], service.Checks, status[:n]) || news
			status = status[n:]
		}
		if news {
			changed = append(changed, s.services[i])
		}
	}
	return changed
}

// update puts what the checks say into sv, whose endpoints are shared with whoever was told of it before.
func update(sv *steering.Service, checks []config.EndpointCheck, status []health.Status) (changed bool) {
	for i, c := range checks {
		state := stateOf(status[i].State)
		if sv.Endpoints[c.Index].State == state {
			continue
		}
		if !changed {
			sv.Endpoints, changed = slices.Clone(sv.Endpoints), true
		}
		sv.Endpoints[c.Index].State = state
	}
	return changed
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
