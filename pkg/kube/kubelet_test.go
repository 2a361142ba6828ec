package kube

import (
	"fmt"
	"math"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func scanned(page string) (map[string]string, error) {
	got := make(map[string]string)
	err := scanPage([]byte(page), second(5), func(k key, c counter) {
		got[k.String()] = fmt.Sprintf("%g at %d", c.seconds, c.stamp.UnixMilli())
	})
	return got, err
}

// kubeletPage is of a kubelet of Kubernetes 1.36.
func kubeletPage(t testing.TB) string {
	t.Helper()
	page, err := os.ReadFile("testdata/resource.prom")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

func TestScanPage(t *testing.T) {
	t.Parallel()
	got, err := scanned(kubeletPage(t))
	want := map[string]string{
		"shop/web-0": "12.5 at 1700000001250", "shop/web-7d4f9c6b5-x7k2p": "0.031 at 1700000004000", "kube-system/coredns-1": "4710.17 at 1700000002750",
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for page, want := range map[string]string{
		"": "map[]", "no page at all": "map[]",
		`pod_cpu_usage_seconds_total{namespace="a",pod="b"} 1.5`:     "map[a/b:1.5 at 1000000005000]",
		`pod_cpu_usage_seconds_total{pod="b",x="",namespace="a",} 1`: "map[a/b:1 at 1000000005000]",
		`pod_cpu_usage_seconds_total{pod="b"} 1`:                     "line 1 of its page: labels of no pod",
		"\n" + `pod_cpu_usage_seconds_total{pod="b`:                  "line 2 of its page: labels of no pod",
		`pod_cpu_usage_seconds_total{pod="b",namespace="a"`:          "line 1 of its page: labels of no pod",
		`pod_cpu_usage_seconds_total{pod="b\"",namespace="a"} 1`:     "line 1 of its page: labels of no pod",
		`pod_cpu_usage_seconds_total{pod="b",namespace="a"}`:         "line 1 of its page: no value",
		`pod_cpu_usage_seconds_total{pod="b",namespace="a"} 1 2 3`:   "line 1 of its page: no value",
		`pod_cpu_usage_seconds_total{pod="b",namespace="a"} NaN`:     `line 1 of its page: "NaN" is no time`,
		`pod_cpu_usage_seconds_total{pod="b",namespace="a"} -1`:      `line 1 of its page: "-1" is no time`,
		`pod_cpu_usage_seconds_total{pod="b",namespace="a"} +Inf`:    `line 1 of its page: "+Inf" is no time`,
		`pod_cpu_usage_seconds_total{pod="b",namespace="a"} 1 soon`:  `line 1 of its page: "soon" is no moment`,
	} {
		got, err := scanned(page)
		if text := fmt.Sprint(got); err != nil && err.Error() != want || err == nil && text != want {
			t.Errorf("%q: %s, %v; want %s", page, text, err, want)
		}
	}
}

func FuzzScanPage(f *testing.F) {
	f.Add(kubeletPage(f))
	f.Add(`pod_cpu_usage_seconds_total{pod="b",namespace="a"} 1 2`)
	f.Add(`pod_cpu_usage_seconds_total{pod="`)
	f.Fuzz(func(t *testing.T, page string) {
		_ = scanPage([]byte(page), time.Now(), func(k key, c counter) {
			if k.name == "" || k.namespace == "" || !(c.seconds >= 0) || math.IsInf(c.seconds, 0) || c.stamp.IsZero() {
				t.Errorf("%v has used %v", k, c)
			}
		})
	})
}
