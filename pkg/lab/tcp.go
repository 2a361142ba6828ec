package lab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

const (
	// tcpInterval is the time between two requests on the connection of a tcpClient.
	tcpInterval = 10 * time.Millisecond
	// tcpPatience is how long it waits for an answer or a connection before it gives up.
	tcpPatience = time.Second
	// maxExchanges bounds what it keeps: ten minutes of answers.
	maxExchanges = 60_000
)

// TCP is what became of a client's one TCP connection to the service from just before the fault on. The client makes it anew
// whenever it breaks.
type TCP struct {
	Closed   int     `json:"closed"`    // times that it was closed in order
	Resets   int     `json:"resets"`    // times that it was reset, or refused
	Timeouts int     `json:"timeouts"`  // times that nothing came within 1 s
	SilentMs float64 `json:"silent_ms"` // the longest time between two answers
}

// tcpClient asks a responder again and again over one connection.
type tcpClient struct {
	space  namespace
	target netip.AddrPort
	cancel context.CancelFunc
	done   chan struct{}
	log    []exchange // owned by run until done is closed
}

// An exchange ended with an answer, or with an error.
type exchange struct {
	at  int64 // CLOCK_MONOTONIC
	err error
}

// connecting starts a client in a namespace. End it by stop.
func connecting(ctx context.Context, space namespace, target netip.AddrPort) *tcpClient {
	ctx, cancel := context.WithCancel(ctx)
	c := &tcpClient{space: space, target: target, cancel: cancel, done: make(chan struct{})}
	go c.run(ctx)
	return c
}

// stop ends the client and counts what happened since a moment.
func (c *tcpClient) stop(since int64) TCP {
	c.cancel()
	<-c.done
	return tcpCounts(c.log, since)
}

func tcpCounts(log []exchange, since int64) (t TCP) {
	var answered int64
	for _, e := range log {
		switch {
		case e.err == nil:
			if answered > 0 && e.at > since {
				t.SilentMs = max(t.SilentMs, float64(e.at-answered)/1e6)
			}
			answered = e.at
		case e.at <= since:
		case errors.Is(e.err, io.EOF):
			t.Closed++
		case errors.Is(e.err, os.ErrDeadlineExceeded):
			t.Timeouts++
		default:
			t.Resets++
		}
	}
	return t
}

func (c *tcpClient) run(ctx context.Context) {
	defer close(c.done)
	for ctx.Err() == nil {
		err := c.connection(ctx)
		if ctx.Err() == nil {
			c.note(err)
			_ = sleep(ctx, tcpInterval)
		}
	}
}

func (c *tcpClient) note(err error) {
	if len(c.log) < maxExchanges {
		c.log = append(c.log, exchange{monotonic(), err})
	}
}

// connection asks over one connection until it breaks, and returns why it did.
func (c *tcpClient) connection(ctx context.Context) error {
	var conn net.Conn
	err := c.space.do(func() (err error) {
		d := net.Dialer{Timeout: tcpPatience}
		conn, err = d.DialContext(ctx, "tcp", c.target.String())
		return err
	})
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return os.ErrDeadlineExceeded
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	request := probe.Packet{Kind: probe.KindRequest}
	for answer := make([]byte, probe.Size); ; {
		text, _ := request.AppendBinary(nil) // never fails
		_ = conn.SetDeadline(time.Now().Add(tcpPatience))
		if _, err := conn.Write(text); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return err
		}
		c.note(nil)
		if err := sleep(ctx, tcpInterval); err != nil {
			return err
		}
	}
}
