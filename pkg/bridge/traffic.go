package bridge

import (
	"net/netip"
	"time"
)

// quiet is how long a bridged VIP's counter must stand still until it counts as quiet.
const quiet = time.Second

// counter is one counter of the filter.
type counter struct{ packets, bytes uint64 }

// grown returns what a counter gained since it was last read; one that went down was made anew meanwhile.
func (c counter) grown(last counter) counter {
	if c.packets < last.packets {
		return c
	}
	return counter{c.packets - last.packets, c.bytes - last.bytes}
}

// tally sums up the readings of the counters. It is pure: not safe for concurrent use, and knows no clock.
type tally struct {
	vips map[netip.Addr]*account
}

type account struct {
	Traffic
	bridged, excess, received counter // as last read
	on, busy                  bool
}

func newTally(vips []netip.Prefix) *tally {
	t := &tally{vips: make(map[netip.Addr]*account)}
	for _, vip := range vips {
		t.vips[vip.Addr()] = new(account)
	}
	return t
}

// switched notes which VIPs are bridged. The filter counts anew for each that is switched on.
func (t *tally) switched(on, off []netip.Addr) {
	for _, addr := range on {
		if a := t.vips[addr]; a != nil {
			a.on, a.busy, a.bridged, a.excess = true, false, counter{}, counter{}
		}
	}
	for _, addr := range off {
		if a := t.vips[addr]; a != nil {
			a.on, a.busy = false, false
		}
	}
}

// sent takes a reading of the bridged VIPs' counters, and tells whether one of them fell quiet or is busy again.
func (t *tally) sent(now time.Time, bridged, excess map[netip.Addr]counter) (changed bool) {
	for addr, c := range bridged {
		a := t.vips[addr]
		if a == nil {
			continue
		}
		gain := c.grown(a.bridged)
		a.bridged = c
		a.Packets += gain.packets
		a.Bytes += gain.bytes
		if gain.packets > 0 {
			a.Last = now
		}
	}
	for addr, c := range excess {
		if a := t.vips[addr]; a != nil {
			a.Dropped += c.grown(a.excess).packets
			a.excess = c
		}
	}
	for _, a := range t.vips {
		if busy := a.on && !a.Last.IsZero() && now.Sub(a.Last) < quiet; a.on && busy != a.busy {
			a.busy, changed = busy, true
		}
	}
	return changed
}

// received takes a reading of the counters of what peers bridged to here.
func (t *tally) received(vips map[netip.Addr]counter) {
	for addr, c := range vips {
		if a := t.vips[addr]; a != nil {
			a.Received += c.grown(a.received).packets
			a.received = c
		}
	}
}

func (t *tally) traffic() map[netip.Prefix]Traffic {
	all := make(map[netip.Prefix]Traffic, len(t.vips))
	for addr, a := range t.vips {
		all[single(addr)] = a.Traffic
	}
	return all
}
