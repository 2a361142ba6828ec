package health

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// loop makes the attempts of one check, one at a time.
func (m *Monitor) loop(ctx context.Context, c *check, first time.Duration, s schedule) {
	checker := c.Checker
	if d, ok := checker.(DNS); ok {
		checker = &dnsClient{DNS: d}
	}
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.kick:
		}
		started := time.Now()
		m.attempt(ctx, c, checker, started)
		timer.Reset(time.Until(m.next(c, s, started)))
	}
}

// next tells when c is to be tried again.
func (m *Monitor) next(c *check, s schedule, started time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	// A look is cheap, and a socket or a process that comes back has no event: look often while there is none.
	if c.counter.changing() || c.watches() && c.counter.state == Down {
		return s.soon(started)
	}
	return s.settled(time.Now())
}

// attempt makes one attempt and records it, unless something in between made it worthless.
func (m *Monitor) attempt(parent context.Context, c *check, checker Checker, started time.Time) {
	ctx, cancel := context.WithTimeout(parent, c.Timeout)
	defer cancel()
	epoch := m.begin(c, cancel)
	err := checker.Check(ctx)
	ended := time.Now()
	if err == nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("answered after more than %v", c.Timeout)
	}
	if parent.Err() == nil {
		m.end(c, epoch, err, ended, ended.Sub(started))
	}
}

func (m *Monitor) begin(c *check, cancel context.CancelFunc) (epoch int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.cancel = cancel
	return c.epoch
}

func (m *Monitor) end(c *check, epoch int, err error, at time.Time, took time.Duration) {
	m.update(func() {
		c.cancel = nil
		if epoch != c.epoch || c.service.gone {
			return
		}
		c.metrics.attempt(err, took)
		if err == nil && !c.watches() {
			c.passed, c.took = at, took
		}
		m.record(c, err, at)
	})
}
