package health

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
)

// exchange is a connection for each request: one that is kept would tell of the past, and a server that takes no new
// connections would pass. It is not http.Transport, which reads before it asks and logs what a server says unasked.
type exchange struct{ check HTTP }

// RoundTrip implements http.RoundTripper. Closing the body closes the connection.
func (e exchange) RoundTrip(r *http.Request) (*http.Response, error) {
	conn, err := e.check.connect(r.Context(), r.URL.Hostname())
	if err != nil {
		return nil, err
	}
	stop := obey(r.Context(), conn)
	closeAll := func() error { stop(); return conn.Close() }
	answer, err := ask(conn, r)
	if err != nil {
		_ = closeAll()
		return nil, err
	}
	answer.Body = closing{answer.Body, closeAll}
	return answer, nil
}

func (c HTTP) connect(ctx context.Context, host string) (net.Conn, error) {
	conn, err := c.dial(ctx, c.Target)
	if err != nil || !c.TLS {
		return conn, err
	}
	secure := tls.Client(conn, &tls.Config{
		ServerName:         cmp.Or(c.ServerName, host),
		RootCAs:            c.Roots,
		InsecureSkipVerify: c.InsecureSkipVerify,
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// ask sends a request and reads the answer's head, passing over interim ones (RFC 9110 section 15.2). However much the
// server says, no more than maxReply for the head and as much for the body is read.
func ask(conn net.Conn, r *http.Request) (*http.Response, error) {
	r = r.WithContext(r.Context())
	r.Close = true
	if err := r.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(io.LimitReader(conn, 2*maxReply))
	for {
		answer, err := http.ReadResponse(in, r)
		if err != nil || answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			return answer, err
		}
	}
}

// closing is a body whose connection ends with it. The body's own Close would read on.
type closing struct {
	io.Reader
	close func() error
}

// Close implements io.Closer.
func (c closing) Close() error { return c.close() }
