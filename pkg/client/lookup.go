package client

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/anyedge/anyedge/pkg/probe"
)

const (
	// lookupTries is how often a question is asked before a lookup fails, lookupTimeout how long each may take, and
	// lookupPause lies between an error and the next try.
	lookupTries   = 3
	lookupTimeout = time.Second
	lookupPause   = 100 * time.Millisecond
)

// An asker asks a DNS server once; *probe.Resolver is one.
type asker interface {
	Ask(ctx context.Context, q probe.Question) (probe.Response, error)
}

// lookup asks until there is an answer that says something: addresses, or that there are none.
func lookup(ctx context.Context, dns asker, q probe.Question) (probe.Response, error) {
	var last error
	for try := range lookupTries {
		if try > 0 && !pause(ctx, lookupPause) {
			break
		}
		once, cancel := context.WithTimeout(ctx, lookupTimeout)
		r, err := dns.Ask(once, q)
		expired := once.Err() != nil
		cancel()
		switch {
		case err == nil && (r.Rcode == "NOERROR" || r.Rcode == "NXDOMAIN"):
			return r, nil
		case err == nil:
			last = fmt.Errorf("the server answered %s", r.Rcode)
		case expired:
			last = fmt.Errorf("no answer about %s", q.Type)
		default:
			last = plain(err)
		}
	}
	return probe.Response{}, last
}

// pause returns false when ctx is done first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// A stub is the resolver of one client: it keeps one answer for each family. It is safe for concurrent use; like most
// stubs it asks once more where two requests want the same.
type stub struct {
	mu    sync.Mutex // guards following
	known [2]cache   // IPv6, IPv4
}

// both looks up both families at once; group waits for what it starts. The channel brings two outcomes, whoever reads
// it, with addresses as order returns them.
func (s *stub) both(group *sync.WaitGroup, look func(ipv6 bool) ([]netip.Addr, error), order func([]netip.Addr) []netip.Addr) <-chan found {
	results := make(chan found, len(s.known))
	for _, ipv6 := range []bool{true, false} {
		if a, ok := s.get(ipv6, time.Now()); ok {
			results <- found{ipv6: ipv6, addresses: order(a.addresses)}
			continue
		}
		group.Go(func() {
			addresses, err := look(ipv6)
			results <- found{ipv6: ipv6, addresses: order(addresses), err: err}
		})
	}
	return results
}

func family(ipv6 bool) int {
	if ipv6 {
		return 0
	}
	return 1
}

func (s *stub) get(ipv6 bool, now time.Time) (answer, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[family(ipv6)].get(now)
}

// keep takes an answer as the TTL says or, where it is ignored, for good; "none" is not kept for good.
func (s *stub) keep(ipv6 bool, a answer, ttl time.Duration, ignore bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := &s.known[family(ipv6)]
	if ignore && len(a.addresses) > 0 {
		known.pin(a)
		return
	}
	known.put(a, time.Now(), ttl)
}

// drop forgets what is not kept for good.
func (s *stub) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[0].drop()
	s.known[1].drop()
}
