package kube

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const podMetrics = `{"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": [
 {"metadata": {"name": "web-0", "namespace": "shop"}, "timestamp": "2026-11-27T12:00:10Z", "window": "15.5s",
  "containers": [{"name": "app", "usage": {"cpu": "250m", "memory": "1Mi"}}, {"name": "proxy", "usage": {"cpu": "1500000n", "memory": "1Mi"}}]},
 {"metadata": {"name": "odd", "namespace": "shop"}, "timestamp": "2026-11-27T12:00:10Z", "window": "15s", "containers": [{"usage": {"cpu": "much"}}]},
 {"metadata": {"name": "less", "namespace": "shop"}, "timestamp": "2026-11-27T12:00:10Z", "window": "15s", "containers": [{"usage": {"cpu": "-1"}}]},
 {"metadata": {"name": "idle", "namespace": "shop"}, "timestamp": "2026-11-27T12:00:09Z", "window": "15s", "containers": []}]}`

func TestAppendSamples(t *testing.T) {
	t.Parallel()
	got, err := appendSamples(nil, []byte(podMetrics))
	at := time.Date(2026, 11, 27, 12, 0, 10, 0, time.UTC)
	want := []sample{
		{key{"shop", "web-0"}, 0.2515, at, 15500 * time.Millisecond},
		{key{"shop", "idle"}, 0, at.Add(-time.Second), 15 * time.Second},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{}, key{})); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := appendSamples(nil, []byte("<html>")); err == nil {
		t.Error("no list is one")
	}
}

func FuzzAppendSamples(f *testing.F) {
	f.Add([]byte(podMetrics))
	f.Add([]byte(`{"items": [{"containers": [{"usage": {"cpu": "1e9999"}}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		all, _ := appendSamples(nil, body)
		for _, s := range all {
			if !(s.processors >= 0) {
				t.Errorf("%v uses %v", s.pod, s.processors)
			}
		}
	})
}
