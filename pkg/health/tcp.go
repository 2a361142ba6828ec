package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// Check connects to Target and closes the connection at once.
func (c TCP) Check(ctx context.Context) error {
	started := time.Now()
	d := net.Dialer{KeepAlive: -1}
	conn, err := d.DialContext(ctx, "tcp", c.Target.String())
	if err != nil {
		return explain(ctx, started, err)
	}
	return conn.Close()
}

// explain says in few, stable words what a socket's error means: no port number that differs from one attempt to the
// next, so that equal failures give equal reasons.
func explain(ctx context.Context, started time.Time, err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused")
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v", allowed(ctx, started))
	case errors.As(err, &op):
		return op.Err
	default:
		return err
	}
}

// allowed is the time that ctx gave, in whole milliseconds.
func allowed(ctx context.Context, started time.Time) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Since(started).Round(time.Millisecond)
	}
	return deadline.Sub(started).Round(time.Millisecond)
}
