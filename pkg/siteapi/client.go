package siteapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/anyedge/anyedge/internal/unixapi"
)

// A Client asks the agent behind one socket. Its methods may be called from several goroutines at once.
type Client struct{ api *unixapi.Client }

// NewClient returns a client; it connects when asked something.
func NewClient(socket string) *Client { return &Client{unixapi.NewClient(socket, "edgeagent", "api")} }

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
	body, err := c.api.Open(ctx, http.MethodGet, "/v1/watch", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, unixapi.MaxAnswer)
	for lines.Scan() {
		var s Status
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return c.api.Wrap("no status", err)
		}
		if err := f(s); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return c.api.Wrap("has gone", errors.Join(lines.Err(), io.EOF))
}

func (c *Client) status(ctx context.Context, method, what string, in any) (s Status, err error) {
	err = c.api.Ask(ctx, method, "/v1/"+what, in, &s)
	if errors.Is(err, unixapi.ErrNotFound) {
		err = notFound{err.Error()}
	}
	return s, err
}

// notFound is ErrNoService in the words of the agent.
type notFound struct{ text string }

func (e notFound) Error() string        { return e.text }
func (e notFound) Is(target error) bool { return target == ErrNoService }
