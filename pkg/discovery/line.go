package discovery

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const (
	// maxHead and maxBody bound what of an answer is read, however much the pod says.
	maxHead = 64 << 10
	maxBody = 1 << 20
	// maxInterim is how many interim answers may come before the one that counts.
	maxInterim = 8
	// readAhead is the buffer of a connection that is kept.
	readAhead = 4 << 10
)

// A line is the way to one target: a connection that is kept from one request to the next. It is not http.Transport,
// which costs more than all else here, and logs what a server says unasked.
type line struct {
	dial    dialer
	address string
	request []byte

	conn    net.Conn    // nil: none
	release func() bool // of conn from the context it was made in
	in      *bufio.Reader
	rest    io.LimitedReader // of conn, what in may still read for one answer
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

func newLine(t Target, dial dialer) *line {
	host := netip.AddrPortFrom(t.Address.Addr().WithZone(""), t.Address.Port()) // a zone means nothing to the pod
	return &line{dial: dial, address: t.Address.String(), request: fmt.Appendf(nil,
		"GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: anyedge-edgedns\r\nAccept: %s\r\n\r\n", t.Path, host, accept(t.Format))}
}

func accept(f Format) string {
	switch f {
	case Prometheus:
		return "text/plain;version=0.0.4"
	case JSON:
		return "application/json"
	default:
		return "*/*"
	}
}

// ask makes one request, appends the body of the answer to buf and returns its header. A connection that was kept may have
// been closed by the pod meanwhile: then a new one is tried. ctx ends a connection, not only a request.
func (l *line) ask(ctx context.Context, deadline time.Time, buf *bytes.Buffer) (http.Header, error) {
	kept := l.conn != nil
	header, err := l.exchange(ctx, deadline, buf)
	if err != nil && kept && l.unanswered() && ctx.Err() == nil && time.Now().Before(deadline) {
		l.hangUp()
		header, err = l.exchange(ctx, deadline, buf)
	}
	if err != nil {
		l.hangUp()
	}
	return header, err
}

// unanswered tells that nothing came in answer to the last request.
func (l *line) unanswered() bool { return l.rest.N == maxHead && l.in.Buffered() == 0 }

func (l *line) exchange(ctx context.Context, deadline time.Time, buf *bytes.Buffer) (http.Header, error) {
	if err := l.connect(ctx, deadline); err != nil {
		return nil, err
	}
	l.rest.N = maxHead
	if err := l.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	if _, err := l.conn.Write(l.request); err != nil {
		return nil, err
	}
	answer, err := l.answer()
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	l.rest.N += maxBody + 1
	n, err := buf.ReadFrom(io.LimitReader(answer.Body, maxBody+1))
	switch {
	case n > maxBody:
		return nil, fmt.Errorf("the body is longer than %d KiB", maxBody>>10)
	case err != nil:
		return nil, fmt.Errorf("in the body: %w", err)
	case answer.Close || l.in.Buffered() > 0: // nothing more is due
		l.hangUp()
	}
	return answer.Header, nil
}

// answer reads the head of an answer, passing over interim ones (RFC 9110 section 15.2).
func (l *line) answer() (*http.Response, error) {
	for range maxInterim {
		answer, err := http.ReadResponse(l.in, nil)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("closed before an answer came")
		}
		if err != nil || answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			return answer, err
		}
	}
	return nil, errors.New("only interim answers came")
}

func (l *line) connect(ctx context.Context, deadline time.Time) error {
	if l.conn != nil {
		return nil
	}
	soon, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	conn, err := l.dial(soon, "tcp", l.address)
	if err != nil {
		return err
	}
	l.conn, l.rest.R = conn, conn
	l.release = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if l.in == nil {
		l.in = bufio.NewReaderSize(&l.rest, readAhead)
	}
	l.in.Reset(&l.rest)
	return nil
}

// hangUp closes the connection, if there is one.
func (l *line) hangUp() {
	if l.conn != nil {
		l.release()
		_ = l.conn.Close()
		l.conn = nil
	}
}
