package lab

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// orderTimeout bounds one order to an agent, with its end.
const orderTimeout = 30 * time.Second

// drain is what an operator does before maintenance; it returns when the agent has taken the order.
func drain(ctx context.Context, l *Lab, v victim) error { return v.edgectl(ctx, l, "drain") }

// undrain lets the drain come to its end, in which the site is withdrawn, and takes it back.
func undrain(ctx context.Context, l *Lab, v victim) error {
	if err := v.edgectl(ctx, l, "drain", "--wait"); err != nil {
		return err
	}
	return v.edgectl(ctx, l, "undrain")
}

// edgectl gives the site's agent an order.
func (v victim) edgectl(ctx context.Context, l *Lab, order ...string) error {
	agent, err := v.parts.player("agent", v.site)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	cmd, err := l.Command(ctx, agent, append([]string{"edgectl"}, order...)...)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := l.Spawn(agent, cmd); err != nil {
		return fmt.Errorf("node %s: edgectl %s: %w", agent, order[0], err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("node %s: edgectl %s: %w: %s", agent, order[0], err, out.String())
	}
	return nil
}

// drained is how long an agent may take to drain and end.
const drained = 10 * time.Second

// renew ends an agent as an operator would, and starts it again.
func (l *Lab) renew(agent string) error {
	p, err := l.node(agent)
	if err != nil {
		return err
	}
	p.stop(drained)
	return p.start()
}
