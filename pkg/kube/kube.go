// Package kube is Kubernetes as a source of steered services: Services that ask for a name, and Ingresses of a class, become
// names that answer with the addresses of pods. The translation is pure (world); around it are reflectors that keep what
// they know while the API cannot be read (reader), and a writer that tells owners what became of their wishes.
package kube

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
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
	cfg     Config
	client  *client
	log     *slog.Logger
	readers []*reader
	metrics *metrics
	changed chan struct{}
	told    chan struct{} // verdicts may be other ones

	mu     sync.Mutex
	world  *world
	synced bool
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
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Class == "" {
		cfg.Class = "anyedge"
	}
	if cfg.Resync == 0 {
		cfg.Resync = DefaultResync
	}
	c, err := newClient(restConfig)
	if err != nil {
		return nil, err
	}
	s := &Source{
		cfg: cfg, client: c, log: cfg.Log.With("source", "kubernetes"),
		changed: make(chan struct{}, 1), told: make(chan struct{}, 1),
		world: newWorld(rules{cfg.Class, cfg.Domain, cfg.Node, cfg.NoPods, cfg.Loads, cfg.Accept}),
	}
	namespaces := cfg.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	for _, r := range resources {
		if r.name == "pods" && cfg.NoPods {
			continue
		}
		for _, ns := range namespaces {
			s.readers = append(s.readers, newReader(s, r, ns))
		}
	}
	s.metrics = newMetrics(s)
	return s, nil
}

// Run reads until ctx is done. It never ends by itself: what cannot be read is tried again for good.
func (s *Source) Run(ctx context.Context) error {
	defer s.client.close()
	ctx = quiet(ctx)
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range s.readers {
		g.Go(func() error { r.run(ctx); return nil })
	}
	if !s.cfg.NoStatus {
		w := newWriter(s)
		g.Go(func() error { w.run(ctx); return nil })
	}
	return g.Wait()
}

// Changed receives when Update has something to tell, or Synced or Stale something else.
func (s *Source) Changed() <-chan struct{} { return s.changed }

// Synced tells whether everything was read once. It stays so: later, what is known is kept.
func (s *Source) Synced() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced
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

// apply changes the world under the lock.
func (s *Source) apply(change func(*world)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s.world)
	if !s.synced {
		s.synced = true
		for _, r := range s.readers {
			s.synced = s.synced && r.complete
		}
	}
	if s.synced {
		poke(s.changed)
	}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
