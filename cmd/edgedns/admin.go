package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/pkg/dnsapi"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/health"
	"github.com/anyedge/anyedge/pkg/steering"
)

// admin is what the API asks. What belongs to the loop that follows checks and reloads is asked there: it alone knows what
// is in force.
type admin struct {
	*daemon
	ctx context.Context // while the loop runs
}

var _ dnsapi.Program = admin{}

// errStopping is the answer to whoever asks at the end.
var errStopping = errors.New("edgedns is stopping")

// ask runs f in the loop, and waits for it.
func (a admin) ask(f func()) error {
	done := make(chan struct{})
	select {
	case a.asked <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-a.ctx.Done():
		return errStopping
	}
}

// Status implements dnsapi.Program.
func (a admin) Status() (s dnsapi.Status) {
	state := a.server.State()
	s = dnsapi.Status{Version: program.Version(), Synced: state.Synced, Changed: state.Changed, Listen: a.listeners.Addrs()}
	for _, st := range state.Services {
		s.Services = append(s.Services, summary(st))
	}
	_ = a.ask(func() { s.Site, s.Reload = a.source.cfg.Site, a.reload }) // at the end it stays empty
	return s
}

// Service implements dnsapi.Program.
func (a admin) Service(name string) (s dnsapi.Service, err error) {
	st, ok := a.server.Standing(qualified(name))
	if !ok {
		return s, fmt.Errorf("service %q: %w", name, dnsapi.ErrNotFound)
	}
	s.Summary = summary(st)
	return s, a.ask(func() {
		s.List = a.endpoints(st, func(netip.Addr) bool { return true })
	})
}

// Why implements dnsapi.Program.
func (a admin) Why(q dnsapi.Question) (d dnsapi.Decision, err error) {
	if !q.Client.IsValid() {
		q.Client = netip.IPv6Loopback()
	}
	if q.Type == "" {
		q.Type = "AAAA"
	}
	r, err := a.server.Why(dnsserver.Question{Name: qualified(q.Name), Type: q.Type, Client: q.Client, Subnet: q.Subnet})
	if err != nil {
		return d, err
	}
	d = dnsapi.Decision{
		Name: r.Name, Type: r.Type, Client: q.Client, Subnet: q.Subnet, Zone: r.Zone, View: r.View,
		Rcode: r.Rcode, Answer: r.Answer, Reason: r.Text,
	}
	picked := make(map[netip.Addr]bool)
	for _, p := range r.Picked {
		picked[p] = true
	}
	return d, a.ask(func() {
		d.Site = a.source.cfg.Site
		if r.Standing == nil {
			return
		}
		one := summary(*r.Standing)
		d.Service = &one
		d.Candidates = a.endpoints(*r.Standing, func(p netip.Addr) bool { return r.Family < 0 || p.Is4() == (r.Family == steering.IPv4) })
		for i := range d.Candidates {
			d.Candidates[i].Picked = picked[d.Candidates[i].Address]
		}
	})
}

// Drain implements dnsapi.Program.
func (a admin) Drain(service string, endpoint netip.Addr) (dnsapi.Drained, error) {
	return a.drain(service, endpoint, true)
}

// Undrain implements dnsapi.Program.
func (a admin) Undrain(service string, endpoint netip.Addr) (dnsapi.Drained, error) {
	return a.drain(service, endpoint, false)
}

func (a admin) drain(service string, endpoint netip.Addr, on bool) (dnsapi.Drained, error) {
	one := drain{qualified(service), endpoint.Unmap()}
	var err error
	if e := a.ask(func() {
		// To take a drain back also works for an endpoint that is gone.
		if _, drained := a.drains.list[one]; on || !drained {
			err = a.known(one)
		}
		if err == nil {
			err = a.drains.set(one, on, time.Now())
		}
		if err == nil {
			a.update()
			a.redrain(one.Service)
		}
	}); e != nil {
		return dnsapi.Drained{}, e
	}
	return dnsapi.Drained{Service: one.Service, Address: one.Address, Draining: on, Kept: a.drains.file != ""}, err
}

// known refuses what is not there.
func (a admin) known(one drain) error {
	st, ok := a.server.Standing(one.Service)
	if !ok {
		return fmt.Errorf("service %q: %w", strings.TrimSuffix(one.Service, "."), dnsapi.ErrNotFound)
	}
	for _, e := range st.Endpoints {
		if e.Address.Unmap() == one.Address {
			return nil
		}
	}
	return fmt.Errorf("endpoint %s of service %s: %w", one.Address, one.Service, dnsapi.ErrNotFound)
}

// qualified is a name as people may write it.
func qualified(name string) string {
	name = strings.ToLower(name)
	if strings.HasSuffix(name, ".") {
		return name
	}
	return name + "."
}

func summary(st dnsserver.Standing) dnsapi.Summary {
	s := dnsapi.Summary{Name: st.Name, Policy: st.Policy.String(), Answers: st.AnswerSize(), Endpoints: len(st.Endpoints), Stale: st.Stale}
	for _, e := range st.Endpoints {
		if e.State == steering.Up {
			s.Up++
		}
		if e.Draining {
			s.Draining++
		}
	}
	for f, why := range st.Panic {
		if why != "" {
			s.Panic = append(s.Panic, []string{steering.IPv6: "IPv6", steering.IPv4: "IPv4"}[f]+": "+why)
		}
	}
	return s
}

// endpoints joins what is known of those that are asked for.
func (a admin) endpoints(st dnsserver.Standing, which func(netip.Addr) bool) []dnsapi.Endpoint {
	checked := make(map[string]health.Status)
	for _, c := range a.monitor.Load().Status() {
		checked[c.Service] = c
	}
	weights := a.loads.weights.Of(st.Name)
	var all []dnsapi.Endpoint
	for _, e := range st.Endpoints {
		address := e.Address.Unmap()
		if !which(address) {
			continue
		}
		c := checkOf(checked[endpointName(st.Name, address)])
		one := dnsapi.Endpoint{
			Address: address, Port: e.Port, State: e.State.String(), Since: c.Since, Reason: c.Reason,
			Capacity: e.Capacity, Weight: e.Weight(), Share: st.Shares[address], Draining: a.drains.reason(st.Name, e),
		}
		if w, weighed := weights[netip.AddrPortFrom(e.Address, e.Port)]; weighed {
			one.Weighing, one.LoadAge = weighing(w)
		}
		one.NoLoad = a.noLoad(st.Name, e)
		all = append(all, one)
	}
	return all
}

// noLoad tells why the load of an endpoint is not told now; empty: it is, or need not be.
func (a admin) noLoad(service string, e steering.Endpoint) string {
	if a.cluster != nil && a.cluster.names[service] != nil {
		return a.cluster.trouble(a.cluster.names[service], e, time.Now())
	}
	return a.source.trouble(service, e)
}

// weighing tells what made a weight, and the age in seconds of the load in it; nil: there is none.
func weighing(w steering.Weight) (reason string, age *float64) {
	if w.Signal != steering.NoSignal {
		seconds := w.Age.Seconds()
		age = &seconds
	}
	return w.Reason(), age
}

// checkOf is the one check that an endpoint has.
func checkOf(s health.Status) health.CheckStatus {
	if len(s.Checks) == 0 {
		return health.CheckStatus{}
	}
	c := s.Checks[0]
	c.Reason = c.Name + ": " + c.Reason
	return c
}

// serveAdmin outlives trouble with its listener: answers matter more.
func (p *daemon) serveAdmin(ctx context.Context) error {
	if p.socket == nil {
		return nil
	}
	if err := dnsapi.Serve(ctx, p.socket, admin{p, ctx}, p.log); err != nil {
		p.log.Error("the admin api is no longer served", "err", err)
	}
	return nil
}
