package announce

import (
	"slices"
	"time"
)

// ServiceStatus is where one service stands now.
type ServiceStatus struct {
	Service string
	State   State
	Since   time.Time // of State; in Settling, since when the service is up
	Reason  string    // of State, for people
	Drain   string    // why it is to be drained, for people; empty: it is not
}

// Status returns where the services stand, in the order in which they were given, as a copy. Safe for concurrent use.
func (c *Controller) Status() []ServiceStatus {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	return slices.Clone(c.status)
}

// Changed returns a channel of capacity 1 that has a value when Status changed since the last receive.
func (c *Controller) Changed() <-chan struct{} { return c.changed }

// publish makes Status what was decided, and is cheap when that is nothing new.
func (c *Controller) publish() {
	c.statusMu.Lock()
	defer c.statusMu.Unlock()
	changed := false
	for i, s := range c.services {
		m := c.memory[i]
		now := ServiceStatus{Service: s.Name, State: m.State, Since: m.Since, Reason: m.Reason, Drain: c.drains.wanted(s)}
		changed = changed || now != c.status[i]
		c.status[i] = now
	}
	if !changed {
		return
	}
	select {
	case c.changed <- struct{}{}:
	default:
	}
}
