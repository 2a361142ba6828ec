package announce

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"time"
)

// How the bridges are handled.
const (
	// firstLook is how long found bridges keep their targets while the peers have not told anything yet.
	firstLook = 2 * time.Second
	// blocked is how long a VIP that could not be bridged has no targets.
	blocked = 5 * time.Second
)

// repair keeps what the bridge was asked for. It belongs to the goroutine of the Controller's Run.
type repair struct {
	log           *slog.Logger
	bridge        Bridge // nil: none
	peers         Peers  // nil: none
	metrics       *metrics
	bridgeChanged <-chan struct{} // nil: never
	peersChanged  <-chan struct{}

	taken    []Bridging // what the bridge took last
	asked    bool       // it was asked once: until then it keeps what it found
	doubtful bool       // the last Set failed: what the kernel has is not known
	found    map[netip.Prefix][]Target
	until    time.Time                // found counts
	blocked  map[netip.Prefix]refusal // VIPs that could not be bridged
	urged    []netip.Addr
	again    backoff
}

// refusal is why a VIP could not be bridged, and until when it is not tried again.
type refusal struct {
	err   error
	until time.Time
}

func newRepair(log *slog.Logger, parts Parts, m *metrics) *repair {
	r := &repair{
		log: log, bridge: parts.Bridge, peers: parts.Peers, metrics: m,
		found: make(map[netip.Prefix][]Target), blocked: make(map[netip.Prefix]refusal),
	}
	if r.bridge != nil {
		r.bridgeChanged = r.bridge.Changed()
	}
	if r.peers != nil {
		r.peersChanged = r.peers.Changed()
	}
	return r
}

// resume takes over what an earlier process left.
func (r *repair) resume(m *machine) {
	if r.bridge == nil {
		return
	}
	found, now := r.bridge.Found(), time.Now()
	if !m.resume(found, now) {
		return
	}
	r.until = now.Add(firstLook)
	for _, b := range found {
		r.found[b.VIP] = b.Targets
		r.log.Warn("found bridged by an earlier process, stays so until it is clear how its service is", "vip", b.VIP, "targets", b.Targets)
	}
}

// targets returns who can serve the VIP now, as far as it can be bridged, and why it could not.
func (r *repair) targets(vip netip.Prefix, now time.Time) ([]Target, error) {
	if r.bridge == nil || r.peers == nil {
		return nil, nil
	}
	if refused := r.blocked[vip]; now.Before(refused.until) {
		return nil, refused.err
	}
	if targets := r.peers.Targets(vip.Addr()); len(targets) > 0 || now.After(r.until) {
		return targets, nil
	}
	return r.found[vip], nil
}

func (r *repair) busy(vip netip.Prefix) time.Time {
	if r.bridge == nil {
		return time.Time{}
	}
	return r.bridge.Busy(vip)
}

// repaired is what came of setting the bridges.
type repaired struct {
	before, wanted []Bridging
	at             time.Time // when the kernel was asked; zero: there was nothing to do
	failed         bool      // something could not be bridged and is blocked now
	again          time.Time
}

// after joins what came of two sets in a row.
func (r repaired) after(first repaired) repaired {
	r.before = first.before
	if r.at.IsZero() {
		r.at = first.at
	}
	return r
}

// set makes wanted the whole wanted set, with nothing to do when it is already.
func (r *repair) set(ctx context.Context, wanted []Bridging) repaired {
	result := repaired{before: r.taken, wanted: wanted, again: r.nextTry()}
	if r.bridge == nil || r.asked && !r.doubtful && sameBridges(wanted, r.taken) {
		return result
	}
	err := r.bridge.Set(ctx, wanted...)
	result.at = time.Now()
	r.asked, r.doubtful, r.taken = true, err != nil, wanted
	if err == nil {
		r.again = backoff{}
		return result
	}
	r.metrics.errors.WithLabelValues("bridge").Inc()
	r.log.Error("not all is bridged as wanted, trying again", "bridges", len(wanted), "err", err)
	for _, b := range wanted {
		if about := concerning(err, b.VIP, ofVIP); about != nil && !result.at.Before(r.blocked[b.VIP].until) {
			r.blocked[b.VIP] = refusal{about, result.at.Add(blocked)}
			result.failed = true
		}
	}
	result.again = earliest(r.nextTry(), result.at.Add(r.again.next()))
	return result
}

// ofVIP returns the VIP that an error of the bridge names.
func ofVIP(err error) (netip.Prefix, bool) {
	var about interface{ VIP() netip.Prefix }
	if !errors.As(err, &about) {
		return netip.Prefix{}, false
	}
	return about.VIP(), true
}

// nextTry is when the next VIP may be bridged again.
func (r *repair) nextTry() (at time.Time) {
	now := time.Now()
	for vip, refused := range r.blocked {
		if !now.Before(refused.until) {
			delete(r.blocked, vip)
			continue
		}
		at = earliest(at, refused.until)
	}
	if now.Before(r.until) {
		at = earliest(at, r.until)
	}
	return at
}

// urge tells the peers which VIPs are bridged.
func (r *repair) urge() {
	if r.peers == nil {
		return
	}
	var vips []netip.Addr
	for _, b := range r.taken {
		vips = append(vips, b.VIP.Addr())
	}
	if !slices.Equal(vips, r.urged) {
		r.urged = vips
		r.peers.Urgent(vips...)
	}
}

// bridgeChange is one change of the bridges of VIPs of one service.
type bridgeChange struct {
	time    time.Time
	service string
	vips    []netip.Prefix
	action  string // on, off, retarget
	targets []Target
	reason  string
}

// changes tells what was switched, with the VIPs of a service that were switched alike together.
func (r repaired) changes(m *machine) (all []bridgeChange) {
	if r.at.IsZero() {
		return nil
	}
	before, after := byVIP(r.before), byVIP(r.wanted)
	for i, v := range m.vips {
		was, is := before[v.Address], after[v.Address]
		if slices.Equal(was, is) {
			continue
		}
		one := bridgeChange{
			time: r.at, service: m.services[v.service].Name, vips: []netip.Prefix{v.Address},
			action: switched(was, is), targets: is, reason: m.memory[i].Reason,
		}
		if n := len(all); n > 0 && all[n-1].alike(one) {
			all[n-1].vips = append(all[n-1].vips, v.Address)
		} else {
			all = append(all, one)
		}
	}
	return all
}

func (b bridgeChange) alike(other bridgeChange) bool {
	return b.service == other.service && b.action == other.action && b.reason == other.reason && slices.Equal(b.targets, other.targets)
}

func switched(was, is []Target) string {
	switch {
	case len(was) == 0:
		return "on"
	case len(is) == 0:
		return "off"
	default:
		return "retarget"
	}
}

func byVIP(bridges []Bridging) map[netip.Prefix][]Target {
	all := make(map[netip.Prefix][]Target, len(bridges))
	for _, b := range bridges {
		all[b.VIP] = b.Targets
	}
	return all
}
