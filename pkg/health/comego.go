package health

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Set makes services the whole set of those that come and go, beside those of NewMonitor, which stay. One that is there
// already and is equal, in the sense of reflect.DeepEqual, goes on as it stands; one that differs begins anew, as unknown.
// Nothing changes when one of them is not valid: their checks have a Checker each, since what the kernel is to watch is known
// at the start, and their names are not taken. Set may be called at any time, from any goroutine.
func (m *Monitor) Set(services ...Service) error {
	if err := m.validateComers(services); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	there := make(map[string]*service)
	for _, s := range m.services[m.fixed:] {
		there[s.name] = s
	}
	next := slices.Clone(m.services[:m.fixed])
	var fresh []*service
	for _, s := range services {
		old := there[s.Name]
		if old == nil || !reflect.DeepEqual(old.wanted, s) {
			old = newService(s, time.Now())
			old.wanted = s
			old.wanted.Checks = slices.Clone(s.Checks)
			fresh = append(fresh, old)
		} else {
			delete(there, s.Name)
		}
		next = append(next, old)
	}
	for _, s := range there {
		s.end()
		m.metrics.forget(s)
	}
	m.services, m.coming = next, append(m.coming, fresh...)
	m.metrics.init(fresh)
	m.signal()
	poke(m.came)
	return nil
}

func (m *Monitor) validateComers(services []Service) error {
	names := make(map[string]bool)
	for _, s := range m.ofStart() {
		names[s.name] = true
	}
	for _, s := range services {
		if names[s.Name] {
			return fmt.Errorf("health: service %s: the name is taken", s.Name)
		}
		names[s.Name] = true
		for _, c := range s.Checks {
			if c.Checker == nil || c.watches() {
				return fmt.Errorf("health: check %s/%s: of a service that comes and goes, it must have a Checker and nothing else", s.Name, c.Name)
			}
		}
		if svc := newService(s, time.Time{}); svc.need > len(svc.statusOf(false)) {
			return fmt.Errorf("health: service %s: more checks required than there are that are not remote", s.Name)
		}
	}
	return nil
}

// end ends the checks of a service, or keeps them from beginning. The caller holds mu of the monitor.
func (s *service) end() {
	s.gone = true
	if s.cancel != nil {
		s.cancel()
	}
}

// runComers begins the checks of services that come, until ctx is done. n, the number of the next check, spreads them.
func (m *Monitor) runComers(ctx context.Context, g *errgroup.Group, n int, start time.Time, shift float64) error {
	for {
		together := 0 // checks that begin now
		for _, s := range m.takeComers(ctx) {
			for _, c := range s.checks {
				delay, plan := firstDelay(together), newSchedule(c.Check, n, shift, start)
				together, n = together+1, n+1
				g.Go(func() error {
					m.loop(s.ctx, c, delay, plan)
					return nil
				})
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.came:
		}
	}
}

// takeComers returns the services that came, each with a context that ends with it.
func (m *Monitor) takeComers(ctx context.Context) []*service {
	m.mu.Lock()
	defer m.mu.Unlock()
	came := slices.DeleteFunc(m.coming, func(s *service) bool { return s.gone })
	m.coming = nil
	for _, s := range came {
		s.ctx, s.cancel = context.WithCancel(ctx)
	}
	return came
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
