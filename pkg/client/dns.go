package client

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

// A DNSConfig tells a DNS what to do.
type DNSConfig struct {
	Load
	Server netip.AddrPort
	Name   string
	Type   string // e.g. AAAA
	Cache  bool   // each client keeps an answer for its TTL; else every request is a query
}

// A DNS simulates clients that want to know a name: how fast the server answers, and what each answer's share is.
type DNS struct{ cfg DNSConfig }

// NewDNS returns a DNS. It opens nothing.
func NewDNS(cfg DNSConfig) (*DNS, error) {
	if err := checkServer(cfg.Server); err != nil {
		return nil, err
	}
	if cfg.Name == "" {
		return nil, errors.New("name: missing: what to ask for")
	}
	if err := (probe.Question{Name: cfg.Name, Type: cfg.Type}).Check(); err != nil {
		return nil, err
	}
	if err := cfg.Load.check(); err != nil {
		return nil, err
	}
	return &DNS{cfg}, nil
}

// Run asks until the duration is over or ctx is done, waits for answers under way, and reports. It fails only when it
// cannot start: what goes wrong later is counted in the report.
func (d *DNS) Run(ctx context.Context) (DNSReport, error) {
	resolver, err := probe.OpenResolver(ctx, d.cfg.Server)
	if err != nil {
		return DNSReport{}, err
	}
	defer resolver.Close()
	return newDNSRun(d, resolver).run(ctx), nil
}

// A dnsRun is one run.
type dnsRun struct {
	*DNS
	dns   asker
	tally *dnsTally

	mu     sync.Mutex // guards following
	caches []cache    // by client; nil: every request is a query
}

func newDNSRun(d *DNS, dns asker) *dnsRun {
	r := &dnsRun{DNS: d, dns: dns, tally: newDNSTally()}
	if d.cfg.Cache {
		r.caches = make([]cache, d.cfg.Clients)
	}
	return r
}

func (r *dnsRun) run(ctx context.Context) DNSReport {
	stop := make(chan struct{})
	var teller sync.WaitGroup
	teller.Go(func() { r.cfg.tell(stop, r.tally.status) })
	l := &loop{load: r.cfg.Load, make: r.make, shed: r.shed}
	start := time.Now()
	paced(func(wait waiter) { l.run(ctx, start, wait) })
	close(stop)
	teller.Wait()
	return r.report(l, start)
}

func (r *dnsRun) shed(request) {
	r.tally.begin()
	r.tally.failed(tooMany)
}

// make answers one request of a client: from its cache, or by a query.
func (r *dnsRun) make(ctx context.Context, q request) {
	if a, ok := r.cached(q.client); ok {
		r.tally.hit(a)
		return
	}
	r.tally.begin()
	response, err := r.dns.Ask(ctx, probe.Question{Name: r.cfg.Name, Type: r.cfg.Type})
	took := time.Since(q.due)
	switch {
	case err == nil:
		a := answer{values: response.Values, site: response.Site, rcode: response.Rcode}
		r.keep(q.client, a, response.TTL)
		r.tally.answered(a, response.TTL, took)
	case ctx.Err() != nil:
		r.tally.failed(&failure{kindTimeout, errors.New("no answer")})
	case errors.Is(err, probe.ErrTooManyQueries):
		r.tally.failed(&failure{kindOverload, err})
	default:
		r.tally.failed(&failure{kindConnect, plain(err)})
	}
}

func (r *dnsRun) cached(client int) (answer, bool) {
	if r.caches == nil {
		return answer{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.caches[client].get(time.Now())
}

// keep stores an answer that may be kept: errors such as SERVFAIL are not.
func (r *dnsRun) keep(client int, a answer, ttl time.Duration) {
	if r.caches == nil || a.rcode != "NOERROR" && a.rcode != "NXDOMAIN" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.caches[client].put(a, time.Now(), ttl)
}
