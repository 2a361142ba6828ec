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

	"github.com/anyedge/anyedge/pkg/probe"
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
	// returnTimeout is how long the healed site may take to be back.
	returnTimeout = 60 * time.Second
	// usualAftermath is how long losses still count after the service is back where it was.
	usualAftermath = 5 * time.Second
	// calm is how long one site must answer alone before a fault.
	calm = time.Second
	// away is how long a site stays broken once another one has taken over.
	away = time.Second
	// invalidLimit is how often one run is repeated because its measurement was no good.
	invalidLimit = 3
	// before is how long before the fault a loss still is the fault's: packets were under way.
	before = 100 * time.Millisecond
	// schedule is the share of its schedule that a prober must have sent for a run to be valid.
	schedule = 0.99
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
		random := rand.New(rand.NewPCG(e.Seed, 0))
		for len(result.Runs) < e.Runs {
			m, err := e.valid(ctx, l, p, watch, random)
			if err != nil {
				return fmt.Errorf("run %d of %d: %w", len(result.Runs)+1, e.Runs, err)
			}
			if len(result.Runs) > 0 {
				m.Series = nil // one picture is enough
			}
			result.Runs = append(result.Runs, m)
			fmt.Fprintf(e.Progress, "%s %d/%d: %s -> %s, lost %d, MTTR %.1f ms (RTT %.1f)\n",
				e.Fault.Name, len(result.Runs), e.Runs, m.SiteFrom, m.SiteTo, m.Lost, m.MTTRMs, m.RTTMs)
		}
		return nil
	})
	return result, err
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
	prober, err := probing(ctx, l, task)
	if err != nil {
		return Measured{}, err
	}
	f, err := failover(ctx, l, p, e.Fault, prober, offset)
	if err == nil {
		err = sleep(ctx, cmp.Or(e.aftermath, usualAftermath))
	}
	if err != nil {
		prober.abandon()
		return Measured{}, err
	}
	report, err := prober.stop()
	if err != nil {
		return Measured{}, err
	}
	return f.measure(e, l, watch, report)
}

// A failure is one fault that was injected and healed.
type failure struct {
	from, to string         // sites
	agent    string         // node of the agent of the failed site
	at       int64          // CLOCK_MONOTONIC just before the fault
	answer   int64          // CLOCK_MONOTONIC of the next site's first answer
	healed   int64          // CLOCK_MONOTONIC just before the healing
	back     int64          // CLOCK_MONOTONIC of the healed site's first answer
	target   netip.AddrPort // that the prober asks
}

// failover waits for calm, hits the site that serves, and heals it once another has taken over. It returns when the
// site is back.
func failover(ctx context.Context, l *Lab, p parts, fault Fault, prober *prober, offset time.Duration) (failure, error) {
	f := failure{target: fault.target(p)}
	err := prober.until(ctx, "one site answers", takeoverTimeout, func(site string, since time.Time) bool {
		f.from = site
		return site != "" && time.Since(since) > calm
	})
	if err != nil {
		return f, err
	}
	if f.agent, err = p.player("agent", f.from); err != nil {
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
	if err := fault.inject(l, v); err != nil {
		return f, err
	}
	err = prober.until(ctx, "another site takes over", takeoverTimeout, func(site string, _ time.Time) bool {
		f.to = site
		return site != f.from
	})
	if err != nil {
		return f, err
	}
	f.answer = prober.answeredAt(f.to)
	if err := sleep(ctx, away); err != nil {
		return f, err
	}
	f.healed = monotonic()
	if err := fault.heal(l, v); err != nil {
		return f, err
	}
	err = prober.until(ctx, f.from+" is back", returnTimeout, func(site string, since time.Time) bool {
		return site == f.from && time.Since(since) > 100*time.Millisecond
	})
	f.back = prober.answeredAt(f.from)
	return f, err
}

// measure turns what prober, journal and routers saw into figures.
func (f failure) measure(e Experiment, l *Lab, watch *routeWatch, r probe.Report) (Measured, error) {
	if float64(r.Sent) < schedule*float64(r.Scheduled) {
		return Measured{}, fmt.Errorf("%w: the prober sent %d of %d", errInvalid, r.Sent, r.Scheduled)
	}
	addr := f.target.Addr()
	entries, err := l.journal(f.agent)
	if err != nil {
		return Measured{}, err
	}
	m := Measured{
		Fault: e.Fault.Name, SiteFrom: f.from, SiteTo: f.to, ProbeIntervalMs: r.IntervalMs,
		RTTMs: r.RTTBySiteMs[f.from].P50, ReturnMs: float64(f.back-f.healed) / 1e6, Phases: map[string]float64{},
	}
	phase := func(name string, at int64) {
		if at > 0 {
			m.Phases[name] = float64(at-f.at) / 1e6
		}
	}
	f.losses(&m, r)
	if f.at-int64(before) > r.StartMonoNs && m.Lost != r.Lost {
		return Measured{}, fmt.Errorf("%w: %d lost before the fault", errInvalid, r.Lost-m.Lost)
	}
	noticed, written := withdrawal(entries, addr, f.at)
	first, last := watch.between(addr, f.at, f.answer)
	phase("noticed", noticed)
	phase("written", written)
	phase("first_route", first.at)
	phase("diverted", last.at)
	phase("first_answer", f.answer)
	m.Series = f.course(r)
	m.DetectMs, m.WithdrawMs = m.Phases["noticed"], m.Phases["written"]
	if noticed == 0 {
		m.DetectMs, m.WithdrawMs = m.Phases["first_route"], m.Phases["first_route"]
	}
	return m, nil
}

// losses adds up the outages from just before the fault on.
func (f failure) losses(m *Measured, r probe.Report) {
	for _, o := range r.Outages {
		if o.StartMonoNs < f.at-int64(before) {
			continue
		}
		m.Lost += o.Lost
		if o.StartMonoNs > f.healed {
			m.LostOnReturn += o.Lost
		}
		m.GapMs = max(m.GapMs, o.GapMs)
	}
	m.MTTRMs = float64(m.Lost) * r.IntervalMs
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
	prober, err := probing(ctx, l, probeTask{node: p.client, target: p.vip, interval: 10 * time.Millisecond})
	if err != nil {
		return err
	}
	defer prober.abandon()
	return prober.until(ctx, "one site answers", upTimeout, func(site string, since time.Time) bool {
		return site != "" && time.Since(since) > calm
	})
}

func (l *Lab) announced(ctx context.Context, p parts, site string) error {
	agent, err := p.player("agent", site)
	if err != nil {
		return err
	}
	for {
		if err := l.Healthy(); err != nil {
			return err
		}
		entries, err := l.journal(agent)
		if err != nil {
			return err
		}
		if announcing(entries) {
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
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
