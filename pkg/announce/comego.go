package announce

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Why a service that came goes.
const (
	notAsked = "not asked for any more"
	moves    = "its address is to be another one"
)

// comers are the services that come and go while the Controller runs.
type comers struct {
	changed chan struct{} // capacity 1

	mu     sync.Mutex
	wanted []Service
}

func (c *comers) want(services []Service) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = slices.Clone(services)
	poke(c.changed)
}

func (c *comers) all() []Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wanted
}

// Set makes services the whole set of those that come and go, beside those of Config, which stay. One that is there already,
// by name and VIPs, goes on as it stands with what else is new of it. One that is not in the set any more is drained for its
// own Drain, withdrawn, and then forgotten, with its address; one whose VIPs are others is so first, and then comes anew. It
// may be called at any time, from any goroutine, and returns at once.
//
// A name or a VIP of Config, or of a service before it in the set, is another's: such a service is left out and told of.
func (c *Controller) Set(services ...Service) { c.comers.want(services) }

// follow brings the services up to date, and returns when to step again if nothing changes before; zero: no need.
func (c *Controller) follow() (again time.Time) {
	all, again := c.merge(c.comers.all())
	if !slices.EqualFunc(all, c.machine.services, sameService) {
		c.replace(all)
		return time.Now()
	}
	return again
}

// merge returns the services to go on with: those of Config, those that are wanted, and those that have not left yet.
func (c *Controller) merge(wanted []Service) (all []Service, again time.Time) {
	all, c.leaving = slices.Clone(c.machine.services[:c.fixed]), false
	byName, there := make(map[string]Service, len(wanted)), make(map[string]bool)
	for _, s := range wanted {
		s.Guard = s.Guard.withDefaults()
		byName[s.Name] = s
	}
	for i := c.fixed; i < len(c.machine.services); i++ {
		s := c.machine.services[i]
		next, wants := byName[s.Name]
		switch {
		case wants && slices.Equal(next.VIPs, s.VIPs):
			all, there[s.Name] = append(all, next), true
			continue
		case wants:
			s.Leave, s.Drain = moves, next.Drain
		default:
			s.Leave = notAsked
		}
		gone, look := c.left(i)
		again = earliest(again, look)
		if !gone {
			all, there[s.Name], c.leaving = append(all, s), true, true
		}
	}
	maps.DeleteFunc(c.refused, func(name, _ string) bool { _, wants := byName[name]; return !wants })
	taken := newClaims(all)
	for _, s := range wanted {
		if there[s.Name] {
			continue
		}
		if whose := taken.claim(s); whose == "" {
			all = append(all, byName[s.Name])
		} else if c.refused[s.Name] != whose {
			c.refused[s.Name] = whose
			c.log.Warn("a service does not come: its name or an address is another's", "service", s.Name, "of", whose)
		}
	}
	return all, again
}

// left tells whether nothing of a service is announced, or carried, any more, and nothing is under way; else when to look
// again.
func (c *Controller) left(service int) (gone bool, again time.Time) {
	now, since := time.Now(), time.Time{}
	first := c.machine.first[service]
	for _, m := range c.machine.memory[first : first+len(c.machine.services[service].VIPs)] {
		if m.State != Drained || len(m.Targets) > 0 {
			return false, time.Time{} // a step will tell
		}
		since = later(since, m.Since)
	}
	if due := since.Add(lingerLimit); now.Before(due) {
		return false, due
	}
	return true, time.Time{}
}

// claims are who has which name and address.
type claims struct {
	names map[string]bool
	vips  map[netip.Addr]string
}

func newClaims(services []Service) claims {
	c := claims{make(map[string]bool), make(map[netip.Addr]string)}
	for _, s := range services {
		c.add(s)
	}
	return c
}

func (c claims) add(s Service) {
	c.names[s.Name] = true
	for _, v := range s.VIPs {
		c.vips[v.Address.Addr()] = s.Name
	}
}

// claim returns who has the name or an address of s; empty: nobody, and s has them now.
func (c claims) claim(s Service) (whose string) {
	if c.names[s.Name] {
		return s.Name
	}
	for _, v := range s.VIPs {
		if whose := c.vips[v.Address.Addr()]; whose != "" {
			return whose
		}
	}
	c.add(s)
	return ""
}

func sameService(a, b Service) bool {
	return a.Name == b.Name && a.Settle == b.Settle && a.Drain == b.Drain && a.File == b.File && a.Leave == b.Leave &&
		a.Guard == b.Guard && slices.Equal(a.VIPs, b.VIPs)
}

// replace goes on with other services. What is remembered of a VIP stays with it, as long as its service has the same name.
func (c *Controller) replace(services []Service) {
	old := c.machine
	c.machine = old.with(services)
	before := c.plan
	c.plan = newPlan(c.machine.vips)
	c.metrics.forget(old.services, before, c.machine.services, c.plan)
	c.metrics.add(old.services, c.machine.services, c.plan)
	c.keeper.want(c.plan.addresses)
	c.outside.follow(c.machine.vips)
	c.parts.Drains.follow(c.machine.services)
	c.drain, c.health = make([]string, len(services)), nil
	clear(c.index)
	for i, s := range services {
		c.index[s.Name] = i
		delete(c.refused, s.Name)
	}
	c.readDrains()
	c.republish()
}

// with returns a machine for other services that knows what m knows.
func (m *machine) with(services []Service) *machine {
	next := newMachine(Config{Services: services, Bridge: m.times, Guards: m.guards})
	type place struct {
		service string
		vip     netip.Prefix
	}
	known := make(map[place]Memory, len(m.vips))
	for i, v := range m.vips {
		known[place{m.services[v.service].Name, v.Address}] = m.memory[i]
	}
	for i, v := range next.vips {
		next.memory[i] = known[place{next.services[v.service].Name, v.Address}]
	}
	next.braked, next.levels, next.carriers = m.braked, true, true
	return next
}

// republish makes Status that of other services.
func (c *Controller) republish() {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	was := make(map[string]State, len(c.status))
	for _, s := range c.status {
		was[s.Service] = s.State
	}
	c.status = make([]ServiceStatus, len(c.machine.services))
	clear(c.served)
	for i := range c.status {
		c.status[i] = c.statusOf(i)
		if c.status[i].State != was[c.status[i].Service] {
			c.metrics.enter(c.status[i].Service, c.status[i].State)
		}
	}
	for i, v := range c.machine.vips {
		c.served[v.Address.Addr()] = c.machine.memory[i].serves()
	}
	poke(c.changed)
}
