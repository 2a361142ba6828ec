package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Check connects to Target; with Expect it then sends Send and reads until the reply matches. The connection is closed.
func (c TCP) Check(ctx context.Context) error {
	started := time.Now()
	conn, err := c.connect(ctx, unix.SOCK_STREAM, 0, c.Target)
	if err != nil {
		return explain(ctx, started, err)
	}
	defer conn.close()
	if err := conn.established(ctx, c.Target); err != nil || c.Expect == nil {
		return explain(ctx, started, err)
	}
	if err := conn.write(ctx, c.Send); err != nil && !closed(err) { // what came before the end may be there to read
		return explain(ctx, started, err)
	}
	return c.expect(ctx, started, stream{conn, ctx})
}

// expect reads until what came matches, the other side ends, or maxReply bytes did not match.
func (c TCP) expect(ctx context.Context, started time.Time, r io.Reader) error {
	var reply []byte
	for len(reply) < maxReply {
		buf := make([]byte, 1024)
		n, err := r.Read(buf)
		reply = append(reply, buf[:n]...)
		switch {
		case n > 0 && c.Expect.Match(reply):
			return nil
		case closed(err) && len(reply) == 0:
			return errors.New("closed without a reply")
		case err != nil && len(reply) > 0:
			return mismatch(reply, c.Expect)
		case err != nil:
			return explain(ctx, started, err)
		}
	}
	return mismatch(reply, c.Expect)
}

// closed tells that the other side ended: in order, or with some of what was sent to it unread.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// obey ends what conn waits for as soon as ctx is done; the returned function ends that watch.
func obey(ctx context.Context, conn interface{ SetDeadline(time.Time) error }) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
}

// explain says in few, stable words what a socket's error means: no port number that differs from one attempt to the
// next, so that equal failures give equal reasons; nil is no error.
func explain(ctx context.Context, started time.Time, err error) error {
	var op *net.OpError
	switch {
	case err == nil:
		return nil
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
