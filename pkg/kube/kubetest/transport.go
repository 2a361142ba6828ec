package kubetest

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// A Transport speaks to an API without a network. There are only goroutines and pipes then, so that a test may let hours pass in
// a bubble of testing/synctest.
type Transport struct {
	api *API
	cut atomic.Bool
}

// Transport returns one of a client's own.
func (a *API) Transport() *Transport { return &Transport{api: a} }

// Cut lets nothing through from now on, like a balancer without any API server behind it: who connects is hung up on. What is
// open stays.
func (t *Transport) Cut() { t.cut.Store(true) }

// CloseIdleConnections is for clients that end: there are none.
func (t *Transport) CloseIdleConnections() {}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.cut.Load() {
		return nil, io.EOF
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	ctx, cancel := context.WithCancel(r.Context())
	read, write := io.Pipe()
	a := &answering{PipeWriter: write, header: make(http.Header), begun: make(chan struct{})}
	go func() {
		defer cancel()
		t.api.ServeHTTP(a, r.WithContext(ctx))
		a.begin(http.StatusOK)
		_ = write.Close()
	}()
	<-a.begun
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Header: a.header, Request: r,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1, Body: hungUp{read, cancel},
	}, nil
}

// answering is an answer that is read while it is written.
type answering struct {
	*io.PipeWriter
	header http.Header
	once   sync.Once
	status int
	begun  chan struct{}
}

func (a *answering) begin(status int) { a.once.Do(func() { a.status = status; close(a.begun) }) }

// Header implements http.ResponseWriter.
func (a *answering) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answering) WriteHeader(status int) { a.begin(status) }

// Write implements http.ResponseWriter.
func (a *answering) Write(b []byte) (int, error) {
	a.begin(http.StatusOK)
	return a.PipeWriter.Write(b)
}

// Flush implements http.Flusher.
func (a *answering) Flush() { a.begin(http.StatusOK) }

// hungUp ends the request of a body that is closed.
type hungUp struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (h hungUp) Close() error {
	h.cancel()
	return h.PipeReader.Close()
}
