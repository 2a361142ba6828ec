package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// closable is a connection that can be closed.
type closable struct {
	net.Conn
	closed bool
}

func (c *closable) Close() error { c.closed = true; return nil }

// TestHappyEyeballs runs RFC 8305 in fake time: what is dialled when, and who wins.
func TestHappyEyeballs(t *testing.T) {
	t.Parallel()
	const msec = time.Millisecond
	type answered struct {
		after time.Duration
		found
	}
	v6 := func(after time.Duration, addresses ...string) answered {
		return answered{after, found{ipv6: true, addresses: addrs(addresses...)}}
	}
	v4 := func(after time.Duration, addresses ...string) answered {
		return answered{after, found{addresses: addrs(addresses...)}}
	}
	for name, tt := range map[string]struct {
		lookups [2]answered
		dials   map[string]time.Duration // how long until it is connected; negative: until it fails
		limit   time.Duration            // of all; 0: 10 s
		winner  string
		kind    string // of the failure, without a winner
		took    time.Duration
		order   []string
	}{
		"IPv6 first, though IPv4 was faster": {
			lookups: [2]answered{v6(10*msec, "2001:db8::1"), v4(0, "192.0.2.1")},
			dials:   map[string]time.Duration{"2001:db8::1": 5 * msec, "192.0.2.1": msec},
			winner:  "2001:db8::1", took: 15 * msec, order: []string{"2001:db8::1"},
		},
		"IPv6 does not wait for IPv4": {
			lookups: [2]answered{v6(0, "2001:db8::1"), v4(time.Second, "192.0.2.1")},
			dials:   map[string]time.Duration{"2001:db8::1": 5 * msec},
			winner:  "2001:db8::1", took: 5 * msec, order: []string{"2001:db8::1"},
		},
		"IPv4 waits the resolution delay": {
			lookups: [2]answered{v6(time.Second, "2001:db8::1"), v4(10*msec, "192.0.2.1")},
			dials:   map[string]time.Duration{"192.0.2.1": 5 * msec},
			winner:  "192.0.2.1", took: 65 * msec, order: []string{"192.0.2.1"},
		},
		"no IPv6: no wait": {
			lookups: [2]answered{v6(10 * msec), v4(0, "192.0.2.1")},
			dials:   map[string]time.Duration{"192.0.2.1": 5 * msec},
			winner:  "192.0.2.1", took: 15 * msec, order: []string{"192.0.2.1"},
		},
		"silent IPv6: the other family after the attempt delay": {
			lookups: [2]answered{v6(0, "2001:db8::1", "2001:db8::2"), v4(0, "192.0.2.1")},
			dials:   map[string]time.Duration{"2001:db8::1": time.Hour, "2001:db8::2": time.Hour, "192.0.2.1": 5 * msec},
			winner:  "192.0.2.1", took: 255 * msec, order: []string{"2001:db8::1", "192.0.2.1"},
		},
		"refused IPv6: the next at once": {
			lookups: [2]answered{v6(0, "2001:db8::1", "2001:db8::2"), v4(0, "192.0.2.1")},
			dials:   map[string]time.Duration{"2001:db8::1": -msec, "192.0.2.1": -msec, "2001:db8::2": msec},
			winner:  "2001:db8::2", took: 3 * msec, order: []string{"2001:db8::1", "192.0.2.1", "2001:db8::2"},
		},
		"an address that comes later is tried": {
			lookups: [2]answered{v6(0, "2001:db8::1"), v4(100*msec, "192.0.2.1")},
			dials:   map[string]time.Duration{"2001:db8::1": -msec, "192.0.2.1": msec},
			winner:  "192.0.2.1", took: 101 * msec, order: []string{"2001:db8::1", "192.0.2.1"},
		},
		"the first may win late": {
			lookups: [2]answered{v6(0, "2001:db8::1"), v4(0, "192.0.2.1")},
			dials:   map[string]time.Duration{"2001:db8::1": 300 * msec, "192.0.2.1": 300 * msec},
			winner:  "2001:db8::1", took: 300 * msec, order: []string{"2001:db8::1", "192.0.2.1"},
		},
		"all refuse": {
			lookups: [2]answered{v6(0, "2001:db8::1"), v4(0, "192.0.2.1")},
			dials:   map[string]time.Duration{"2001:db8::1": -msec, "192.0.2.1": -msec},
			kind:    kindConnect, took: 2 * msec, order: []string{"2001:db8::1", "192.0.2.1"},
		},
		"all are silent": {
			lookups: [2]answered{v6(0, "2001:db8::1"), v4(0, "192.0.2.1")},
			dials:   map[string]time.Duration{"2001:db8::1": time.Hour, "192.0.2.1": time.Hour},
			limit:   time.Second, kind: kindConnect, took: time.Second, order: []string{"2001:db8::1", "192.0.2.1"},
		},
		"no addresses": {lookups: [2]answered{v6(0), v4(msec)}, kind: kindResolve, took: msec},
		"lookups fail": {
			lookups: [2]answered{{0, found{ipv6: true, err: errors.New("no")}}, {0, found{err: errors.New("no")}}},
			kind:    kindResolve,
		},
		"no lookup answers": {lookups: [2]answered{v6(time.Hour), v4(time.Hour)}, limit: time.Second, kind: kindResolve, took: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), max(tt.limit, 10*time.Second*boolean(tt.limit == 0)))
				defer cancel()
				lookups := make(chan found, 2)
				for _, l := range tt.lookups {
					timer := time.AfterFunc(l.after, func() { lookups <- l.found })
					defer timer.Stop()
				}
				var mu sync.Mutex // guards following
				var order []string
				e := eyeballs{dial: func(ctx context.Context, a netip.Addr) (net.Conn, error) {
					mu.Lock()
					order = append(order, a.String())
					mu.Unlock()
					return dialled(ctx, tt.dials[a.String()])
				}}
				start := time.Now()
				conn, address, failed := e.connect(ctx, lookups)
				kind, winner := "", ""
				if failed != nil {
					kind = failed.kind
				} else {
					winner = address.String()
				}
				if winner != tt.winner || kind != tt.kind || (conn == nil) != (failed != nil) || time.Since(start) != tt.took {
					t.Errorf("%q after %s, failure %v; want %q after %s, failure %q", winner, time.Since(start), failed, tt.winner, tt.took, tt.kind)
				}
				if diff := gocmp.Diff(tt.order, order); diff != "" {
					t.Errorf("dialled (-want +got)\n%s", diff)
				}
			})
		})
	}
}

func boolean(b bool) time.Duration {
	if b {
		return 1
	}
	return 0
}

func dialled(ctx context.Context, after time.Duration) (net.Conn, error) {
	if !pause(ctx, after.Abs()) {
		return nil, ctx.Err()
	}
	if after < 0 {
		return nil, errors.New("refused")
	}
	return new(closable), nil
}

func addrs(texts ...string) (all []netip.Addr) {
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}
