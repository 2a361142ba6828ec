// Package dnsserver answers DNS queries for zones whose names are steered services: a compiled snapshot behind an
// atomic pointer, served over UDP and TCP.
package dnsserver

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anyedge/anyedge/pkg/steering"
)

// A Zone is one zone that this server is authoritative for.
type Zone struct {
	Name string // fully qualified, lower case
	TTL  time.Duration
	// MinTTL is the least TTL of answers whose endpoints are checked: these are kept no longer than it takes the checks at
	// least to change them. Zero: 1 s.
	MinTTL time.Duration
	NS     []NS
}

// NS is one name server of a zone and, where it lies inside the zone, its addresses.
type NS struct {
	Name      string
	Addresses []netip.Addr
}

// Content is everything that answers are made of.
type Content struct {
	Zones []Zone
	// Services lie each inside one of the zones. What their slices hold, endpoints above all, is never changed once it was given: the
	// server keeps it, for a site may have a million endpoints. Whoever has news clones those of one service.
	Services []steering.Service
	Access   *Access // nil: everybody may ask for everything. Never changed once it was given
	// Stale tells why what is known of services may be old, by name: their source cannot be read now, and what it told last stays.
	Stale  map[string]string
	Synced bool // the sources have told all they know; before that, no answer is final
}

// Config is what a Server needs.
type Config struct {
	Site      string     // told by NSID and id.server; 1 to 255 octets
	Listeners *Listeners // from Listen; the server closes them
	TCP       TCP
	Protection
	Log     *slog.Logger
	Queries *QueryLog // of this server alone; nil: none
}

// A Server answers queries. Make it with New, give it content with Set, then Run it.
type Server struct {
	site    string
	log     *slog.Logger
	sockets *Listeners
	tcp     TCP
	slots   chan struct{} // one for each TCP connection
	door    sync.Mutex    // of whoever waits for a slot
	crowd   crowd
	metrics *metrics
	numbers numbers
	queries *QueryLog
	current atomic.Pointer[snapshot]
	guard   atomic.Pointer[guard]
	own     [16]byte   // the secret of cookies that no configuration gives
	born    time.Time  // moments count from here
	mu      sync.Mutex // writers of current, and of what is in it
	odd     sync.Once  // the first query that made us panic is logged

	toldLimited atomic.Uint64 // until when, in ticks, the log names nobody else who is over the limit

	failures int // of reading a UDP socket, in a row, that end Run
}

// New makes a server; it starts nothing.
func New(cfg Config) (*Server, error) {
	if len(cfg.Site) == 0 || len(cfg.Site) > 255 {
		return nil, fmt.Errorf("site %q: must have 1 to 255 octets, so that NSID and id.server can tell it", cfg.Site)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		site: cfg.Site, log: cfg.Log, sockets: cfg.Listeners, tcp: cfg.TCP.orDefaults(),
		own: ownSecret(), born: time.Now(), failures: maxFailures, queries: cfg.Queries,
	}
	s.slots, s.crowd.most = make(chan struct{}, s.tcp.Connections), s.tcp.PerClient
	if s.queries != nil {
		s.queries.names = &s.numbers
	}
	s.metrics = newMetrics(s)
	s.Protect(cfg.Protection)
	return s, nil
}

// A ServiceError tells why content is refused because of a service, mostly for a name that has another meaning already.
type ServiceError struct {
	Service string // its name
	Err     error
}

// Error tells the service, too.
func (e *ServiceError) Error() string { return "service " + e.Service + ": " + e.Err.Error() }

// Unwrap is for errors.Is and errors.As.
func (e *ServiceError) Unwrap() error { return e.Err }

// Check returns the error that Set would refuse c with, if any.
func Check(c Content) error {
	_, err := compile("", c, nil, time.Now(), rand.Uint64)
	return err
}

// Set replaces all content at once: every query sees either the old or the new one, and none waits. Services that did
// not change keep their turn. An error leaves the old content in place. Safe for concurrent use.
func (s *Server) Set(c Content) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.current.Load()
	next, err := compile(s.site, c, old, time.Now(), rand.Uint64)
	if err != nil {
		return err
	}
	s.numbers.assign(next, s.metrics.tallies)
	s.current.Store(next)
	s.tell(old, next)
	return nil
}

// tell logs what people should know of the new content.
func (s *Server) tell(old, next *snapshot) {
	if next.synced && (old == nil || !old.synced) {
		s.log.Info("synced", "services", len(next.services))
	}
	if !next.synced {
		return
	}
	for name, c := range next.services {
		var before *service
		if old != nil && old.synced {
			before = old.service(name)
		}
		s.tellPanic(before, c.load())
	}
}

// tellPanic logs that a service began or ended to answer with endpoints that are not known to work; old may be nil.
func (s *Server) tellPanic(old, next *service) {
	for f := range next.pickers {
		before, now := "", next.pickers[f].Panic()
		if old != nil {
			before = old.pickers[f].Panic()
		}
		switch {
		case before == now:
		case now != "":
			s.log.Warn("panic", "service", next.Name, "family", familyName(steering.Family(f)), "reason", now)
		default:
			s.log.Info("panic is over", "service", next.Name, "family", familyName(steering.Family(f)))
		}
	}
}

func familyName(f steering.Family) string {
	if f == steering.IPv4 {
		return "IPv4"
	}
	return "IPv6"
}

// errNoContent is a mistake of the caller.
var errNoContent = errors.New("dnsserver: Set must come first")
