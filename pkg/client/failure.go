package client

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Kinds of failures, as reports name them.
const (
	kindResolve  = "resolve"  // no address: the server did not answer, answered with an error, or has none
	kindConnect  = "connect"  // no connection to any address, retries included
	kindReset    = "reset"    // the connection broke after it was made
	kindTimeout  = "timeout"  // the time of the request was over
	kindStatus   = "status"   // an answer other than 2xx
	kindProtocol = "protocol" // no HTTP/1.1, or too long
	kindOverload = "overload" // not made: too many requests under way in this program
)

// A failure is why a request came to nothing.
type failure struct {
	kind string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }

// classify gives an error of a connection its kind.
func classify(err error) *failure {
	kind := kindProtocol
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		kind = kindTimeout
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.Is(err, net.ErrClosed):
		kind = kindReset
	}
	return &failure{kind, plain(err)}
}

// plain unwraps what the net package adds to an error of the kernel: texts of one kind shall be one.
func plain(err error) error {
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		err = op.Err
	}
	if call := (*os.SyscallError)(nil); errors.As(err, &call) {
		err = call.Err
	}
	return err
}

// tooMany is what a request over maxInFlight gets.
var tooMany = &failure{kindOverload, errors.New("too many requests under way in this program")}

// failures counts them by kind, with an example of each.
type failures map[string]Failures

// Failures of one kind.
type Failures struct {
	N    int    `json:"n"`
	Last string `json:"last"` // the text of one of them
}

func (f failures) add(one *failure) {
	kind := cmp.Or(one.kind, kindProtocol)
	f[kind] = Failures{N: f[kind].N + 1, Last: limit(one.Error())}
}

// maxText bounds what a report quotes.
const maxText = 200

func limit(s string) string { return s[:min(len(s), maxText)] }
