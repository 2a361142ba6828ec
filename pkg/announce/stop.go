package announce

import (
	"context"
	"slices"
	"time"
)

// writeLimit bounds how long stopping waits for the withdrawals to leave.
const writeLimit = time.Second

// lingerLimit bounds how long what is under way is served after the withdrawals have left. Traffic has moved before, where
// there was another way.
const lingerLimit = time.Second

// stop drains and withdraws everything, and waits until that was written. The addresses are not touched: a host that gives
// up its address before the routers gave up the route answers clients with a reset.
func (c *Controller) stop(ctx context.Context) {
	linger := min(c.longestDrain(), lingerLimit)
	again := c.drainAll(ctx)
	c.withdrawAll(ctx, again)
	if linger == 0 || c.hurrying {
		return
	}
	c.log.Info("withdrawn, serving what is under way; a second signal ends this", "for", linger)
	rest := time.NewTimer(linger)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-c.hurry:
	}
}

// drainAll decides until every service is stopping: each has its own time, and one that dies ends it. It returns when to
// step again if the speaker did not take the end of it.
func (c *Controller) drainAll(ctx context.Context) (again time.Time) {
	for {
		select {
		case <-c.hurry:
			c.hurrying = true
		default:
		}
		again = c.step(ctx, true)
		if !slices.ContainsFunc(c.machine.memory, func(m Memory) bool { return m.State != Stopping }) {
			return again
		}
		c.awaitNews(time.Until(again))
	}
}

// awaitNews returns when there is something to decide on, at the latest after d.
func (c *Controller) awaitNews(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.parts.Health.Changed():
	case <-c.repair.peersChanged:
	case <-c.hurry:
	}
}

// withdrawAll tries until the speaker took it and wrote it, at most for writeLimit.
func (c *Controller) withdrawAll(ctx context.Context, again time.Time) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	for ; c.doubtful; again = c.step(ctx, true) {
		if !c.pause(ctx, time.Until(again)) {
			c.giveUp()
			return
		}
	}
	stopHurry := c.cancelOnHurry(cancel)
	defer stopHurry()
	if err := c.parts.Speaker.Wait(ctx, c.generation); err != nil {
		c.log.Warn("withdrawals may not have reached every router; closing the sessions will", "err", err)
	}
}

// giveUp tells what was decided and never taken.
func (c *Controller) giveUp() {
	for _, o := range c.pending {
		o.reason += "; the speaker did not take it, closing the sessions withdraws"
		c.tell(o, time.Now())
	}
	c.pending = nil
}

// pause reports whether it lasted the whole time.
func (c *Controller) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.hurry:
	case <-ctx.Done():
	}
	return false
}

// cancelOnHurry calls cancel when Hurry is called, until the returned function is.
func (c *Controller) cancelOnHurry(cancel context.CancelFunc) (end func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-c.hurry:
			cancel()
		case <-ended:
		}
	}()
	return func() { close(ended); <-done }
}

// longestDrain is that of what is announced now, or bridged: nobody sends to the rest.
func (c *Controller) longestDrain() time.Duration {
	var longest time.Duration
	for i, m := range c.machine.memory {
		if m.State.announcement() != Withdraw || len(m.Targets) > 0 {
			longest = max(longest, c.machine.services[c.machine.vips[i].service].Drain)
		}
	}
	return longest
}
