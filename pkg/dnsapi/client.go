package dnsapi

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/anyedge/anyedge/internal/unixapi"
)

// A Client asks the edgedns behind one socket. Its methods may be called from several goroutines at once.
type Client struct{ api *unixapi.Client }

// NewClient returns a client; it connects when asked something.
func NewClient(socket string) *Client { return &Client{unixapi.NewClient(socket, "edgedns", "admin")} }

// Status asks for the status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/v1/status", nil)
}

// Service asks for one service with its endpoints.
func (c *Client) Service(ctx context.Context, name string) (Service, error) {
	return ask[Service](ctx, c, http.MethodGet, "/v1/service?"+url.Values{"name": {name}}.Encode(), nil)
}

// Why asks what would be answered now.
func (c *Client) Why(ctx context.Context, q Question) (Decision, error) {
	v := url.Values{"name": {q.Name}, "type": {q.Type}}
	if q.Client.IsValid() {
		v.Set("client", q.Client.String())
	}
	if q.Subnet.IsValid() {
		v.Set("subnet", q.Subnet.String())
	}
	return ask[Decision](ctx, c, http.MethodGet, "/v1/why?"+v.Encode(), nil)
}

// Drain gives an endpoint nothing new.
func (c *Client) Drain(ctx context.Context, service string, endpoint netip.Addr) (Drained, error) {
	return ask[Drained](ctx, c, http.MethodPost, "/v1/drain", order{service, endpoint})
}

// Undrain takes that back.
func (c *Client) Undrain(ctx context.Context, service string, endpoint netip.Addr) (Drained, error) {
	return ask[Drained](ctx, c, http.MethodPost, "/v1/undrain", order{service, endpoint})
}

func ask[T any](ctx context.Context, c *Client, method, path string, in any) (out T, err error) {
	err = c.api.Ask(ctx, method, path, in, &out)
	if errors.Is(err, unixapi.ErrNotFound) {
		err = notFound{err.Error()}
	}
	return out, err
}

// notFound is ErrNotFound in the words of the program.
type notFound struct{ text string }

func (e notFound) Error() string        { return e.text }
func (e notFound) Is(target error) bool { return target == ErrNotFound }
