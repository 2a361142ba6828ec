package unixapi

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// Limits of what a client may ask and how long it may take.
const (
	maxClients = 64
	maxBody    = 4 << 10
	maxHeader  = 8 << 10
	readLimit  = 5 * time.Second
	WriteLimit = 5 * time.Second // for a client to take an answer
)

// refusal is the body of an error.
type refusal struct {
	Error string `json:"error"`
}

// Serve answers on l until ctx is done, then closes l and all connections, waits for what h does, and returns nil.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	var running sync.WaitGroup
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			running.Add(1)
			defer running.Done()
			h.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: readLimit,
		ReadTimeout:       readLimit,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	defer running.Wait()
	err := srv.Serve(netutil.LimitListener(l, maxClients))
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Answer sends body as JSON. The client has WriteLimit to take it.
func Answer(w http.ResponseWriter, log *slog.Logger, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(WriteLimit))
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		log.Debug("api answer not sent", "err", err)
	}
}

// Refuse answers with an error.
func Refuse(w http.ResponseWriter, log *slog.Logger, code int, err error) {
	Answer(w, log, code, refusal{err.Error()})
}

// Read reads the body of a request, small and of known keys, into v; form tells a person what it must be.
func Read(w http.ResponseWriter, r *http.Request, v any, form string) error {
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("the body must be %s: %w", form, err)
	}
	return nil
}
