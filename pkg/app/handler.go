package app

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// An Identity is the body of an answer to GET / (and to any path that has no meaning of its own).
type Identity struct {
	Name             string  `json:"name"`
	Address          string  `json:"address"` // that was asked
	Client           string  `json:"client"`  // that asked
	RequestsInFlight int     `json:"requests_in_flight"`
	CPUMs            float64 `json:"cpu_ms"`     // burnt for this answer
	DelayMs          float64 `json:"delay_ms"`   // waited for this answer
	ServiceMs        float64 `json:"service_ms"` // that this answer took, the queue for a CPU included
}

func (a *App) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", a.identify)
	mux.HandleFunc("GET /load", a.tellLoad)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	if a.cfg.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(a.cfg.Gatherer, promhttp.HandlerOpts{}))
	}
	return mux
}

// identify charges the request and tells who did.
func (a *App) identify(w http.ResponseWriter, r *http.Request) {
	c, err := parseCost(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	start := time.Now()
	inFlight, ok := a.load.begin()
	if !ok {
		a.load.refuse(start)
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many requests at a time", http.StatusServiceUnavailable)
		return
	}
	err = a.burner.pay(r.Context(), c)
	end := time.Now()
	a.load.end(start, end, c.cpu, err == nil)
	if err != nil {
		return // nobody is left to read it
	}
	address, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	id := Identity{
		Name: a.cfg.Name, Client: r.RemoteAddr, RequestsInFlight: inFlight,
		CPUMs: ms(c.cpu), DelayMs: ms(c.delay), ServiceMs: ms(end.Sub(start)),
	}
	if address != nil {
		id.Address = address.String()
	}
	a.write(w, id)
}

func (a *App) tellLoad(w http.ResponseWriter, _ *http.Request) {
	l := a.load.snapshot(time.Now())
	l.Name = a.cfg.Name
	a.write(w, l)
}

func (a *App) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err := json.NewEncoder(w).Encode(v); err != nil && !errors.Is(err, net.ErrClosed) {
		a.cfg.Log.Debug("answer not sent", "error", err)
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
