package kube

import (
	"context"
	"log/slog"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leaseDuration is how long a leader that is silent stays it.
const leaseDuration = 15 * time.Second

// releaseLimit bounds giving the lease back at the end.
const releaseLimit = time.Second

// An election says by a Lease which of many agents gives addresses. It is decided by how long the Lease has not changed by the
// own clock, never by the times in it: clocks of nodes differ. client-go has one, which links every API group.
type election struct {
	client   *client
	log      *slog.Logger
	place    key
	me       string
	duration time.Duration
	won      chan struct{} // capacity 1

	failing bool  // of the goroutine of run
	sight   sight // the same

	mu     sync.Mutex // guards all below
	leader string     // as the Lease says
	until  time.Time  // this one is it; zero: it is not
}

// sight is when a Lease was last seen to change.
type sight struct {
	version string
	at      time.Time
}

// free tells whether a Lease is for one to take, or to renew, and takes note of it.
func (s *sight) free(l *coordinationv1.Lease, me string, now time.Time) bool {
	if s.version != l.ResourceVersion {
		*s = sight{l.ResourceVersion, now}
	}
	holder := deref(l.Spec.HolderIdentity)
	promised := time.Duration(deref(l.Spec.LeaseDurationSeconds)) * time.Second
	return holder == "" || holder == me || now.Sub(s.at) >= promised
}

func newElection(f *follower, place key, me string) *election {
	return &election{client: f.client, log: f.log, place: place, me: me, duration: leaseDuration, won: make(chan struct{}, 1)}
}

// leads tells whether this one is the leader now. It is not for a while before another can be: what it has begun has time to
// end.
func (e *election) leads() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Now().Before(e.until)
}

// holder is who leads, as far as is known; empty: nobody.
func (e *election) holder() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leader
}

// run stands for the office until ctx is done, and gives it back.
func (e *election) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			e.release(context.WithoutCancel(ctx))
			return
		case <-timer.C:
		}
		e.tell(ctx, e.stand(ctx))
		pause := e.duration / 2
		if e.leads() {
			pause = e.duration / 5
		}
		timer.Reset(jitter(pause))
	}
}

// tell tells people once that nobody can lead from here, until it is otherwise.
func (e *election) tell(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil || apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err): // another was faster
		e.failing = false
	case !e.failing:
		e.failing = true
		e.log.Warn("the lease of who gives addresses cannot be held; what is announced does not hang on it", "lease", e.place.String(), "err", err)
	}
}

// stand takes the Lease, or renews it, if it is for this one to have.
func (e *election) stand(ctx context.Context) error {
	began := time.Now()
	l, err := e.read(ctx)
	switch {
	case apierrors.IsNotFound(err):
		l = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: e.place.namespace, Name: e.place.name}}
		e.claim(l)
		err = e.client.coordination.Post().Namespace(e.place.namespace).Resource("leases").Body(l).Do(ctx).Into(l)
	case err != nil:
		return err
	case !e.sight.free(l, e.me, began):
		e.note(deref(l.Spec.HolderIdentity), time.Time{})
		return nil
	default:
		e.claim(l)
		err = e.write(ctx, l)
	}
	if err != nil {
		return err
	}
	e.sight = sight{l.ResourceVersion, began}
	e.note(e.me, began.Add(e.duration*2/3))
	return nil
}

func (e *election) read(ctx context.Context) (*coordinationv1.Lease, error) {
	l := new(coordinationv1.Lease)
	err := e.client.coordination.Get().Namespace(e.place.namespace).Resource("leases").Name(e.place.name).Do(ctx).Into(l)
	return l, err
}

// write fails when the Lease is another one meanwhile.
func (e *election) write(ctx context.Context, l *coordinationv1.Lease) error {
	return e.client.coordination.Put().Namespace(e.place.namespace).Resource("leases").Name(e.place.name).Body(l).Do(ctx).Into(l)
}

// claim makes a Lease this one's.
func (e *election) claim(l *coordinationv1.Lease) {
	now := metav1.NowMicro()
	if deref(l.Spec.HolderIdentity) != e.me {
		l.Spec.AcquireTime = &now
		l.Spec.LeaseTransitions = new(deref(l.Spec.LeaseTransitions) + 1)
	}
	l.Spec.HolderIdentity, l.Spec.RenewTime = &e.me, &now
	l.Spec.LeaseDurationSeconds = new(int32(e.duration / time.Second))
}

// note takes note of who leads.
func (e *election) note(leader string, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := time.Now(); now.Before(until) && !now.Before(e.until) { // another may have led since this one did
		e.log.Info("gives addresses from now on", "lease", e.place.String())
		poke(e.won)
	}
	e.leader, e.until = leader, until
}

// release lets another one follow at once.
func (e *election) release(ctx context.Context) {
	if !e.leads() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releaseLimit)
	defer cancel()
	l, err := e.read(ctx)
	if err == nil && deref(l.Spec.HolderIdentity) == e.me {
		l.Spec.HolderIdentity = nil
		err = e.write(ctx, l)
	}
	if err != nil {
		e.log.Info("the lease is not given back, another one takes it when it has run out", "err", err)
	}
	e.note("", time.Time{})
}
