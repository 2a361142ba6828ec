package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Set makes wanted the whole set of bridged VIPs: one RTM_NEWROUTE for each that is new or has other targets, one
// RTM_DELROUTE for each that is bridged no more, then the filter is told. What is as wanted already is not touched. A VIP
// for which something is wrong - it or a target is not configured, a fatal Problem concerns it, the kernel refuses - is
// not bridged, or stays as it was, while the rest is done; in the error's tree every error about one VIP alone has a
// method VIP() netip.Prefix. Set may be called again to retry. It fails before Ready.
func (b *Bridge) Set(ctx context.Context, wanted ...Wanted) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	admitted, err := b.admit(wanted)
	if b.plan == nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	keep := admitted
	if b.failure != nil { // something of ours could not be put back just now: what works is not made worse
		keep = wanted
	}
	on, failed := b.switchOn(admitted)
	off, failedOff := b.switchOff(keep)
	err = errors.Join(err, failed, failedOff)
	if len(on)+len(off) == 0 {
		return err
	}
	b.wake()
	return errors.Join(err, b.tellFilter(on, off))
}

// admit returns those of the wanted that can be bridged, with their targets in order.
func (b *Bridge) admit(wanted []Wanted) ([]Wanted, error) {
	var admitted []Wanted
	var errs []error
	seen := make(map[netip.Prefix]bool)
	for _, w := range wanted {
		err := b.admissible(w)
		if seen[w.VIP] {
			err = errors.New("is wanted twice")
		}
		seen[w.VIP] = true
		if err != nil {
			errs = append(errs, vipError{w.VIP, fmt.Errorf("bridge: %v: %w", w.VIP, err)})
			continue
		}
		if !slices.IsSortedFunc(w.Targets, byPeer) {
			w.Targets = slices.Clone(w.Targets)
			slices.SortFunc(w.Targets, byPeer)
		}
		admitted = append(admitted, w)
	}
	return admitted, errors.Join(errs...)
}

func byPeer(a, b Target) int { return cmp.Compare(a.Peer, b.Peer) }

func (b *Bridge) admissible(w Wanted) error {
	switch {
	case b.cfg.Mode == Off:
		return errors.New("bridging is off")
	case b.failure != nil:
		return fmt.Errorf("this host is not prepared: %w", b.failure)
	case b.plan == nil:
		return errors.New("this host is not prepared yet")
	case !b.vips[w.VIP]:
		return errors.New("is none of the configured VIPs")
	case len(w.Targets) == 0:
		return errors.New("has no target")
	}
	for _, f := range b.findings {
		if f.Fatal && f.concerns(familyOf(w.VIP.Addr())) {
			return fmt.Errorf("%s: %s", f.What, f.Remedy)
		}
	}
	seen := make(map[string]bool)
	for _, t := range w.Targets {
		_, known := b.cfg.peer(t.Peer)
		switch {
		case !known:
			return fmt.Errorf("target %q is none of the configured peers", t.Peer)
		case seen[t.Peer]:
			return fmt.Errorf("target %s appears twice", t.Peer)
		case t.Weight < 1 || t.Weight > maxWeight:
			return fmt.Errorf("target %s: weight %d: must be 1 to %d", t.Peer, t.Weight, maxWeight)
		}
		seen[t.Peer] = true
	}
	return nil
}

// switchOn adds or replaces the routes of what is wanted otherwise than it is, and returns what was not bridged before.
func (b *Bridge) switchOn(wanted []Wanted) (on []netip.Addr, _ error) {
	var errs []error
	for _, w := range wanted {
		present, was := b.on[w.VIP]
		if was && slices.Equal(present, w.Targets) {
			continue
		}
		if err := b.kernel.RouteReplace(b.plan.bridge(w)); err != nil {
			errs = append(errs, vipError{w.VIP, fmt.Errorf("bridge: route %v into the tunnel: %w", w.VIP, err)})
			continue
		}
		b.on[w.VIP] = w.Targets
		if !was {
			on = append(on, w.VIP.Addr())
		}
	}
	return on, errors.Join(errs...)
}

// switchOff deletes the routes of what is not wanted, and returns what was bridged before.
func (b *Bridge) switchOff(wanted []Wanted) (off []netip.Addr, _ error) {
	var errs []error
	keep := make(map[netip.Prefix]bool)
	for _, w := range wanted {
		keep[w.VIP] = true
	}
	for vip := range b.on {
		if keep[vip] {
			continue
		}
		if err := b.unroute(vip); err != nil {
			errs = append(errs, vipError{vip, err})
			continue
		}
		delete(b.on, vip)
		off = append(off, vip.Addr())
	}
	return off, errors.Join(errs...)
}

func (b *Bridge) unroute(vip netip.Prefix) error {
	r := &netlink.Route{Table: tableBridge, Protocol: protocol, Dst: ipNet(vip), Scope: netlink.SCOPE_NOWHERE}
	if err := b.kernel.RouteDel(r); err != nil && !errors.Is(err, unix.ESRCH) { // ESRCH: it is gone already
		return fmt.Errorf("bridge: take the route of %v out of the tunnel: %w", vip, err)
	}
	return nil
}

// tellFilter has the filter count and cap what is bridged now. What was counted for the others is read for the last time,
// unless that took longer than it is worth: what is lost then is at most the time between two readings.
func (b *Bridge) tellFilter(on, off []netip.Addr) error {
	b.noteSwitched(on, nil)
	err := b.filter.switched(on, nil)
	if len(off) > 0 {
		if len(b.on) < countAtOnce {
			b.countSent()
		}
		b.noteSwitched(nil, off)
		err = errors.Join(err, b.filter.switched(nil, off))
	}
	return err
}

func (b *Bridge) noteSwitched(on, off []netip.Addr) {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	b.tally.switched(on, off)
}

func (b *Bridge) wake() {
	select {
	case b.switched <- struct{}{}:
	default:
	}
}
