package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
)

// A store takes objects as they are now. It is asked by one goroutine at a time.
type store interface {
	put(o object)
	drop(like object, k key) // like is of the kind of the object
	held(like object) held   // all that was put of a kind, and is kept
}

// A follower keeps a store as the API has its objects. What it has read stays when the API goes away.
type follower struct {
	client  *client
	log     *slog.Logger
	resync  time.Duration
	readers []*reader
	metrics *metrics
	changed chan struct{}

	mu     sync.Mutex // guards store, synced, and what the readers know
	store  store
	synced bool
}

// newFollower reads kinds of objects; no namespaces: all. It starts nothing.
func newFollower(log *slog.Logger, restConfig *rest.Config, resync time.Duration, s store, kinds []resource, namespaces []string) (*follower, error) {
	c, err := newClient(restConfig)
	if err != nil {
		return nil, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if resync == 0 {
		resync = DefaultResync
	}
	f := &follower{client: c, log: log.With("source", "kubernetes"), resync: resync, changed: make(chan struct{}, 1), store: s}
	for _, r := range kinds {
		if r.clusterWide || len(namespaces) == 0 {
			f.readers = append(f.readers, newReader(f, r, ""))
			continue
		}
		for _, ns := range namespaces {
			f.readers = append(f.readers, newReader(f, r, ns))
		}
	}
	f.metrics = newMetrics(f)
	return f, nil
}

// run reads until ctx is done, with others beside it.
func (f *follower) run(ctx context.Context, others ...func(context.Context)) error {
	defer f.client.close()
	ctx = quiet(ctx)
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range f.readers {
		g.Go(func() error { r.run(ctx); return nil })
	}
	for _, run := range others {
		g.Go(func() error { run(ctx); return nil })
	}
	return g.Wait()
}

// Changed receives when there is something new to tell, also of whether what is known may be old.
func (f *follower) Changed() <-chan struct{} { return f.changed }

// Synced tells whether everything was read once. It stays so: later, what is known is kept.
func (f *follower) Synced() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.synced
}

// apply changes the store under the lock.
func (f *follower) apply(change func(store)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.store)
	if !f.synced {
		f.synced = true
		for _, r := range f.readers {
			f.synced = f.synced && r.complete
		}
	}
	if f.synced {
		poke(f.changed)
	}
}

// heard is when the API last told something of the kind that it has told nothing of for longest; zero: of one, never.
func (f *follower) heard() (at time.Time) {
	for i, r := range f.readers {
		ns := r.heard.Load()
		if ns == 0 {
			return time.Time{}
		}
		if t := time.Unix(0, ns); i == 0 || t.Before(at) {
			at = t
		}
	}
	return at
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
