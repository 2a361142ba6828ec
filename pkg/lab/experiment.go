package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
)

// An Experiment repeats a fault at the nearest site and measures each failover.
type Experiment struct {
	Fault         Fault
	Runs          int
	Seed          uint64 // of the moments at which the faults come
	ProbeInterval time.Duration
	Version       string // for the result
	Progress      io.Writer

	aftermath time.Duration // how long losses still count after the service is back; zero: 5 s
}

const (
	// upTimeout is how long a lab may take until every site announces everything.
	upTimeout = 60 * time.Second
	// takeoverTimeout is how long a failover may take before the run counts as failed.
	takeoverTimeout = 30 * time.Second
	// returnTimeout is how long the healed site may take to be back: guards may hold one down that failed too often.
	returnTimeout = 150 * time.Second
	// settledElsewhere is for how long another host of a site must have answered, with all announced, to be the one that stays.
	settledElsewhere = 5 * time.Second
	// usualAftermath is how long losses still count after the service is back where it was.
	usualAftermath = 5 * time.Second
	// calm is how long one site must answer alone before a fault.
	calm = time.Second
	// away is how long a site stays broken at least once another one has taken over.
	away = time.Second
	// invalidLimit is how often one run is repeated because its measurement was no good.
	invalidLimit = 3
	// before is how long before the fault a loss still is the fault's: packets were under way.
	before = 100 * time.Millisecond
	// restTimeout is how long an agent may bridge and move traffic away before the fault is healed all the same.
	restTimeout = 10 * time.Second
	// secondAfter is when the site that took over is hit, too: well within the grace of a bridge.
	secondAfter = 200 * time.Millisecond
)

// errInvalid marks a run whose measurement is no good: it is repeated.
var errInvalid = errors.New("invalid run")

// Run waits until the lab is ready, makes all runs and returns the result. It fails when one run could not be measured.
func (e Experiment) Run(ctx context.Context, l *Lab) (Result, error) {
	p, err := findParts(l.Topology)
	if err != nil {
		return Result{}, err
	}
	result := Result{
		Lab: l.Topology.Name, Experiment: e.Fault.Name, Seed: e.Seed, Version: e.Version, Machine: machine(l.netem),
	}
	began := time.Now()
	err = watched(ctx, l, p, func(ctx context.Context, watch *routeWatch) error {
		if err := l.Ready(ctx); err != nil {
			return err
		}
		fmt.Fprintf(e.Progress, "%s is up after %.1f s; a run takes ten seconds or more\n", l.Topology.Name, time.Since(began).Seconds())
		unload, err := e.Fault.load(ctx, l, p)
		if err != nil {
			return err
		}
		if result.Runs, err = e.runs(ctx, l, p, watch); err != nil {
			return err
		}
		return unload(ctx)
	})
	return result, err
}

// runs makes all runs.
func (e Experiment) runs(ctx context.Context, l *Lab, p parts, watch *routeWatch) (runs []Measured, err error) {
	random := rand.New(rand.NewPCG(e.Seed, 0))
	for len(runs) < e.Runs {
		m, err := e.valid(ctx, l, p, watch, random)
		if err != nil {
			return runs, fmt.Errorf("run %d of %d: %w", len(runs)+1, e.Runs, err)
		}
		if len(runs) > 0 {
			m.Series = nil // one picture is enough
		}
		runs = append(runs, m)
		fmt.Fprintf(e.Progress, "%s %d/%d: %s -> %s, lost %d, MTTR %.1f ms (RTT %.1f)\n",
			e.Fault.Name, len(runs), e.Runs, m.SiteFrom, cmp.Or(m.SiteTo, "none"), m.Lost, m.MTTRMs, m.RTTMs)
	}
	return runs, nil
}

// watched calls use while the routers' tables are watched.
func watched(ctx context.Context, l *Lab, p parts, use func(context.Context, *routeWatch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	watch, ready := &routeWatch{}, make(chan struct{})
	g.Go(func() error { return watch.run(ctx, l, p.routers, ready) })
	g.Go(func() error {
		defer cancel()
		select {
		case <-ready:
			return use(ctx, watch)
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return g.Wait()
}

// valid makes runs until one's measurement is good.
func (e Experiment) valid(ctx context.Context, l *Lab, p parts, watch *routeWatch, random *rand.Rand) (m Measured, err error) {
	for range invalidLimit {
		// The moment of the fault must not follow the rhythm of the checks.
		offset := time.Duration(random.Int64N(int64(time.Second)))
		m, err = e.once(ctx, l, p, watch, offset)
		if !errors.Is(err, errInvalid) {
			return m, err
		}
		fmt.Fprintf(e.Progress, "(%v: once more) ", err)
	}
	return m, err
}

// once makes one run: calm, fault, takeover, healing, return, aftermath.
func (e Experiment) once(ctx context.Context, l *Lab, p parts, watch *routeWatch, offset time.Duration) (Measured, error) {
	task := probeTask{node: p.client, target: e.Fault.target(p), interval: e.ProbeInterval}
	if e.Fault.DNS {
		task.name = p.name
	}
	earlier, err := l.dropped()
	if err != nil {
		return Measured{}, err
	}
	prober, err := probing(ctx, l, task)
	if err != nil {
		return Measured{}, err
	}
	var tcp *tcpClient
	if !e.Fault.DNS {
		tcp = connecting(ctx, l.space(l.topologyNode(p.client)), task.target)
	}
	f, err := e.failover(ctx, l, p, prober, offset)
	if err == nil {
		err = sleep(ctx, cmp.Or(e.aftermath, usualAftermath))
	}
	var s saw
	if tcp != nil {
		counts := tcp.stop(f.at - int64(before))
		s.tcp = &counts
	}
	if err != nil {
		prober.abandon()
		return Measured{}, err
	}
	if s.report, err = prober.stop(); err != nil {
		return Measured{}, err
	}
	if s.changes, err = watch.of(task.target.Addr(), f.at, monotonic()); err != nil {
		return Measured{}, err
	}
	watch.forget(monotonic())
	if s.journals, err = l.journals(p.agents()); err != nil {
		return Measured{}, err
	}
	now, err := l.dropped()
	if err != nil {
		return Measured{}, err
	}
	s.drops, f.spells = now.since(earlier), prober.answers(f.at)
	m, err := f.measure(p, s)
	if err != nil && !errors.Is(err, errInvalid) {
		return m, err
	}
	// What spoiled a measurement, such as a stall of the machine, may have made a site go away too.
	if err := l.forget(ctx, p, s.journals, f.at); err != nil {
		return m, err
	}
	return m, err
}

// forget restarts the agents whose site went away since a moment, or whose path to a router did: their guards and sessions
// remember that, and the next run would find a site that is held down.
func (l *Lab) forget(ctx context.Context, p parts, journals map[string][]entry, since int64) error {
	restarted := false
	for _, agent := range p.agents() {
		if !wentAway(journals[agent], since) && !lostPath(journals[agent], since) {
			continue
		}
		if err := l.renew(agent); err != nil {
			return err
		}
		restarted = true
	}
	if !restarted {
		return nil
	}
	return l.Ready(ctx)
}

// failover waits for calm, hits the site that serves, and heals it once another has taken over. It returns when the
// site is back.
func (e Experiment) failover(ctx context.Context, l *Lab, p parts, prober *prober, offset time.Duration) (failure, error) {
	f := failure{fault: e.Fault, target: e.Fault.target(p)}
	err := prober.until(ctx, "one site answers", takeoverTimeout, func(site string, since time.Time) bool {
		f.from = site
		return site != "" && time.Since(since) > calm
	})
	if err != nil {
		return f, err
	}
	if err := sleep(ctx, offset); err != nil {
		return f, err
	}
	if err := l.Healthy(); err != nil {
		return f, err
	}
	v, err := p.victim(f.from)
	if err != nil {
		return f, err
	}
	f.at = monotonic()
	if err := f.fault.inject(ctx, l, v); err != nil {
		return f, err
	}
	hit := []victim{v}
	if f.fault.lasts > 0 {
		err = sleep(ctx, f.fault.lasts-time.Duration(monotonic()-f.at))
	} else {
		hit, err = f.takeover(ctx, l, p, prober, v)
	}
	if err != nil {
		return f, err
	}
	f.healed = monotonic()
	for _, v := range hit {
		if err := f.fault.heal(ctx, l, v); err != nil {
			return f, err
		}
	}
	return f, f.recovered(ctx, l, p, prober)
}

// takeover waits until another site has taken over, hits that one too if the fault wants it, and waits until the agent of
// the failed site has done all that it does. It returns all that were hit.
func (f *failure) takeover(ctx context.Context, l *Lab, p parts, prober *prober, v victim) ([]victim, error) {
	hit := []victim{v}
	if err := f.other(ctx, prober, &f.to); err != nil {
		return hit, err
	}
	if f.fault.next != nil {
		if err := sleep(ctx, secondAfter); err != nil {
			return hit, err
		}
		second, err := p.victim(f.to)
		if err != nil {
			return hit, err
		}
		hit, f.next, f.second = append(hit, second), f.to, monotonic()
		if err := f.fault.next(ctx, l, second); err != nil {
			return hit, err
		}
		if err := f.other(ctx, prober, &f.to); err != nil {
			return hit, err
		}
	}
	return hit, l.rest(ctx, p, v.site, f.target.Addr())
}

// other waits until a site answers that was not hit.
func (f *failure) other(ctx context.Context, prober *prober, to *string) error {
	return prober.until(ctx, "another site takes over", takeoverTimeout, func(site string, _ time.Time) bool {
		*to = site
		return site != "" && site != f.from && site != f.next
	})
}

// recovered waits until all agents announce everything and the healed site answers. Where a router has several ways that are as good
// (RFC 2992), it may lead the client to another host of the site than before: then nothing is back.
func (f *failure) recovered(ctx context.Context, l *Lab, p parts, prober *prober) error {
	if err := l.allAnnounced(ctx, p); err != nil {
		return err
	}
	announced := time.Now()
	err := prober.until(ctx, f.from+" is back", returnTimeout, func(site string, since time.Time) bool {
		return site == f.from && time.Since(since) > 100*time.Millisecond ||
			site != f.from && p.racks[site] == p.racks[f.from] && min(time.Since(since), time.Since(announced)) > settledElsewhere
	})
	if err != nil {
		return err
	}
	for _, s := range prober.answers(f.healed) {
		if s.site == f.from {
			f.back = s.from
		}
	}
	return nil
}

func (l *Lab) allAnnounced(ctx context.Context, p parts) error {
	ctx, cancel := context.WithTimeoutCause(ctx, returnTimeout, fmt.Errorf("not every site announces %s after the fault", returnTimeout))
	defer cancel()
	for _, site := range p.sites {
		if err := l.announced(ctx, p, site); err != nil {
			return err
		}
	}
	return nil
}

// rest waits a while, and until the agent of a site has moved all traffic to addr away, but not for ever: the fault may
// have hit the agent.
func (l *Lab) rest(ctx context.Context, p parts, site string, addr netip.Addr) error {
	if err := sleep(ctx, away); err != nil {
		return err
	}
	agent, err := p.player("agent", site)
	if err != nil {
		return nil // nobody to wait for
	}
	for end := time.Now().Add(restTimeout); time.Now().Before(end); {
		entries, err := l.journal(agent)
		if err != nil || resting(entries, addr) {
			return err
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// Ready waits until every agent announces all its services, and the client is answered by one site.
func (l *Lab) Ready(ctx context.Context) error {
	p, err := findParts(l.Topology)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, upTimeout, fmt.Errorf("lab %s: not every site announces after %s", l.Topology.Name, upTimeout))
	defer cancel()
	for _, site := range p.sites {
		if err := l.announced(ctx, p, site); err != nil {
			return err
		}
	}
	_, err = l.serving(ctx, p)
	return err
}

// serving waits until the client is answered by one site.
func (l *Lab) serving(ctx context.Context, p parts) (serves string, err error) {
	prober, err := probing(ctx, l, probeTask{node: p.client, target: p.vip, interval: 10 * time.Millisecond})
	if err != nil {
		return "", err
	}
	defer prober.abandon()
	err = prober.until(ctx, "one site answers", upTimeout, func(site string, since time.Time) bool {
		serves = site
		return site != "" && time.Since(since) > calm
	})
	return serves, err
}

// announced waits until the agent of a site announces everything, and tells what it does not when ctx ends that. A site
// without one announces by other means.
func (l *Lab) announced(ctx context.Context, p parts, site string) error {
	agent, err := p.player("agent", site)
	if err != nil {
		return nil
	}
	for {
		if err := l.Healthy(); err != nil {
			return err
		}
		entries, err := l.journal(agent)
		if err != nil {
			return err
		}
		why := notUp(entries)
		if why == "" {
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("%w: %s: %s", err, site, why)
		}
	}
}

// sleep waits, or returns why ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
