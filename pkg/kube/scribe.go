package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// A scribe writes statuses and events in the name of a controller. It belongs to one goroutine.
type scribe struct {
	client     *client
	log        *slog.Logger
	metrics    *metrics
	controller string
	action     string // what the controller does, as events say it
	host       string
	told       map[string]time.Time // events, by name
	failing    bool
}

func newScribe(f *follower, controller, action string) *scribe {
	host, _ := os.Hostname()
	return &scribe{
		client: f.client, log: f.log, metrics: f.metrics, controller: controller, action: action, host: host,
		told: make(map[string]time.Time),
	}
}

// forget drops the events that the API has forgotten.
func (w *scribe) forget(now time.Time) {
	maps.DeleteFunc(w.told, func(_ string, at time.Time) bool { return now.Sub(at) > eventLife })
}

// failed tells people once, until a write succeeds, and what that means.
func (w *scribe) failed(of string, err error, meaning string) {
	w.metrics.writes.WithLabelValues(reasonOf(err)).Inc()
	if !w.failing {
		w.failing = true
		w.log.Warn("status cannot be written; "+meaning, "of", of, "err", err)
	}
}

// patch writes a status, of one version of the object where that is not empty; a nil status is none.
func (w *scribe) patch(ctx context.Context, c rest.Interface, resource string, o owner, version string, kind types.PatchType, status any) error {
	if status == nil {
		return nil
	}
	whole := map[string]any{"status": status}
	if version != "" {
		whole["metadata"] = map[string]any{"resourceVersion": version}
	}
	body, err := json.Marshal(whole)
	if err != nil {
		return err
	}
	err = c.Patch(kind).Namespace(o.namespace).Resource(resource).Name(o.name).SubResource("status").
		VersionedParams(&metav1.PatchOptions{FieldManager: w.controller}, parameters()).Body(body).Do(ctx).Error()
	if err == nil {
		w.metrics.writes.WithLabelValues("Written").Inc()
	}
	return err
}

// event tells of a problem, unless that was done lately, by anybody.
func (w *scribe) event(ctx context.Context, o owner, id types.UID, p problem) error {
	sum := sha256.Sum256([]byte(string(id) + p.reason + p.message))
	name := cut(o.name, 200) + "." + hex.EncodeToString(sum[:8])
	if _, lately := w.told[name]; lately {
		return nil
	}
	e := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: name},
		EventTime:  metav1.NowMicro(), Type: corev1.EventTypeWarning, Reason: p.reason, Note: cut(p.message, 1024), Action: w.action,
		ReportingController: w.controller, ReportingInstance: cut(w.controller+"/"+w.host, 128), Regarding: o.reference(id),
	}
	err := w.client.events.Post().Namespace(o.namespace).Resource("events").Body(e).Do(ctx).Error()
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	w.metrics.writes.WithLabelValues("Written").Inc()
	w.told[name] = time.Now()
	return nil
}
