package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// resolutionDelay is how long IPv4 addresses wait for the answer about IPv6 (RFC 8305, section 3).
	resolutionDelay = 50 * time.Millisecond
	// attemptDelay is between two attempts to connect, unless the first fails sooner (RFC 8305, section 5).
	attemptDelay = 250 * time.Millisecond
)

// found is what a lookup of one family brought.
type found struct {
	ipv6      bool
	addresses []netip.Addr
	err       error
}

// An attempt is one that ended.
type attempt struct {
	conn    net.Conn
	address netip.Addr
	err     error
}

// eyeballs connects as RFC 8305 wants (Happy Eyeballs): IPv6 first, the families taking turns, one attempt after the
// other before the first has failed.
type eyeballs struct {
	dial func(ctx context.Context, a netip.Addr) (net.Conn, error)

	queue    [2][]netip.Addr // by family: 0 IPv6, 1 IPv4
	family   int             // whose turn it is
	unknown  int             // lookups that have not answered
	may      bool            // start attempts: IPv6 is known, or was waited for
	due      bool            // another attempt, though others are under way
	under    int             // attempts under way
	last     attempt         // that failed
	resolve  error           // of a lookup
	ended    chan attempt
	attempts sync.WaitGroup
}

// connect returns the first connection that is made to any address of both lookups. It waits for all that it started.
func (e *eyeballs) connect(ctx context.Context, lookups <-chan found) (net.Conn, netip.Addr, *failure) {
	ctx, cancel := context.WithCancel(ctx)
	defer e.end(cancel)
	e.unknown, e.ended = 2, make(chan attempt)
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	for {
		if e.start(ctx) {
			pause.Reset(attemptDelay)
		}
		if e.under == 0 && e.unknown == 0 {
			return nil, e.last.address, e.failure()
		}
		select {
		case f := <-lookups:
			if e.learn(f) && !e.may {
				pause.Reset(resolutionDelay)
			}
		case <-pause.C:
			e.may, e.due = true, true
		case a := <-e.ended:
			e.under--
			if a.err == nil {
				return a.conn, a.address, nil
			}
			e.last, e.due = a, true
		case <-ctx.Done():
			return nil, e.last.address, e.expired(ctx)
		}
	}
}

// learn takes the outcome of a lookup, and returns whether it brought an address.
func (e *eyeballs) learn(f found) bool {
	e.unknown--
	family := 1
	if f.ipv6 {
		family = 0
	}
	e.may = e.may || f.ipv6 || e.unknown == 0
	e.queue[family] = append(e.queue[family], f.addresses...)
	if f.err != nil {
		e.resolve = f.err
	}
	return len(f.addresses) > 0
}

// start starts an attempt if it is time for one, and returns whether it did.
func (e *eyeballs) start(ctx context.Context) bool {
	if !e.may || e.under > 0 && !e.due {
		return false
	}
	address, ok := e.next()
	if !ok {
		return false
	}
	e.under++
	e.due = false
	e.attempts.Go(func() {
		conn, err := e.dial(ctx, address)
		select {
		case e.ended <- attempt{conn, address, err}:
		case <-ctx.Done(): // lost the race
			if conn != nil {
				_ = conn.Close()
			}
		}
	})
	return true
}

// next takes an address of the family whose turn it is, or else of the other.
func (e *eyeballs) next() (netip.Addr, bool) {
	for range e.queue {
		family := e.family
		e.family = 1 - e.family
		if q := e.queue[family]; len(q) > 0 {
			e.queue[family] = q[1:]
			return q[0], true
		}
	}
	return netip.Addr{}, false
}

func (e *eyeballs) end(cancel context.CancelFunc) {
	cancel()
	e.attempts.Wait()
}

// failure tells why there is no connection, when nothing is left to try.
func (e *eyeballs) failure() *failure {
	switch {
	case e.last.err != nil:
		return &failure{kindConnect, plain(e.last.err)}
	case e.resolve != nil:
		return &failure{kindResolve, e.resolve}
	default:
		return &failure{kindResolve, errors.New("the name has no addresses")}
	}
}

// expired tells why there is no connection, when the time is over.
func (e *eyeballs) expired(ctx context.Context) *failure {
	if e.under == 0 && e.last.err == nil {
		return &failure{kindResolve, errors.New("no answer about the name")}
	}
	return &failure{kindConnect, errors.New("no answer from the address")}
}
