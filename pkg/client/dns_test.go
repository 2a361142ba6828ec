package client

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/pkg/probe"
)

func newTestDNS(t *testing.T, dns asker, cache bool) *dnsRun {
	t.Helper()
	d, err := NewDNS(DNSConfig{
		Load:   Load{Clients: 5, Rate: 10, Fixed: true, Duration: 3 * time.Second, Timeout: time.Second},
		Server: netip.MustParseAddrPort("[::1]:53"), Name: "api.edge.example", Type: "A", Cache: cache,
	})
	if err != nil {
		t.Fatal(err)
	}
	return newDNSRun(d, dns)
}

// runFake runs the schedule in fake time.
func (r *dnsRun) runFake(t *testing.T) DNSReport {
	start := time.Now()
	l := &loop{load: r.cfg.Load, make: r.make, shed: r.shed}
	l.run(t.Context(), start, fakeWait)
	return r.report(l, start)
}

func TestDNSCaches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cache         bool
		ttl           time.Duration
		queries, hits int
	}{
		{false, time.Hour, 30, 0},
		{true, time.Hour, 5, 25},
		{true, 0, 30, 0},
		{true, time.Second, 15, 15}, // each client comes at 0, 500, 1000, ... ms
	} {
		synctest.Test(t, func(t *testing.T) {
			dns := &fakeDNS{addresses: addrs("192.0.2.1", "192.0.2.2"), ttl: tt.ttl}
			got := newTestDNS(t, dns, tt.cache).runFake(t)
			if got.Scheduled != 30 || got.Queries != tt.queries || got.CacheHits != tt.hits || got.Answered != tt.queries || dns.asked != tt.queries {
				t.Errorf("cache %v, TTL %s: %+v; want %d queries, %d hits", tt.cache, tt.ttl, got, tt.queries, tt.hits)
			}
			want := map[string]Answer{
				"192.0.2.1": {Given: tt.queries, Used: 30, Share: 1},
				"192.0.2.2": {Given: tt.queries},
			}
			if diff := gocmp.Diff(want, got.Answers); diff != "" {
				t.Errorf("answers (-want +got)\n%s", diff)
			}
			if got.Sites["mec-1"] != tt.queries || got.Rcodes["NOERROR"] != tt.queries || got.TTL != (TTLs{tt.ttl.Seconds(), tt.ttl.Seconds()}) {
				t.Errorf("sites %v, rcodes %v, TTL %v", got.Sites, got.Rcodes, got.TTL)
			}
			var text strings.Builder
			if err := got.WriteText(&text); err != nil || !strings.Contains(text.String(), "192.0.2.1") {
				t.Errorf("%v\n%s", err, text.String())
			}
		})
	}
}

func TestDNSFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		kind string
	}{{unix.ECONNREFUSED, kindConnect}, {probe.ErrTooManyQueries, kindOverload}} {
		synctest.Test(t, func(t *testing.T) {
			got := newTestDNS(t, &fakeDNS{err: tt.err}, true).runFake(t)
			if got.Failed != 30 || got.Answered != 0 || got.Errors[tt.kind].N != 30 || len(got.Errors) != 1 {
				t.Errorf("%v: %+v", tt.err, got)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dns := &fakeDNS{err: errors.New("refused")}
		start := time.Now()
		_, err := lookup(t.Context(), dns, probe.Question{Name: "a.example", Type: "A"})
		if err == nil || err.Error() != "refused" || dns.asked != lookupTries || time.Since(start) != 2*lookupPause {
			t.Errorf("%v after %d questions and %s", err, dns.asked, time.Since(start))
		}
	})
}

// A report stays bounded, whatever a server answers.
func TestManyAnswers(t *testing.T) {
	t.Parallel()
	tally := newDNSTally()
	for n := range 3 * maxAnswers {
		text := strings.Repeat("x", n)
		tally.answered(answer{values: []string{text}, site: text, rcode: "NOERROR"}, 0, 0)
	}
	got := tally.result()
	if len(got.Answers) > maxAnswers+1 || len(got.Sites) > maxAnswers+1 {
		t.Errorf("%d answers, %d sites", len(got.Answers), len(got.Sites))
	}
}
