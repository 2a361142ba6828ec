package kube

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	conditionType = "anyedge/DNS"

	reasonServed    = "Served"
	reasonNotServed = "NotServed"
)

// retryWrites is after what time a write that failed is tried again; eventLife, how long an event counts as told: the API
// forgets them after an hour.
const (
	retryWrites = 10 * time.Second
	eventLife   = 50 * time.Minute
)

// A writer tells owners what became of their wishes: in the status of their objects, and in events. Every edgedns of a site
// computes the same, so it does not matter who writes first: statuses are written where they differ alone, and events
// have names that are made of what they tell.
type writer struct {
	*scribe
	source  *Source
	pending map[owner]verdict
}

func newWriter(s *Source) *writer {
	return &writer{scribe: newScribe(s.follower, "anyedge/edgedns", "Serve"), source: s, pending: make(map[owner]verdict)}
}

// run writes until ctx is done.
func (w *writer) run(ctx context.Context) {
	retry := time.NewTicker(retryWrites)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.source.told:
			maps.Copy(w.pending, w.source.verdicts())
		case <-retry.C:
		}
		w.write(ctx)
	}
}

// verdicts returns those that may have changed.
func (s *Source) verdicts() map[owner]verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.world.verdicts()
}

// write writes what is pending, and keeps what failed.
func (w *writer) write(ctx context.Context) {
	w.forget(time.Now())
	for _, o := range sorted(w.pending, owner.compare) {
		err := w.tell(ctx, o, w.pending[o])
		if ctx.Err() != nil {
			return
		}
		if err != nil && !apierrors.IsNotFound(err) {
			w.failed(o.String(), err, "answers do not hang on it")
			if !apierrors.IsInvalid(err) {
				return // the next one would not fare better
			}
		}
		delete(w.pending, o)
		w.failing = w.failing && err != nil
	}
}

func (w *writer) tell(ctx context.Context, o owner, v verdict) error {
	id, err := w.status(ctx, o, v)
	if err != nil || id == "" {
		return err
	}
	for _, p := range v.trouble {
		if err := w.event(ctx, o, id, p); err != nil {
			return err
		}
	}
	return nil
}

// status writes the object's status where it is not as it should be, and returns the object's UID; empty: it is gone.
func (w *writer) status(ctx context.Context, o owner, v verdict) (types.UID, error) {
	s := w.source
	s.mu.Lock()
	service, ingress := s.world.services.get(o.key), s.world.ingresses.get(o.key)
	s.mu.Unlock()
	switch {
	case o.kind == kindService && service != nil:
		patch := v.condition(service.condition, time.Now())
		return service.uid, w.patch(ctx, s.client.core, "services", o, "", types.StrategicMergePatchType, patch)
	case o.kind == kindIngress && ingress != nil && v.mine:
		patch := v.balancer(ingress.status)
		return ingress.uid, w.patch(ctx, s.client.networking, "ingresses", o, "", types.MergePatchType, patch)
	default:
		return "", nil
	}
}

// condition is the patch that makes a Service's condition what it should be; nil: it is.
func (v verdict) condition(old *metav1.Condition, now time.Time) any {
	if !v.mine {
		if old == nil {
			return nil
		}
		return conditions(map[string]any{"type": conditionType, "$patch": "delete"})
	}
	c := metav1.Condition{Type: conditionType, Status: metav1.ConditionTrue, Reason: reasonServed, LastTransitionTime: metav1.NewTime(now)}
	if len(v.served) == 0 {
		c.Status, c.Reason = metav1.ConditionFalse, reasonNotServed
	}
	c.Message = v.message()
	if old != nil && old.Status == c.Status {
		c.LastTransitionTime = old.LastTransitionTime
	}
	if old != nil && old.Status == c.Status && old.Reason == c.Reason && old.Message == c.Message {
		return nil
	}
	return conditions(c)
}

func conditions(c any) any { return map[string]any{"conditions": []any{c}} }

// message is the verdict in words: a condition has one line for all.
func (v verdict) message() string {
	var parts []string
	if len(v.served) > 0 {
		parts = append(parts, "serving "+strings.Join(v.served, " "))
	}
	for _, p := range v.trouble {
		parts = append(parts, p.reason+": "+p.message)
	}
	return cut(strings.Join(parts, "; "), 32768)
}

// balancer is the patch that makes an Ingress's status what it should be; nil: it is. The names that are served are its
// entries. An Ingress has no conditions: the place for what is wrong is the error of a port.
func (v verdict) balancer(old []networkingv1.IngressLoadBalancerIngress) any {
	want := []networkingv1.IngressLoadBalancerIngress{}
	for _, name := range v.served {
		want = append(want, networkingv1.IngressLoadBalancerIngress{Hostname: strings.TrimSuffix(name, ".")})
	}
	var reasons []string
	for _, p := range v.trouble {
		if !slices.Contains(reasons, p.reason) {
			reasons = append(reasons, p.reason)
		}
	}
	for _, reason := range reasons {
		code := prefix + reason
		want = append(want, networkingv1.IngressLoadBalancerIngress{
			Ports: []networkingv1.IngressPortStatus{{Port: 80, Protocol: corev1.ProtocolTCP, Error: &code}},
		})
	}
	if slices.EqualFunc(old, want, sameEntry) {
		return nil
	}
	return map[string]any{"loadBalancer": map[string]any{"ingress": want}}
}

func sameEntry(a, b networkingv1.IngressLoadBalancerIngress) bool {
	return a.Hostname == b.Hostname && a.IP == b.IP && slices.EqualFunc(a.Ports, b.Ports, func(a, b networkingv1.IngressPortStatus) bool {
		return a.Port == b.Port && a.Protocol == b.Protocol && deref(a.Error) == deref(b.Error)
	})
}

func (o owner) reference(id types.UID) corev1.ObjectReference {
	version := "v1"
	if o.kind == kindIngress {
		version = networkingv1.SchemeGroupVersion.String()
	}
	return corev1.ObjectReference{APIVersion: version, Kind: o.kind, Namespace: o.namespace, Name: o.name, UID: id}
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
