package kube

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// doubt is how long a list that lost everything at once has to stay so before it is believed: a store that was made anew, and is
// empty because nobody filled it yet, looks like that, and must not become NXDOMAIN for all names.
const doubt = 30 * time.Second

// ownService is the Service that an API server makes for itself, and the slice of it: they are there even in a store that was
// made anew.
var ownService = key{"default", "kubernetes"}

// A reader follows the objects of one kind in one namespace, or in all. It turns: client-go's Reflector lists and watches,
// and after Resync another one begins anew while the old one still runs, so that an event which a watch lost without a word
// is missed for that long at most. What was read stays until something newer was.
type reader struct {
	*follower
	resource  resource
	namespace string // empty: all
	doubt     time.Duration

	// The follower's lock guards these.
	believed int       // number of the turn that is; the others are ignored
	complete bool      // everything was read once
	lost     time.Time // when a list first told that nothing is left of what is known

	heard   atomic.Int64 // when the API last told something, in ns since 1970; 0: never
	failing atomic.Bool
}

func newReader(f *follower, r resource, namespace string) *reader {
	return &reader{follower: f, resource: r, namespace: namespace, doubt: doubt}
}

// run reads until ctx is done.
func (r *reader) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := func() {}
	for n := 1; ctx.Err() == nil; n++ {
		next, stopNext := context.WithCancel(ctx)
		t := &turn{reader: r, number: n, listed: make(chan struct{})}
		running.Go(func() { r.reflector(next, t).RunWithContext(next) })
		select {
		case <-t.listed:
		case <-ctx.Done():
		}
		stop()
		stop = stopNext
		select {
		case <-time.After(jitter(r.resync)):
		case <-ctx.Done():
		}
	}
	stop()
}

// jitter spreads what many sites do at times of their own: from 3/4 to 5/4 of d.
func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2+1)
}

// reflector lists and watches until ctx is done. It backs off from what fails, by up to half a minute and at random.
func (r *reader) reflector(ctx context.Context, t *turn) *cache.Reflector {
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			all, err := r.client.list(ctx, r.resource, r.namespace, o)
			r.outcome(ctx, err)
			return all, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := r.client.watch(ctx, r.resource, r.namespace, o)
			r.outcome(ctx, err)
			if err != nil {
				return nil, err
			}
			w = overhear(w, func(err error) { r.outcome(ctx, err) })
			context.AfterFunc(ctx, w.Stop) // a Reflector whose store refuses a list forgets to
			return w, nil
		},
	}
	silent := logr.Discard()
	return cache.NewReflectorWithOptions(lw, r.resource.example, t, cache.ReflectorOptions{
		Logger: &silent, Name: r.resource.name, Clock: hasty{ctx: ctx},
	})
}

// outcome takes note of how a request went, and tells people when that is news.
func (r *reader) outcome(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	log := r.log.With("resource", r.resource.name, "namespace", r.namespace)
	if err == nil {
		r.hear()
		if r.failing.Swap(false) {
			log.Info("can be read again")
			poke(r.changed)
		}
		return
	}
	reason := reasonOf(err)
	r.metrics.errors.WithLabelValues(r.resource.name, reason).Inc()
	if reason == "Expired" { // this is how a watch is told to list anew
		return
	}
	if !r.failing.Swap(true) {
		poke(r.changed)
		log.Warn("cannot be read: what is known stays", "reason", reason, "err", err, "remedy", remedy(reason, r.resource.name))
	}
}

// brokenWatch is client-go's word for a watch that broke off, which it gives as an internal error of the server.
const brokenWatch metav1.CauseType = "ClientWatchDecoding"

// reasonOf is the API's own word for an error, which are few.
func reasonOf(err error) string {
	if apierrors.HasStatusCause(err, brokenWatch) {
		return "Unreachable"
	}
	switch reason := apierrors.ReasonForError(err); reason {
	case metav1.StatusReasonUnknown:
		return "Unreachable"
	case metav1.StatusReasonGone:
		return "Expired"
	default:
		return string(reason)
	}
}

func remedy(reason, resource string) string {
	switch reason {
	case string(metav1.StatusReasonForbidden):
		return "grant list and watch of " + resource
	case string(metav1.StatusReasonUnauthorized):
		return "renew the credentials"
	default:
		return "see to the API server"
	}
}

func (r *reader) hear() { r.heard.Store(time.Now().UnixNano()) }

// errDoubt sends a reflector back to list once more.
var errDoubt = errors.New("kube: everything is gone at once: asking again before that is believed")

// turn is the store of one reflector of a reader: client-go fills it, and it fills that of the follower as long as its reflector is the
// one that is believed.
type turn struct {
	*reader
	number int
	listed chan struct{} // closed once Replace was believed
}

var (
	_ cache.TransformingStore      = (*turn)(nil)
	_ cache.ReflectorBookmarkStore = (*turn)(nil)
)

// Transformer reduces objects as they come: a list never holds all of them whole.
func (t *turn) Transformer() cache.TransformFunc { return reduce }

// Add takes an object that a watch tells of.
func (t *turn) Add(obj any) error {
	o, err := reduce(obj)
	if err != nil {
		return err
	}
	t.hear()
	t.apply(func(s store) {
		if t.number == t.believed {
			t.hold(s, o.(object))
		}
	})
	return nil
}

// Update is Add.
func (t *turn) Update(obj any) error { return t.Add(obj) }

// Delete drops an object.
func (t *turn) Delete(obj any) error {
	o, err := reduce(obj)
	if err != nil {
		return err
	}
	t.hear()
	t.apply(func(s store) {
		if t.number == t.believed {
			s.drop(t.resource.reduced, o.(object).place())
		}
	})
	return nil
}

// Bookmark tells that nothing happened, which is worth to know.
func (t *turn) Bookmark(string) error {
	t.hear()
	return nil
}

// Resync is for stores that forget.
func (t *turn) Resync() error { return nil }

// Replace takes a whole list, and from then on this turn is believed. Only what differs from what is held is touched.
func (t *turn) Replace(list []any, _ string) (err error) {
	objects := make(map[key]object, len(list))
	for _, obj := range list {
		o, err := reduce(obj)
		if err != nil {
			return err
		}
		objects[o.(object).place()] = o.(object)
	}
	t.hear()
	t.metrics.lists.WithLabelValues(t.resource.name).Inc()
	t.apply(func(s store) {
		if err = t.believe(objects, s.held(t.resource.reduced)); err == nil {
			t.replace(s, objects)
		}
	})
	return err
}

// believe tells whether a list may be the truth, beside what is known.
func (t *turn) believe(list map[key]object, known held) error {
	switch {
	case t.number < t.believed:
		return fmt.Errorf("kube: a newer turn of %s is under way", t.resource.name)
	case !t.lostAll(list, known):
		t.lost = time.Time{}
		return nil
	case t.lost.IsZero():
		t.lost = time.Now()
		t.log.Warn("everything is gone at once: kept until that is told again", "resource", t.resource.name, "objects", known.count(t.namespace))
	}
	if time.Since(t.lost) < t.doubt {
		return errDoubt
	}
	t.lost = time.Time{}
	return nil
}

// lostAll tells whether a list has nothing any more of what is known. What others have put into a new store meanwhile does not
// make it the old one.
func (r *reader) lostAll(list map[key]object, known held) (all bool) {
	for k := range known.keys(r.namespace) {
		if k == ownService {
			continue
		}
		if list[k] != nil {
			return false
		}
		all = true
	}
	return all
}

func (t *turn) replace(s store, objects map[key]object) {
	for k := range s.held(t.resource.reduced).keys(t.namespace) {
		if objects[k] == nil {
			s.drop(t.resource.reduced, k)
		}
	}
	for _, o := range objects {
		t.hold(s, o)
	}
	t.believed = t.number
	t.complete = true
	select {
	case <-t.listed:
	default:
		close(t.listed)
	}
}

// hold puts an object into the store, unless it is there as it is.
func (t *turn) hold(s store, o object) {
	if version := o.current(); version == "" || version != s.held(t.resource.reduced).version(o.place()) {
		s.put(o)
	}
}

// hasty is a clock whose waits end with the context: a Reflector that backs off must not hold up the end of the program.
type hasty struct {
	clock.RealClock
	ctx context.Context
}

// After implements clock.Clock.
func (h hasty) After(d time.Duration) <-chan time.Time {
	ch := make(chan time.Time, 1)
	ctx, cancel := context.WithTimeout(h.ctx, d)
	context.AfterFunc(ctx, func() { ch <- time.Now(); cancel() })
	return ch
}
