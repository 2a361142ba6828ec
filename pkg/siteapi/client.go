package siteapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxAnswer bounds one answer, or one line of a watch.
const maxAnswer = 64 << 20

// A Client asks the agent behind one socket. Its methods may be called from several goroutines at once.
type Client struct {
	socket string
	http   http.Client
}

// NewClient returns a client; it connects when asked something.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{socket, http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks for the status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return c.status(ctx, http.MethodGet, "status", nil)
}

// Drain requests to drain one service, all when service is empty, and returns the status right after that.
func (c *Client) Drain(ctx context.Context, service string) (Status, error) {
	return c.status(ctx, http.MethodPost, "drain", order{service})
}

// Undrain takes the request back.
func (c *Client) Undrain(ctx context.Context, service string) (Status, error) {
	return c.status(ctx, http.MethodPost, "undrain", order{service})
}

// Watch calls f with the status now and with each new one, until f returns an error, which it returns, ctx is done, or
// the agent has gone.
func (c *Client) Watch(ctx context.Context, f func(Status) error) error {
	body, err := c.do(ctx, http.MethodGet, "watch", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		var s Status
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return fmt.Errorf("edgeagent at %s: no status: %w", c.socket, err)
		}
		if err := f(s); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("edgeagent at %s has gone: %w", c.socket, errors.Join(lines.Err(), io.EOF))
}

func (c *Client) status(ctx context.Context, method, what string, in any) (s Status, err error) {
	body, err := c.do(ctx, method, what, in)
	if err != nil {
		return s, err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&s); err != nil {
		return s, fmt.Errorf("edgeagent at %s: no status: %w", c.socket, err)
	}
	return s, nil
}

func (c *Client) do(ctx context.Context, method, what string, in any) (io.ReadCloser, error) {
	var sent bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&sent).Encode(in); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://agent/v1/"+what, &sent)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, c.refused(answer)
	}
	return answer.Body, nil
}

func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("no edgeagent at %s: is it running, and does its file say api: {socket: %[1]s}? (--socket names another): %[2]w", c.socket, cause(err))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("edgeagent at %s: not permitted: be root or in the group of the socket: %w", c.socket, cause(err))
	default:
		return fmt.Errorf("edgeagent at %s: %w", c.socket, err)
	}
}

// cause leaves out what the layers between say about a request over HTTP.
func cause(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

func (c *Client) refused(answer *http.Response) error {
	var r refusal
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxBody)).Decode(&r); err != nil || r.Error == "" {
		return fmt.Errorf("edgeagent at %s: answered %s", c.socket, answer.Status)
	}
	if answer.StatusCode == http.StatusNotFound {
		return notFound{r.Error}
	}
	return errors.New(r.Error)
}

// notFound is ErrNoService in the words of the agent.
type notFound struct{ text string }

func (e notFound) Error() string        { return e.text }
func (e notFound) Is(target error) bool { return target == ErrNoService }
