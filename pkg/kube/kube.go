// Package kube is Kubernetes as a source. Of steered services (Source): Services that ask for a name, and Ingresses of a class,
// become names that answer with the addresses of pods. And of addresses to announce (Balancer): Services of type LoadBalancer
// are given addresses, and each node is told which of them it serves. The translations are pure (world, balance); around them
// are reflectors that keep what they know while the API cannot be read (follower, reader), and writers that tell owners what
// became of their wishes.
package kube

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/anyedge/anyedge/pkg/steering"
)

// DefaultResync is how often everything is listed anew.
const DefaultResync = 10 * time.Minute

// Config says what is read, and how.
type Config struct {
	Kubeconfig string        // file; empty: the service account of the pod that this runs in
	Namespaces []string      // empty: all
	Class      string        // of the Ingresses that are ours; empty: "anyedge"
	Domain     string        // where default names lie, fully qualified; empty: there are none
	Node       string        // that this runs on; empty: not known
	NoPods     bool          // do without pods: no capacities, and instances only of endpoints that have a host name
	Loads      bool          // Behind will be asked
	NoStatus   bool          // write neither status nor events
	Resync     time.Duration // list anew so often; 0: DefaultResync
	Log        *slog.Logger
	Accept     Rules
}

// Rules tell why something that is asked for cannot be served. A nil one takes everything.
type Rules struct {
	Name     func(name string) error
	Semantic func(name string, m steering.Semantic) error // that a service is called besides its name
}

// A Source is made by New, and tells what it knows while Run runs and after. Safe for concurrent use.
type Source struct {
	*follower
	cfg   Config
	told  chan struct{} // verdicts may be other ones
	world *world        // the store
	names *prometheus.Desc
}

// New reads the credentials; it speaks to nobody yet.
func New(cfg Config) (*Source, error) {
	restConfig, err := credentials(cfg.Kubeconfig)
	if err != nil {
		return nil, err
	}
	return newSource(cfg, restConfig)
}

func credentials(file string) (*rest.Config, error) {
	if file != "" {
		c, err := clientcmd.BuildConfigFromFlags("", file)
		if err != nil {
			return nil, fmt.Errorf("kubeconfig %s: %w", file, err)
		}
		return c, nil
	}
	c, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("not in a cluster, so a kubeconfig is needed: %w", err)
	}
	return c, nil
}

func newSource(cfg Config, restConfig *rest.Config) (*Source, error) {
	if cfg.Class == "" {
		cfg.Class = "anyedge"
	}
	kinds := resources
	if cfg.NoPods {
		kinds = slices.DeleteFunc(slices.Clone(kinds), func(r resource) bool { return r.name == "pods" })
	}
	w := newWorld(rules{cfg.Class, cfg.Domain, cfg.Node, cfg.NoPods, cfg.Loads, cfg.Accept})
	f, err := newFollower(cfg.Log, restConfig, cfg.Resync, w, kinds, cfg.Namespaces)
	if err != nil {
		return nil, err
	}
	return &Source{
		follower: f, cfg: cfg, told: make(chan struct{}, 1), world: w,
		names: prometheus.NewDesc("anyedge_kube_names", "Names that are served from Kubernetes.", nil, nil),
	}, nil
}

// Run reads until ctx is done. It never ends by itself: what cannot be read is tried again for good.
func (s *Source) Run(ctx context.Context) error {
	if s.cfg.NoStatus {
		return s.run(ctx)
	}
	return s.run(ctx, newWriter(s).run)
}

// Update returns what changed since it was called before; nothing before the source is synced.
func (s *Source) Update() Update {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.synced {
		return Update{}
	}
	u := s.world.update()
	u.Synced = true
	if len(s.world.restless) > 0 {
		poke(s.told)
	}
	return u
}

// Services returns everything that Update has told of, as it is now, sorted by name.
func (s *Source) Services() []steering.Service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world.all()
}

// Accept replaces the rules of Config.
func (s *Source) Accept(r Rules) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.rules.accept = r
	s.world.touchAll()
	poke(s.changed)
}
