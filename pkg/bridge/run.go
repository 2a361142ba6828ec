package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	countInterval = 100 * time.Millisecond // while something is bridged
	keepInterval  = time.Second
	checkInterval = 10 * time.Second
	countShare    = 20  // counting takes at most this part of the time, however many VIPs there are
	countAtOnce   = 500 // VIPs whose counters are read within Set
)

// Run prepares rules, tables, decapsulation and filter, keeps them as they should be, and counts. When ctx is done it
// removes all that is ours, what earlier processes left included, and returns an error only if that failed. It must be
// called once. Where the host cannot be prepared, Problems says why and Run tries again every second.
func (b *Bridge) Run(ctx context.Context) error {
	defer b.kernel.close()
	defer func() { _ = b.filter.close() }()
	if b.cfg.Mode == Off {
		if err := b.clear(); err != nil {
			b.log.Warn("bridging is off, but what an earlier process may have left could not be removed", "error", err)
		}
		close(b.ready)
		<-ctx.Done()
		return nil
	}
	b.prepare()
	close(b.ready)
	b.loop(ctx)
	return b.clear()
}

func (b *Bridge) loop(ctx context.Context) {
	var (
		sent     = time.Now()
		received = sent.Add(keepInterval)
		keep     = sent.Add(keepInterval)
		check    = sent.Add(checkInterval)
	)
	for {
		next := keep
		if b.bridging() && sent.Before(next) {
			next = sent
		}
		select {
		case <-ctx.Done():
			return
		case <-b.switched:
			continue
		case <-time.After(time.Until(next)):
		}
		due(&sent, countInterval, func() {
			if b.bridging() {
				b.countSent()
			}
		})
		due(&keep, keepInterval, b.keep)
		due(&received, keepInterval, b.countReceived)
		due(&check, checkInterval, b.check)
	}
}

// due calls f if its time has come, and sets the next: after the interval, or later if f takes long.
func due(at *time.Time, interval time.Duration, f func()) {
	start := time.Now()
	if start.Before(*at) {
		return
	}
	f()
	*at = start.Add(max(interval, countShare*time.Since(start)))
}

func (b *Bridge) bridging() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.on) > 0
}

// prepare makes the host look as planned. It may be called at any time, and changes only what is not so.
func (b *Bridge) prepare() {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.failure
	b.failure = b.prepareLocked()
	switch {
	case b.failure != nil && (before == nil || before.Error() != b.failure.Error()):
		b.log.Error("host cannot be prepared for bridging", "error", b.failure)
	case b.failure == nil && before != nil:
		b.log.Info("host is prepared for bridging at last")
	}
}

func (b *Bridge) prepareLocked() error {
	f := b.kernel.observe(b.cfg)
	if !f.source.IsValid() {
		return errors.New("no source: no route to any peer says which address to use: name it, or add a route")
	}
	index, err := b.kernel.tunnel(b.cfg, f.source, f.underlay-overheadVXLAN(f.source))
	if err != nil {
		return err
	}
	f.seg6 = b.kernel.decapsulates(index)
	mode, reason := choose(b.cfg, f.underlay, f.seg6)
	p := plan{cfg: b.cfg, mode: mode, source: f.source, seg6: f.seg6 == nil, index: index}
	f.look(b.cfg, mode, b.filter)
	b.judge(mode, f)
	if b.plan == nil {
		if err := b.find(p); err != nil {
			return err
		}
	}
	if b.plan == nil || b.plan.mode != mode {
		b.log.Info("tunnel chosen", "mode", mode, "reason", reason, "source", f.source, "mtu", f.underlay)
	}
	b.plan = &p
	return errors.Join(b.kernel.neighbors(p), b.kernel.routes(p), b.filter.replace(p, b.addresses()), b.kernel.rules(p), b.reroute())
}

// find learns which bridges an earlier process left, and forgets those that the configuration no longer allows.
func (b *Bridge) find(p plan) error {
	peers := make(map[netip.Addr]string)
	for _, peer := range b.cfg.Peers {
		peers[gateway(peer.Source)] = peer.Name
	}
	for _, f := range [...]family{family6, family4} {
		list, err := b.kernel.ours(f, tableBridge)
		if err != nil {
			return err
		}
		for _, r := range list {
			w := wantedBy(r, peers)
			if len(w.Targets) == 0 || !b.vips[w.VIP] {
				b.log.Warn("an earlier process left a bridge that the configuration does not know: removed", "vip", w.VIP)
				if err := b.unroute(w.VIP); err != nil {
					return err
				}
				continue
			}
			b.found = append(b.found, w)
			b.on[w.VIP] = w.Targets
		}
	}
	slices.SortFunc(b.found, func(a, b Wanted) int { return a.VIP.Compare(b.VIP) })
	if len(b.found) > 0 {
		b.log.Warn("an earlier process left bridges switched on: they stay until the first decision", "bridges", fmt.Sprint(b.found))
	}
	b.noteSwitched(b.addresses(), nil)
	return nil
}

// wantedBy reads a route of plan.bridge's. Peers that are not known any more are left out.
func wantedBy(r netlink.Route, peers map[netip.Addr]string) Wanted {
	w := Wanted{VIP: identity(r).dst}
	hops := r.MultiPath
	if len(hops) == 0 {
		hops = []*netlink.NexthopInfo{{Gw: r.Gw, Via: r.Via}}
	}
	for _, hop := range hops {
		ip := hop.Gw
		if via, ok := hop.Via.(*netlink.Via); ok {
			ip = via.Addr
		}
		gw, _ := netip.AddrFromSlice(ip)
		if peer, ok := peers[gw]; ok {
			w.Targets = append(w.Targets, Target{peer, hop.Hops + 1})
		}
	}
	slices.SortFunc(w.Targets, byPeer)
	return w
}

// reroute states the routes of all that is bridged anew.
func (b *Bridge) reroute() error {
	var errs []error
	for vip, targets := range b.on {
		if err := b.kernel.RouteReplace(b.plan.bridge(Wanted{vip, targets})); err != nil {
			errs = append(errs, fmt.Errorf("route %v into the tunnel: %w", vip, err))
		}
	}
	return errors.Join(errs...)
}

// addresses returns what is bridged.
func (b *Bridge) addresses() []netip.Addr {
	var all []netip.Addr
	for vip := range b.on {
		all = append(all, vip.Addr())
	}
	return all
}

// keep prepares the host anew when somebody took away what is ours, as a firewall does that begins with "flush ruleset".
func (b *Bridge) keep() {
	what := b.lost()
	if what == "" {
		return
	}
	b.log.Warn("somebody changed what bridging needs: putting it back", "what", what)
	b.prepare()
}

// lost names the first thing of ours that is not as it should be; "" when all is.
func (b *Bridge) lost() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.plan == nil || b.failure != nil {
		return "everything"
	}
	if link, err := b.kernel.LinkByName(device); err != nil || link.Attrs().Index != b.plan.index {
		return "interface " + device
	}
	if ok, err := b.filter.present(); err == nil && !ok {
		return "nft table " + filterName
	}
	for _, f := range b.cfg.families() {
		have, err := b.kernel.list(f)
		if err == nil && !complete(have, b.plan.rules(f)) {
			return f.String() + " rules"
		}
	}
	routes := 0
	for _, f := range [...]family{family6, family4} {
		list, err := b.kernel.ours(f, tableBridge)
		if err != nil {
			return ""
		}
		routes += len(list)
	}
	if routes != len(b.on) {
		return fmt.Sprintf("routes of table %d", tableBridge)
	}
	return ""
}

// complete tells whether all wanted rules are there and none for the local table comes before them.
func complete(have, want []netlink.Rule) bool {
	present := make(map[rule]bool)
	for _, r := range have {
		if forLocal(r) && r.Priority == 0 {
			return false
		}
		present[ruleOf(r)] = present[ruleOf(r)] || r.Protocol == protocol
	}
	return !slices.ContainsFunc(want, func(r netlink.Rule) bool { return !present[ruleOf(r)] })
}

// clear removes all that is ours from the host: the bridges first.
func (b *Bridge) clear() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	errs := []error{b.kernel.flush(tableBridge, nothing), b.kernel.restore()}
	tables := []int{tableVIPs, tableSIDs}
	for i := range b.cfg.Peers {
		tables = append(tables, tablePeers+i)
	}
	for _, table := range tables {
		errs = append(errs, b.kernel.flush(table, nothing))
	}
	errs = append(errs, b.kernel.removeTunnel(), b.filter.remove())
	clear(b.on)
	return errors.Join(errs...)
}

// countSent reads the counters of the bridged VIPs.
func (b *Bridge) countSent() {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	families := b.cfg.families()
	excess, errExcess := b.filter.count(b.filter.excess, families) // first: there is never more excess than there are packets
	bridged, err := b.filter.count(b.filter.bridged, families)
	if err = errors.Join(err, errExcess); err != nil {
		b.log.Debug("counters not read", "error", err)
		return
	}
	if b.tally.sent(time.Now(), bridged, excess) {
		select {
		case b.changed <- struct{}{}:
		default:
		}
	}
}

func (b *Bridge) countReceived() {
	b.countMu.Lock()
	defer b.countMu.Unlock()
	received, err := b.filter.count(b.filter.vips, b.cfg.families())
	refused, errRefused := b.filter.refused()
	if err = errors.Join(err, errRefused); err != nil {
		b.log.Debug("counters not read", "error", err)
		return
	}
	b.tally.received(received)
	b.refused = refused
}
