package kube

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"github.com/anyedge/anyedge/pkg/steering"
)

// apiInterval is between two looks into the metrics API, which has something new each 15 s, or 10 s at best.
const apiInterval = 5 * time.Second

// MeterConfig says whom a Meter asks, and how.
type MeterConfig struct {
	Kubeconfig string        // as of Config
	Namespaces []string      // of the metrics API; empty: all
	Kubelets   *Kubelets     // nil: they are not asked
	Metrics    bool          // read the metrics API
	Interval   time.Duration // between two requests to a kubelet
	Timeout    time.Duration // of a request to one
	Log        *slog.Logger
}

// Kubelets says how they are reached.
type Kubelets struct {
	Port     uint16
	CAFile   string // of who signs for them; empty: of who signs for the API
	Insecure bool   // believe that whoever answers is the kubelet, and give him the credentials
}

// A Meter tells how much processor time pods use: their kubelets are asked for counters, and the metrics API is read, which
// knows less soon. It is a prometheus.Collector, and safe for concurrent use.
type Meter struct {
	cfg      MeterConfig
	log      *slog.Logger
	kubelets *http.Client   // nil: they are not asked
	api      rest.Interface // nil: it is not read
	close    func()
	metrics  *meterMetrics
	changed  chan struct{} // one signal: kubelets are others

	mu     sync.Mutex // guards following
	uses   map[key]*use
	failed map[netip.Addr]string // of each kubelet, why it could not be read the last time; empty: it could
	denied string                // the same of the metrics API
}

// NewMeter reads the credentials; it speaks to nobody yet.
func NewMeter(cfg MeterConfig) (*Meter, error) {
	restConfig, err := credentials(cfg.Kubeconfig)
	if err != nil {
		return nil, err
	}
	return newMeter(cfg, restConfig)
}

func newMeter(cfg MeterConfig, restConfig *rest.Config) (*Meter, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Namespaces) == 0 {
		cfg.Namespaces = []string{""}
	}
	m := &Meter{
		cfg: cfg, log: cfg.Log.With("source", "kubernetes"), changed: make(chan struct{}, 1),
		uses: make(map[key]*use), failed: make(map[netip.Addr]string),
	}
	var transports []http.RoundTripper
	if cfg.Kubelets != nil {
		t, err := kubeletTransport(restConfig, *cfg.Kubelets)
		if err != nil {
			return nil, fmt.Errorf("kubelets: %w", err)
		}
		transports = append(transports, t)
		m.kubelets = newKubeletClient(t)
	}
	if cfg.Metrics {
		shared, api, err := newMetricsAPI(restConfig)
		if err != nil {
			return nil, fmt.Errorf("metrics API: %w", err)
		}
		transports = append(transports, shared.Transport)
		m.api = api
	}
	m.close = func() {
		for _, t := range transports {
			utilnet.CloseIdleConnectionsFor(t)
		}
	}
	m.metrics = newMeterMetrics(m)
	return m, nil
}

// Set states all pods whose use is wanted. What is known of those that stay is kept.
func (m *Meter) Set(pods ...Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, kubelets := m.uses, m.failed
	m.uses, m.failed = make(map[key]*use, len(pods)), make(map[netip.Addr]string)
	for _, p := range pods {
		u := cmp.Or(m.uses[p.key()], old[p.key()])
		if u == nil {
			u = new(use)
		}
		u.host = p.Host
		m.uses[p.key()] = u
		if p.Host.IsValid() && m.kubelets != nil {
			m.failed[p.Host] = kubelets[p.Host]
		}
	}
	poke(m.changed)
}

// Loads appends what is known of the loads of pods, in their order; the zero Load: nothing yet.
func (m *Meter) Loads(dst []steering.Load, pods ...Pod) []steering.Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range pods {
		var l steering.Load
		if u := m.uses[p.key()]; u != nil {
			l = u.load(p)
		}
		dst = append(dst, l)
	}
	return dst
}

// Trouble tells why nothing is known of the load of a pod, or nothing new; empty: all is well.
func (m *Meter) Trouble(p Pod, now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.uses[p.key()]
	if u == nil || u.fresh(now) {
		return ""
	}
	var all []string
	if m.kubelets != nil {
		all = append(all, m.kubeletTrouble(u, now))
	}
	switch {
	case m.api == nil:
	case m.denied != "":
		all = append(all, "metrics API: "+m.denied)
	default:
		all = append(all, "metrics API: tells nothing new of it")
	}
	return strings.Join(all, "; ")
}

func (m *Meter) kubeletTrouble(u *use, now time.Time) string {
	switch why := m.failed[u.host]; {
	case !u.host.IsValid():
		return "kubelet: the pod's node is not known yet"
	case why != "":
		return "kubelet " + u.host.String() + ": " + why
	case now.Sub(u.listed) > freshPeriods*m.cfg.Interval:
		return "kubelet " + u.host.String() + ": does not tell of it"
	default:
		return "kubelet " + u.host.String() + ": has not measured it anew"
	}
}

// Run asks until ctx is done and then returns nil; it may be called once. That somebody does not answer is no error.
func (m *Meter) Run(ctx context.Context) error {
	defer m.close()
	var all sync.WaitGroup
	defer all.Wait()
	if m.api != nil {
		all.Go(func() { every(quiet(ctx), apiInterval, m.readAPI) })
	}
	running := make(map[netip.Addr]context.CancelFunc)
	defer func() {
		for _, cancel := range running {
			cancel()
		}
	}()
	for {
		m.reconcile(ctx, running, &all)
		select {
		case <-ctx.Done():
			return nil
		case <-m.changed:
		}
	}
}

// reconcile has the kubelets asked that are wanted, and no others.
func (m *Meter) reconcile(ctx context.Context, running map[netip.Addr]context.CancelFunc, all *sync.WaitGroup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, cancel := range running {
		if _, wanted := m.failed[at]; !wanted {
			cancel()
			delete(running, at)
		}
	}
	for at := range m.failed {
		if running[at] == nil {
			each, cancel := context.WithCancel(ctx)
			running[at] = cancel
			all.Go(func() { every(each, m.cfg.Interval, func(ctx context.Context) { m.readKubelet(ctx, at) }) })
		}
	}
}

// every calls do in each interval until ctx is done, at a moment of its own: not all are asked at once.
func every(ctx context.Context, interval time.Duration, do func(context.Context)) {
	at := time.Now().Add(rand.N(interval))
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		do(ctx)
		for now := time.Now(); !at.After(now); {
			at = at.Add(interval)
		}
		timer.Reset(time.Until(at))
	}
}

// outcome takes note of how a request went, and tells people when that is news; old is why the one before failed. It returns
// why this one did.
func (m *Meter) outcome(source, who, old string, err error) string {
	m.metrics.read(source, err)
	if err == nil {
		if old != "" {
			m.log.Info("use of processors is told again", "by", who)
		}
		return ""
	}
	if old == "" {
		m.log.Warn("use of processors is not told", "by", who, "err", err)
	}
	return err.Error()
}
