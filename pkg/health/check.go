package health

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// service is one Service and what is known of it.
type service struct {
	name   string
	checks []*check
	need   int // how many checks that are not remote must be up

	// Of a service that comes and goes.
	wanted Service
	ctx    context.Context
	cancel context.CancelFunc // nil: its checks have not begun
	gone   bool

	degraded       bool
	degradedReason string

	verdict verdict
	since   time.Time
	noticed time.Time
}

// check is one Check and what is known of it.
type check struct {
	Check
	service *service
	kick    chan struct{} // capacity 1: run at once
	metrics checkMetrics
	warning string // why a pass is worth less than it seems

	counter counter
	reason  string
	since   time.Time
	passed  time.Time          // the end of the last attempt that did
	took    time.Duration      // by it
	epoch   int                // attempts begun in an earlier epoch do not count
	cancel  context.CancelFunc // ends the attempt under way; nil between attempts
}

func newService(s Service, now time.Time) *service {
	svc := &service{name: s.Name, since: now}
	for _, c := range s.Checks {
		c = withDefaults(c)
		svc.checks = append(svc.checks, &check{
			Check:   c,
			service: svc,
			kick:    make(chan struct{}, 1),
			warning: warning(c.Checker),
			counter: counter{rise: c.Rise, fall: c.Fall},
			reason:  "no result yet",
			since:   now,
		})
	}
	svc.need = s.Require
	if svc.need <= 0 {
		svc.need = len(svc.statusOf(false))
	}
	svc.verdict = verdict{}.combine(svc.statusOf(false), svc.need)
	return svc
}

// statusOf returns the status of the checks that are remote, or of those that are not.
func (s *service) statusOf(remote bool) []CheckStatus {
	return slices.DeleteFunc(s.checkStatus(), func(c CheckStatus) bool { return c.Remote != remote })
}

// warning asks a checker that has one, such as HTTP.
func warning(c Checker) string {
	w, ok := c.(interface{ Warning() string })
	if !ok {
		return ""
	}
	return w.Warning()
}

func withDefaults(c Check) Check {
	if c.Interval <= 0 {
		c.Interval = time.Second
	}
	if c.Timeout <= 0 {
		c.Timeout = 500 * time.Millisecond
	}
	if c.FastInterval <= 0 {
		c.FastInterval = c.Interval
	}
	c.Rise, c.Fall = max(c.Rise, 1), max(c.Fall, 1)
	if c.watches() {
		c.Rise, c.Fall = 1, 1
	}
	return c
}

// watches tells that the kernel tells of it, so that attempts only look whether anything was missed.
func (c Check) watches() bool { return c.Listener != nil || c.Process != nil }

func (s *service) checkStatus() []CheckStatus {
	all := make([]CheckStatus, len(s.checks))
	for i, c := range s.checks {
		all[i] = CheckStatus{
			Name: c.Name, State: c.counter.state, Reason: c.reason, Since: c.since, Remote: c.Remote, Changing: c.counter.changing(),
			Passed: c.passed, Took: c.took,
		}
	}
	return all
}

// reason is why the service is in its state, with all warnings while it is up.
func (s *service) reason() string {
	reason := s.verdict.reason
	for _, c := range s.checks {
		if s.verdict.state == Up && c.warning != "" {
			reason += "; " + c.Name + ": " + c.warning
		}
	}
	return reason
}

// rising tells whether the service is down, but will be up if what passes now goes on to.
func (s *service) rising() bool {
	passing := 0
	for _, c := range s.checks {
		if !c.Remote && (c.counter.state == Up || c.counter.rising()) {
			passing++
		}
	}
	return s.verdict.state == Down && passing >= s.need
}

func (s *service) kickActive() {
	for _, c := range s.checks {
		if !c.watches() && !c.Remote {
			c.run()
		}
	}
}

// status is what makes news when it changes. How long an attempt took is none.
func (c *check) status() CheckStatus {
	return CheckStatus{State: c.counter.state, Reason: c.reason, Since: c.since, Changing: c.counter.changing()}
}

// take counts one result. The caller holds the monitor's mu.
func (c *check) take(err error, at time.Time) {
	if unsure(err) {
		c.reason = err.Error()
		return
	}
	was := c.counter.state
	c.counter.observe(err == nil)
	if c.counter.state != was {
		c.since = at
	} else if c.watches() && was == Down {
		return // how it went says more than that it is still not there
	}
	c.reason = c.explain(err)
}

func (c *check) explain(err error) string {
	switch {
	case err != nil && c.counter.state == Up:
		return fmt.Sprintf("failed %d of %d: %v", c.counter.streak, c.counter.fall, err)
	case err != nil:
		return err.Error()
	case c.counter.state == Up && c.warning != "":
		return "ok, but " + c.warning
	case c.counter.state == Up:
		return "ok"
	default:
		return fmt.Sprintf("ok, %d of %d in a row", c.counter.streak, c.counter.rise)
	}
}

// forget starts c anew: unknown, the attempt under way does not count, the next one runs at once.
func (c *check) forget(at time.Time) {
	c.counter.reset()
	c.reason, c.since = "starts anew: what it asks was gone", at
	c.restart()
	c.run()
}

// restart ends the attempt under way without a result.
func (c *check) restart() {
	c.epoch++
	if c.cancel != nil {
		c.cancel()
	}
}

// run makes the next attempt run at once, or right after the one under way.
func (c *check) run() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}
