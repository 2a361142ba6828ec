package announce

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Addresses puts service addresses on the host, as vip.Addresses does.
type Addresses interface {
	// Set makes wanted the whole set of ours. An error in its tree that has a method Address() netip.Prefix speaks of
	// that address alone; any other speaks of all. What did not fail is done, and Set may be called again.
	Set(ctx context.Context, wanted ...netip.Prefix) error
}

// reassert is how often addresses are set again after success: another program may have removed one.
const reassert = 10 * time.Second

var errNotYet = errors.New("addresses are not on the host yet")

// A keeper keeps the addresses on the host, in a goroutine of its own: netlink must never stand before a withdrawal.
type keeper struct {
	log       *slog.Logger
	addresses Addresses     // nil: somebody else sees to them
	changed   chan struct{} // capacity 1
	kick      chan struct{} // capacity 1: other ones are wanted
	metrics   *metrics

	mu     sync.Mutex            // guards all below
	wanted []netip.Prefix        // sorted
	fresh  map[netip.Prefix]bool // wanted since the last Set began
	err    error
}

func newKeeper(log *slog.Logger, addresses Addresses, wanted []netip.Prefix, m *metrics) *keeper {
	k := &keeper{
		log: log, addresses: addresses, wanted: wanted, metrics: m,
		changed: make(chan struct{}, 1), kick: make(chan struct{}, 1), fresh: make(map[netip.Prefix]bool),
	}
	if addresses != nil {
		k.err = errNotYet
	}
	return k
}

// want replaces what is wanted. What is new counts as not there until it was set.
func (k *keeper) want(wanted []netip.Prefix) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.addresses == nil || slices.Equal(wanted, k.wanted) {
		return
	}
	for _, p := range wanted {
		if _, there := slices.BinarySearchFunc(k.wanted, p, netip.Prefix.Compare); !there {
			k.fresh[p] = true
		}
	}
	k.wanted = wanted
	poke(k.kick)
}

// take returns what is to be set.
func (k *keeper) take() []netip.Prefix {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wanted
}

// run returns when ctx is done. The addresses stay.
func (k *keeper) run(ctx context.Context) {
	if k.addresses == nil {
		return
	}
	var again backoff
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-k.kick:
		}
		wanted := k.take()
		err := k.addresses.Set(ctx, wanted...)
		if ctx.Err() != nil {
			return
		}
		k.note(wanted, err)
		if err == nil {
			again = backoff{}
			timer.Reset(reassert)
		} else {
			timer.Reset(again.next())
		}
	}
}

// note keeps the outcome of a Set and tells it once.
func (k *keeper) note(wanted []netip.Prefix, err error) {
	k.mu.Lock()
	was, news := k.err, false
	k.err = err
	for _, p := range wanted {
		news = news || k.fresh[p]
		delete(k.fresh, p)
	}
	k.mu.Unlock()
	if err != nil {
		k.metrics.errors.WithLabelValues("addresses").Inc()
	}
	if text(was) == text(err) && !news {
		return
	}
	poke(k.changed)
	if err != nil {
		k.log.Error("service addresses are not all on the host, trying again", "err", err)
	} else {
		k.log.Info("service addresses are on the host", "addresses", len(wanted))
	}
}

// blocked returns why the VIP's address is not on the host.
func (k *keeper) blocked(v VIP) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fresh[v.Address] {
		return errNotYet
	}
	return concerning(k.err, v.Address, func(err error) (netip.Prefix, bool) {
		var about interface{ Address() netip.Prefix }
		if !errors.As(err, &about) {
			return netip.Prefix{}, false
		}
		return about.Address(), true
	})
}

// concerning returns the part of an error that is about a VIP: what names it, or names none at all.
func concerning(err error, vip netip.Prefix, named func(error) (netip.Prefix, bool)) error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var parts []error
		for _, e := range joined.Unwrap() {
			parts = append(parts, concerning(e, vip, named))
		}
		return errors.Join(parts...)
	}
	if about, ok := named(err); ok && about != vip {
		return nil
	}
	return err
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
