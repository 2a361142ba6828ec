package kube

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
)

// DefaultAddressClass is the class of the Services that the agent announces.
const DefaultAddressClass = "anyedge/anycast"

// doubtBalancer is how long a list that lost everything at once must stay so before this node believes it: what it would
// withdraw are addresses that serve.
const doubtBalancer = 10 * time.Minute

// BalancerConfig says what is read, and what addresses are given from.
type BalancerConfig struct {
	Kubeconfig string   // file; empty: the service account of the pod that this runs in
	Namespaces []string // empty: all
	Class      string   // of the Services; empty: DefaultAddressClass
	Node       string   // that this runs on
	Pools      []Pool
	Reserved   map[netip.Addr]string // addresses that no Service may have, and whose they are, for people
	Lease      LeaseName             // of who gives addresses
	NoStatus   bool                  // give none, and write nothing
	Resync     time.Duration         // list anew so often; 0: DefaultResync
	Log        *slog.Logger
}

// LeaseName is where a Lease is.
type LeaseName struct{ Namespace, Name string }

// A Balancer tells which addresses of Services this node is to announce, while Run runs and after. One of all of them, the
// leader, gives Services their addresses; to announce hangs on what is written in the Services alone, never on who leads.
// Safe for concurrent use.
type Balancer struct {
	*follower
	balance  *balance
	election *election // nil: gives none
	writer   *addresser
	vips     *prometheus.Desc
	leads    *prometheus.Desc
}

// NewBalancer reads the credentials; it speaks to nobody yet.
func NewBalancer(cfg BalancerConfig) (*Balancer, error) {
	if cfg.Node == "" {
		return nil, errors.New("which node is this? Its name is not known")
	}
	restConfig, err := credentials(cfg.Kubeconfig)
	if err != nil {
		return nil, err
	}
	return newBalancer(cfg, restConfig)
}

func newBalancer(cfg BalancerConfig, restConfig *rest.Config) (*Balancer, error) {
	if cfg.Class == "" {
		cfg.Class = DefaultAddressClass
	}
	b := newBalance(balancing{cfg.Class, cfg.Node, cfg.Pools, cfg.Reserved})
	told := make(chan struct{}, 1)
	f, err := newFollower(cfg.Log, restConfig, cfg.Resync, telling{b, told}, []resource{servicesKind, slicesKind, nodesKind}, cfg.Namespaces)
	if err != nil {
		return nil, err
	}
	for _, r := range f.readers {
		r.doubt = doubtBalancer
	}
	gauge := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("anyedge_kube_"+name, help, labels, nil)
	}
	balancer := &Balancer{
		follower: f, balance: b,
		vips:  gauge("vips", "Addresses of Services of the cluster; wanted: this node is to announce them, which does not say that it does.", "wanted"),
		leads: gauge("leader", "1 while this agent gives addresses."),
	}
	if !cfg.NoStatus {
		balancer.election = newElection(f, cfg.Lease.key(), cfg.Node)
		balancer.writer = newAddresser(balancer, told, cfg.Namespaces)
	}
	return balancer, nil
}

func (l LeaseName) key() key { return key{l.Namespace, l.Name} }

// telling is a store that says when it was changed.
type telling struct {
	*balance
	told chan struct{}
}

func (t telling) put(o object) {
	t.balance.put(o)
	poke(t.told)
}

func (t telling) drop(like object, k key) {
	t.balance.drop(like, k)
	poke(t.told)
}

// Run reads, and gives addresses while this one leads, until ctx is done. It never ends by itself: what cannot be read or
// written is tried again for good.
func (b *Balancer) Run(ctx context.Context) error {
	if b.election == nil {
		return b.run(ctx)
	}
	return b.run(ctx, b.election.run, b.writer.run)
}

// A BalancerState is what a Balancer knows.
type BalancerState struct {
	Synced   bool      // everything was read once; before, nothing is known, and nothing is told
	Heard    time.Time // when the API last told something, of what it tells least of; zero: never
	Leader   string    // the node whose agent gives addresses; empty: not known
	VIPs     []VIP     // sorted by name
	Verdicts []Verdict // sorted by Service
}

// State returns what is known now.
func (b *Balancer) State() BalancerState {
	s := BalancerState{Heard: b.heard()}
	if b.election != nil {
		s.Leader = b.election.holder()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Synced = b.synced; s.Synced {
		s.VIPs, s.Verdicts = b.balance.vips()
	}
	return s
}

// Describe implements prometheus.Collector.
func (b *Balancer) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(b, ch) }

// Collect implements prometheus.Collector.
func (b *Balancer) Collect(ch chan<- prometheus.Metric) {
	b.collect(ch)
	wanted, all := 0, b.State().VIPs
	for _, v := range all {
		if v.Wanted {
			wanted++
		}
	}
	ch <- gauge(b.vips, float64(wanted), "true")
	ch <- gauge(b.vips, float64(len(all)-wanted), "false")
	ch <- gauge(b.leads, boolean(b.election != nil && b.election.leads()))
}
