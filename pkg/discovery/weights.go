package discovery

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/anyedge/anyedge/pkg/steering"
)

// Weights turns what endpoints tell of their load into weights, for many services, whatever source they come from. It is a
// prometheus.Collector. Its zero value is ready; safe for concurrent use.
type Weights struct {
	mu       sync.Mutex // guards following
	services map[string]*weighed
}

// weighed is what is kept of a service.
type weighed struct {
	balancer steering.Balancer
	due      time.Time // of the next step although no load comes in; zero: never

	endpoints []steering.Endpoint // of the last step, those of its caller
	weights   []steering.Weight
}

// Weigh sets the Factor of the endpoints of sv, and its Spill, by their loads, in their order; nil: none is told. It tells whether
// that changed any: then sv has endpoints of its own, for they are shared with whoever was told of them before. A service for which
// it has never anything to do costs nothing.
func (w *Weights) Weigh(now time.Time, sv *steering.Service, loads []steering.Load) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.services[sv.Name]
	if k == nil {
		if loads == nil && !ramps(now, *sv) {
			return false
		}
		k = w.add(sv.Name)
	}
	k.weights, k.due = k.balancer.Step(k.weights[:0], now, *sv, loads)
	if spill := k.balancer.Spill(); sv.Spill != spill {
		sv.Spill, changed = spill, true
	}
	own := false
	for i, weight := range k.weights {
		if sv.Endpoints[i].Factor == weight.Factor {
			continue
		}
		if !own {
			sv.Endpoints, own, changed = slices.Clone(sv.Endpoints), true, true
		}
		sv.Endpoints[i].Factor = weight.Factor
	}
	k.endpoints = sv.Endpoints
	return changed
}

func (w *Weights) add(name string) *weighed {
	if w.services == nil {
		w.services = make(map[string]*weighed)
	}
	k := new(weighed)
	w.services[name] = k
	return k
}

// ramps tells whether an endpoint is in its slow start.
func ramps(now time.Time, sv steering.Service) bool {
	return sv.SlowStart > 0 && slices.ContainsFunc(sv.Endpoints, func(e steering.Endpoint) bool {
		return !e.Since.IsZero() && now.Sub(e.Since) < sv.SlowStart
	})
}

// Due tells whether the weights of a service change by time alone until now.
func (w *Weights) Due(now time.Time, name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.services[name]
	return k != nil && !k.due.IsZero() && !k.due.After(now)
}

// Next is when Due is true for a service next; zero: never.
func (w *Weights) Next() (next time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.services {
		if !k.due.IsZero() && (next.IsZero() || k.due.Before(next)) {
			next = k.due
		}
	}
	return next
}

// Keep forgets all services but those of the names.
func (w *Weights) Keep(names func(string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.services {
		if !names(name) {
			delete(w.services, name)
		}
	}
}

// Of returns what the endpoints of a service got last, and why; none: it is not weighed.
func (w *Weights) Of(name string) map[netip.AddrPort]steering.Weight {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.services[name]
	if k == nil {
		return nil
	}
	all := make(map[netip.AddrPort]steering.Weight, len(k.weights))
	for i, e := range k.endpoints {
		all[netip.AddrPortFrom(e.Address, e.Port)] = k.weights[i]
	}
	return all
}
