package announce

import (
	"context"
	"time"
)

// writeLimit bounds how long stopping waits for the withdrawals to leave.
const writeLimit = time.Second

// stop withdraws everything, waits until that was written, and then for the longest drain. The addresses are not touched:
// a host that gives up its address before the routers gave up the route answers clients with a reset.
func (c *Controller) stop(ctx context.Context) {
	drain := c.longestDrain()
	c.withdrawAll(ctx)
	if drain == 0 {
		return
	}
	c.log.Info("withdrawn, serving what is under way; a second signal ends this", "drain", drain)
	rest := time.NewTimer(drain)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-c.hurry:
	}
}

// withdrawAll tries until the speaker took it and wrote it, at most for writeLimit.
func (c *Controller) withdrawAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	for again := c.step(ctx, true); c.doubtful; again = c.step(ctx, true) {
		if !c.pause(ctx, time.Until(again)) {
			c.giveUp()
			return
		}
	}
	stopHurry := c.cancelOnHurry(cancel)
	defer stopHurry()
	if err := c.speaker.Wait(ctx, c.generation); err != nil {
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

// longestDrain is that of what is announced now: nobody sends to the rest.
func (c *Controller) longestDrain() time.Duration {
	var longest time.Duration
	for i, m := range c.memory {
		if m.State == Up {
			longest = max(longest, c.services[i].Drain)
		}
	}
	return longest
}
