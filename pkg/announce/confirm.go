package announce

import (
	"context"
	"sync/atomic"
)

// A confirmer learns when a generation was written to every router, in a goroutine of its own: a router that does not read
// must not stand before a withdrawal.
type confirmer struct {
	speaker Speaker
	asked   uint64      // belongs to the goroutine that asks
	ask     chan uint64 // capacity 1: only the latest counts
	changed chan struct{}
	written atomic.Uint64
}

func newConfirmer(s Speaker) *confirmer {
	return &confirmer{speaker: s, ask: make(chan uint64, 1), changed: make(chan struct{}, 1)}
}

// want asks for one more generation; to be called by one goroutine only.
func (c *confirmer) want(generation uint64) {
	if generation <= c.asked {
		return
	}
	c.asked = generation
	select {
	case <-c.ask:
	default:
	}
	c.ask <- generation
}

// done tells whether a generation was written.
func (c *confirmer) done(generation uint64) bool { return c.written.Load() >= generation }

// run returns when ctx is done.
func (c *confirmer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case generation := <-c.ask:
			if c.speaker.Wait(ctx, generation) != nil {
				return // ctx is done
			}
			c.written.Store(generation)
			select {
			case c.changed <- struct{}{}:
			default:
			}
		}
	}
}
