package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// metricsTimeout is for all pods of a cluster.
const metricsTimeout = 10 * time.Second

// newMetricsAPI returns a client of the group metrics.k8s.io, and what it speaks over.
func newMetricsAPI(cfg *rest.Config) (*http.Client, rest.Interface, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.UserAgent = "anyedge"
	cfg.ContentType = runtime.ContentTypeJSON
	cfg.NegotiatedSerializer = codecs().WithoutConversion()
	shared, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, nil, err
	}
	api, err := forGroup(cfg, schema.GroupVersion{Group: "metrics.k8s.io", Version: "v1beta1"}, shared)
	return shared, api, err
}

// readAPI looks into the metrics API once.
func (m *Meter) readAPI(ctx context.Context) {
	var samples []sample
	var err error
	for _, ns := range m.cfg.Namespaces {
		if err == nil {
			var body []byte
			body, err = m.podMetrics(ctx, ns)
			if err == nil {
				samples, err = appendSamples(samples, body)
			}
		}
	}
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.denied = m.outcome("metrics", "metrics API", m.denied, err)
	now := time.Now()
	for _, s := range samples {
		if u := m.uses[s.pod]; u != nil {
			u.report(s.processors, s.stamp, now, s.window)
		}
	}
}

func (m *Meter) podMetrics(ctx context.Context, namespace string) ([]byte, error) {
	body, err := m.api.Get().NamespaceIfScoped(namespace, namespace != "").Resource("pods").Timeout(metricsTimeout).Do(ctx).Raw()
	switch {
	case apierrors.IsForbidden(err):
		return nil, errors.New("answered 403 Forbidden: grant list of pods of metrics.k8s.io")
	case apierrors.IsNotFound(err):
		return nil, errors.New("answered 404 Not Found: nobody serves metrics.k8s.io: install metrics-server")
	default:
		return body, err
	}
}

// A sample is what the metrics API tells of a pod.
type sample struct {
	pod        key
	processors float64
	stamp      time.Time
	window     time.Duration // that it is the mean of
}

// podMetricsList is metrics.k8s.io/v1beta1, as far as it is read.
type podMetricsList struct {
	Items []struct {
		Metadata   struct{ Namespace, Name string }
		Timestamp  time.Time
		Window     metav1.Duration
		Containers []struct {
			Usage struct{ CPU string }
		}
	}
}

// appendSamples adds what a list tells of pods. Of one that it tells nonsense of it adds nothing.
func appendSamples(all []sample, body []byte) ([]sample, error) {
	var list podMetricsList
	if err := json.Unmarshal(body, &list); err != nil {
		return all, fmt.Errorf("its answer: %w", err)
	}
next:
	for _, item := range list.Items {
		s := sample{pod: key{item.Metadata.Namespace, item.Metadata.Name}, stamp: item.Timestamp, window: item.Window.Duration}
		for _, c := range item.Containers {
			q, err := quantity.ParseQuantity(c.Usage.CPU)
			if err != nil || q.Sign() < 0 {
				continue next
			}
			s.processors += q.AsApproximateFloat64()
		}
		all = append(all, s)
	}
	return all, nil
}
