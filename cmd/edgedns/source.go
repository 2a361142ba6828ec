package main

import (
	"slices"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

// A source joins the configuration with what the checks say.
type source struct {
	cfg    config.DNS
	synced bool // once true it stays: an endpoint that is in doubt later does not make the rest so
}

// checkName is what the monitor calls one endpoint of a service; it stays when others come and go.
func checkName(s config.DNSService, endpoint int) string {
	return s.Name + "/" + s.Endpoints[endpoint].Address.String()
}

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

// content is what is answered, given the status of all checks. It is synced when every check has told once.
func (s *source) content(status []health.Status) dnsserver.Content {
	states := make(map[string]health.State, len(status))
	for _, st := range status {
		states[st.Service] = st.State
	}
	s.synced = s.synced || !slices.ContainsFunc(status, func(st health.Status) bool { return st.State == health.Unknown })
	c := dnsserver.Content{Zones: s.cfg.Zones, Synced: s.synced}
	for _, service := range s.cfg.Services {
		c.Services = append(c.Services, withStates(service, states))
	}
	return c
}

func withStates(s config.DNSService, states map[string]health.State) steering.Service {
	joined := s.Service
	joined.Endpoints = slices.Clone(s.Endpoints)
	for _, c := range s.Checks {
		joined.Endpoints[c.Index].State = stateOf(states[checkName(s, c.Index)])
	}
	return joined
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
