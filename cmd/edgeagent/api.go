package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/pkg/announce"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/siteapi"
)

// orders is what the API asks an agent.
type orders struct{ *agent }

// Status joins what the components tell.
func (o orders) Status() siteapi.Status {
	s := siteapi.Status{Site: o.cfg.Site, Version: program.Version()}
	checked := o.monitor.Status()
	for i, st := range o.controller.Status() {
		s.Services = append(s.Services, serviceOf(o.cfg.Services[i].Announce, st, checked[i]))
	}
	for _, n := range o.speaker.Neighbors() {
		s.Neighbors = append(s.Neighbors, siteapi.Neighbor{
			Address: n.Address, ASN: n.ASN, State: n.State, Since: n.Since,
			Families: n.Families, NotCarried: n.NotCarried, Reason: n.Reason,
		})
	}
	return s
}

func serviceOf(s announce.Service, st announce.ServiceStatus, checked health.Status) siteapi.Service {
	one := siteapi.Service{
		Name: st.Service, State: st.State.String(), Since: st.Since, Reason: st.Reason, Drain: st.Drain,
		Health: siteapi.Health{State: checked.State.String(), Since: checked.Since, Reason: checked.Reason, Degraded: checked.DegradedReason},
	}
	for _, v := range s.VIPs {
		one.VIPs = append(one.VIPs, siteapi.VIP{Address: v.Address, Announce: v.Announce})
	}
	for _, c := range checked.Checks {
		one.Checks = append(one.Checks, siteapi.Check{Name: c.Name, State: c.State.String(), Since: c.Since, Reason: c.Reason})
	}
	return one
}

func (o orders) Drain(services ...string) error   { return known(o.drains.Drain(services...)) }
func (o orders) Undrain(services ...string) error { return known(o.drains.Undrain(services...)) }

// known says in the API's words that a service is not.
func known(err error) error {
	if errors.Is(err, announce.ErrNoService) {
		return fmt.Errorf("%w: %w", siteapi.ErrNoService, err)
	}
	return err
}

// serveAPI outlives trouble with its listener, as serveMetrics does.
func (a *agent) serveAPI(ctx context.Context) error {
	if a.socket == nil {
		<-ctx.Done()
		return nil
	}
	if err := a.api.Serve(ctx, a.socket); err != nil {
		a.log.Error("the api is no longer served", "err", err)
		<-ctx.Done()
	}
	return nil
}

// followDecisions tells the watchers of the API what becomes of the services.
func (a *agent) followDecisions(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.controller.Changed():
			a.api.Notify()
		}
	}
}
