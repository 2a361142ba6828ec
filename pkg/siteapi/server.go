package siteapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/anyedge/anyedge/internal/unixapi"
)

// watchSpacing lies between two lines of a watch: what changes meanwhile is in the next one.
const watchSpacing = 50 * time.Millisecond

// Agent is what the server serves. Its methods may be called from several goroutines at once.
type Agent interface {
	Status() Status
	// Drain keeps a request to drain services, all when none is named. ErrNoService for an unknown one.
	Drain(services ...string) error
	// Undrain takes it back.
	Undrain(services ...string) error
}

// A Server answers on a socket.
type Server struct {
	agent Agent
	log   *slog.Logger

	mu       sync.Mutex // guards watchers
	watchers map[chan struct{}]bool
}

// NewServer returns a server; it starts nothing. A nil log discards.
func NewServer(agent Agent, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{agent: agent, log: log, watchers: make(map[chan struct{}]bool)}
}

// Notify tells the watchers that the status may have changed. It does not block and may be called from any goroutine.
func (s *Server) Notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// Serve answers on l until ctx is done, then closes l and all connections, and returns nil.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return unixapi.Serve(ctx, l, s.handler(), s.log)
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		unixapi.Answer(w, s.log, http.StatusOK, s.agent.Status())
	})
	mux.HandleFunc("GET /v1/watch", s.watch)
	mux.HandleFunc("POST /v1/drain", s.obey(s.agent.Drain))
	mux.HandleFunc("POST /v1/undrain", s.obey(s.agent.Undrain))
	return mux
}

// obey carries an order out.
func (s *Server) obey(do func(services ...string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var o order
		if err := unixapi.Read(w, r, &o, `{"service": NAME}, or {} for all`); err != nil {
			unixapi.Refuse(w, s.log, http.StatusBadRequest, err)
			return
		}
		var services []string
		if o.Service != "" {
			services = []string{o.Service}
		}
		err := do(services...)
		s.log.Info("api order", "path", r.URL.Path, "service", o.Service, "err", err)
		switch {
		case errors.Is(err, ErrNoService):
			unixapi.Refuse(w, s.log, http.StatusNotFound, err)
		case err != nil:
			unixapi.Refuse(w, s.log, http.StatusInternalServerError, err)
		default:
			unixapi.Answer(w, s.log, http.StatusOK, s.agent.Status())
		}
	}
}

// watch sends a line now and whenever the status is another one. A client that does not read is dropped.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	changed := s.subscribe()
	defer s.unsubscribe(changed)
	c := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/jsonl")
	var last []byte
	for {
		line, err := json.Marshal(s.agent.Status())
		if err != nil {
			return
		}
		if !bytes.Equal(line, last) {
			_ = c.SetWriteDeadline(time.Now().Add(unixapi.WriteLimit))
			if _, err := w.Write(append(line, '\n')); err != nil {
				return
			}
			if c.Flush() != nil {
				return
			}
			last = line
		}
		if !pause(r.Context(), changed) {
			return
		}
	}
}

// pause waits for news, and keeps the lines apart; false: the client has gone.
func pause(ctx context.Context, changed <-chan struct{}) bool {
	for _, news := range []<-chan struct{}{changed, after(watchSpacing)} {
		select {
		case <-ctx.Done():
			return false
		case <-news:
		}
	}
	return true
}

// after returns a channel that is closed when d is over.
func after(d time.Duration) <-chan struct{} {
	ch := make(chan struct{})
	time.AfterFunc(d, func() { close(ch) })
	return ch
}

func (s *Server) subscribe() chan struct{} {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers[ch] = true
	return ch
}

func (s *Server) unsubscribe(ch chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers, ch)
}
