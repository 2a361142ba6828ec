package dnsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"

	"github.com/anyedge/anyedge/internal/unixapi"
)

// Program is what the server serves. Its methods may be called from several goroutines at once. What it does not know is
// ErrNotFound.
type Program interface {
	Status() Status
	Service(name string) (Service, error)
	Why(Question) (Decision, error)
	// Drain keeps a request to give an endpoint nothing new; Undrain takes it back.
	Drain(service string, endpoint netip.Addr) (Drained, error)
	Undrain(service string, endpoint netip.Addr) (Drained, error)
}

// Serve answers for p on l until ctx is done, then closes l and all connections, and returns nil.
func Serve(ctx context.Context, l net.Listener, p Program, log *slog.Logger) error {
	s := &server{p, log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { s.answer(w, p.Status(), nil) })
	mux.HandleFunc("GET /v1/service", func(w http.ResponseWriter, r *http.Request) {
		service, err := p.Service(r.URL.Query().Get("name"))
		s.answer(w, service, err)
	})
	mux.HandleFunc("GET /v1/why", s.why)
	mux.HandleFunc("POST /v1/drain", s.obey(p.Drain))
	mux.HandleFunc("POST /v1/undrain", s.obey(p.Undrain))
	return unixapi.Serve(ctx, l, mux, log)
}

type server struct {
	program Program
	log     *slog.Logger
}

func (s *server) answer(w http.ResponseWriter, body any, err error) {
	switch {
	case errors.Is(err, ErrNotFound):
		unixapi.Refuse(w, s.log, http.StatusNotFound, err)
	case err != nil:
		unixapi.Refuse(w, s.log, http.StatusInternalServerError, err)
	default:
		unixapi.Answer(w, s.log, http.StatusOK, body)
	}
}

func (s *server) why(w http.ResponseWriter, r *http.Request) {
	q, err := question(r)
	if err != nil {
		unixapi.Refuse(w, s.log, http.StatusBadRequest, err)
		return
	}
	d, err := s.program.Why(q)
	if err != nil && !errors.Is(err, ErrNotFound) { // no such type, no such name: a matter of the question
		unixapi.Refuse(w, s.log, http.StatusBadRequest, err)
		return
	}
	s.answer(w, d, err)
}

func question(r *http.Request) (q Question, err error) {
	v := r.URL.Query()
	q.Name, q.Type = v.Get("name"), v.Get("type")
	if text := v.Get("client"); text != "" {
		if q.Client, err = netip.ParseAddr(text); err != nil {
			return q, fmt.Errorf("client %q: must be an IP address", text)
		}
	}
	if text := v.Get("subnet"); text != "" {
		if q.Subnet, err = netip.ParsePrefix(text); err != nil {
			return q, fmt.Errorf("subnet %q: must be a prefix, such as 2001:db8::/56", text)
		}
	}
	return q, nil
}

// obey carries an order out.
func (s *server) obey(do func(string, netip.Addr) (Drained, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var o order
		if err := unixapi.Read(w, r, &o, `{"service": NAME, "address": ADDRESS}`); err != nil {
			unixapi.Refuse(w, s.log, http.StatusBadRequest, err)
			return
		}
		d, err := do(o.Service, o.Address)
		s.log.Info("api order", "path", r.URL.Path, "service", o.Service, "endpoint", o.Address, "err", err)
		s.answer(w, d, err)
	}
}
