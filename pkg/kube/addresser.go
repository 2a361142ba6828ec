package kube

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// The reasons of the condition when all is well, and when not.
const (
	reasonAssigned    = "Assigned"
	reasonNotAssigned = "NotAssigned"
)

// An addresser gives Services their addresses, while its agent leads: it writes them into their statuses, where all agents,
// and kube-proxy, read them. It belongs to one goroutine.
type addresser struct {
	*scribe
	balancer   *Balancer
	told       chan struct{}
	namespaces []string
	sure       bool // what is known here was compared with the API since this one leads
}

func newAddresser(b *Balancer, told chan struct{}, namespaces []string) *addresser {
	if len(namespaces) == 0 {
		namespaces = []string{""}
	}
	return &addresser{scribe: newScribe(b.follower, "anyedge/edgeagent", "Assign"), balancer: b, told: told, namespaces: namespaces}
}

// run writes until ctx is done.
func (w *addresser) run(ctx context.Context) {
	retry := time.NewTicker(retryWrites)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.told:
		case <-w.balancer.election.won:
			w.sure = false
		case <-retry.C:
		}
		if w.balancer.election.leads() && w.balancer.Synced() {
			w.write(ctx)
		}
	}
}

// write writes what is not as it should be.
func (w *addresser) write(ctx context.Context) {
	w.forget(time.Now())
	if !w.sure {
		current, err := w.current(ctx)
		if err != nil && ctx.Err() == nil {
			w.failed("all Services", err, "what is announced does not hang on it")
		}
		if !current {
			return // told or tried again
		}
		w.sure = true
	}
	for _, a := range w.balancer.awards(time.Now()) {
		if !w.balancer.election.leads() { // they are many, and the API is not asked for all at once
			return
		}
		err := w.tell(ctx, a)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // its next version is told of soon
			w.failed(a.owner.String(), err, "what is announced does not hang on it")
			if !apierrors.IsInvalid(err) {
				return // the next one would not fare better
			}
		}
		w.failing = w.failing && err != nil
	}
}

// current tells whether this one knows the Services of the cluster as they are. A leader before it may have given addresses
// that were not told of here yet, and they must not be given twice.
func (w *addresser) current(ctx context.Context) (bool, error) {
	for _, ns := range w.namespaces {
		all, err := w.client.list(ctx, servicesKind, ns, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		current := true
		err = apimeta.EachListItem(all, func(o runtime.Object) error {
			raw, err := reduce(o)
			if err == nil {
				current = current && w.balancer.knows(raw.(*service))
			}
			return err
		})
		if err != nil || !current {
			return false, err
		}
	}
	return true, nil
}

// knows tells whether a Service is known as it is, if it has to do with addresses.
func (b *Balancer) knows(s *service) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := b.balance.services.get(s.key)
	return s.balanced == nil || known != nil && known.version == s.version
}

// An award is what the status of a Service is to be.
type award struct {
	owner
	id      types.UID
	version string
	status  any // a patch; nil: it is so already
	trouble []problem
}

// awards are those of all Services that have to do with addresses, in order.
func (b *Balancer) awards(now time.Time) (all []award) {
	b.mu.Lock()
	defer b.mu.Unlock()
	grants := b.balance.grants()
	for _, k := range b.balance.services.sorted() {
		s := b.balance.services.get(k)
		a := award{owner: owner{kindService, k}, id: s.uid, version: s.version}
		switch g := grants[k]; {
		case g != nil:
			a.status, a.trouble = s.balanced.award(g, now), g.trouble
		case s.balanced.class == "" && s.balanced.condition != nil: // else it is one of another class that is given addresses by agents
			a.status = s.balanced.resignation()
		}
		all = append(all, a)
	}
	return all
}

// award is the patch that makes a status what it is to be; nil: it is.
func (b *balanced) award(g *grant, now time.Time) any {
	patch := make(map[string]any)
	if want := g.entries(); !slices.Equal(want, b.status) {
		entries := []any{}
		for _, e := range want {
			entries = append(entries, map[string]any{"ip": e.ip, "ipMode": corev1.LoadBalancerIPModeVIP})
		}
		patch["loadBalancer"] = map[string]any{"ingress": entries}
	}
	if c := g.condition(b.condition, now); c != nil {
		patch["conditions"] = []any{c}
	}
	if len(patch) == 0 {
		return nil
	}
	return patch
}

func (g *grant) entries() (all []ingressEntry) {
	for _, one := range g.final {
		all = append(all, ingressEntry{ip: one.address.String()})
	}
	return all
}

// condition is the one of a grant; nil: it stands there already.
func (g *grant) condition(old *metav1.Condition, now time.Time) *metav1.Condition {
	c := &metav1.Condition{Type: conditionAddress, Status: metav1.ConditionTrue, Reason: reasonAssigned, LastTransitionTime: metav1.NewTime(now)}
	var parts []string
	for _, one := range g.final {
		parts = append(parts, one.address.String()+" from "+one.from)
	}
	if len(g.trouble) > 0 {
		c.Reason = g.trouble[0].reason
	}
	if len(g.final) == 0 {
		c.Status = metav1.ConditionFalse
		if len(g.trouble) == 0 {
			c.Reason = reasonNotAssigned
		}
	}
	for _, p := range g.trouble {
		parts = append(parts, p.reason+": "+p.message)
	}
	c.Message = cut(strings.Join(parts, "; "), 32768)
	if old != nil && old.Status == c.Status {
		c.LastTransitionTime = old.LastTransitionTime
	}
	if old != nil && old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message {
		return nil
	}
	return c
}

// resignation takes back what a Service was given that asks no more. The addresses of another load balancer are its own.
func (b *balanced) resignation() any {
	patch := map[string]any{"conditions": []any{map[string]any{"type": conditionAddress, "$patch": "delete"}}}
	if !b.balancer && len(b.status) > 0 {
		patch["loadBalancer"] = map[string]any{"ingress": []any{}}
	}
	return patch
}

func (w *addresser) tell(ctx context.Context, a award) error {
	err := w.patch(ctx, w.client.core, "services", a.owner, a.version, types.StrategicMergePatchType, a.status)
	for _, p := range a.trouble {
		if err == nil {
			err = w.event(ctx, a.owner, a.id, p)
		}
	}
	return err
}
