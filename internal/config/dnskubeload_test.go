package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

const dnsKubeLoadFile = `site: mec-1
listen: ["[::1]:53"]
zones: [{name: edge.example., ns: [{name: ns.elsewhere.example.}]}]
kubernetes:
  load: {kubelets: {}}
`

func TestKubernetesLoad(t *testing.T) {
	t.Parallel()
	ca, err := os.ReadFile("testdata/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubelets.crt")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	usual := KubernetesLoad{Interval: time.Second, Timeout: 500 * time.Millisecond, Pods: true}
	but := func(change func(*KubernetesLoad)) KubernetesLoad {
		l := usual
		change(&l)
		return l
	}
	for text, want := range map[string]KubernetesLoad{
		"{}": usual,
		"{interval: 200ms}": but(func(l *KubernetesLoad) {
			l.Interval, l.Timeout = 200*time.Millisecond, 200*time.Millisecond
		}),
		"{pods: false, metrics_api: true, timeout: 1s}": but(func(l *KubernetesLoad) {
			l.Pods, l.MetricsAPI, l.Timeout = false, true, time.Second
		}),
		"{kubelets: {}}": but(func(l *KubernetesLoad) { l.Kubelets = &Kubelets{Port: 10250} }),
		"{kubelets: {insecure_skip_verify: true}}": but(func(l *KubernetesLoad) { l.Kubelets = &Kubelets{Port: 10250, InsecureSkipVerify: true} }),
		"{kubelets: {port: 10255, ca_file: " + file + "}}": but(func(l *KubernetesLoad) {
			l.Kubelets = &Kubelets{Port: 10255, CAFile: file}
		}),
	} {
		got := mustParse(t, ParseDNS, dnsKubeLoadFile, "{kubelets: {}}", text).Kubernetes.Load
		if d := diff(&want, got); d != "" {
			t.Errorf("%s (-want +got)\n%s", text, d)
		}
	}
}

func TestKubernetesLoadBad(t *testing.T) {
	t.Parallel()
	testBad(t, ParseDNS, dnsKubeLoadFile, []badCase{
		{"load of nothing", "{kubelets: {}}", "1",
			"5:9: kubernetes.load: must be keys and values"},
		{"load with a wrong key", "kubelets: {}", "kubelet: {}",
			"5:10: kubernetes.load.kubelet: unknown key: did you mean kubelets?"},
		{"load too often", "kubelets: {}", "interval: 10ms",
			`5:20: kubernetes.load.interval: must be a duration from 100ms to 1m, not "10ms"`},
		{"load timeout longer than the interval", "kubelets: {}", "timeout: 2s",
			"5:19: kubernetes.load.timeout: 2s is longer than the interval of 1s"},
		{"kubelets port", "kubelets: {}", "kubelets: {port: 0}",
			`5:27: kubernetes.load.kubelets.port: must be a whole number from 1 to 65535, not "0"`},
		{"kubelets without certificates", "kubelets: {}", "kubelets: {ca_file: empty.key}",
			"5:30: kubernetes.load.kubelets.ca_file: testdata/empty.key holds no certificate in PEM form"},
		{"kubelets trusted twice", "kubelets: {}", "kubelets: {ca_file: ca.pem, insecure_skip_verify: true}",
			"5:30: kubernetes.load.kubelets.ca_file: does nothing with insecure_skip_verify: remove one of them"},
		{"kubelets without pods", "load: {kubelets: {}}", "pods: false\n  load: {kubelets: {}, metrics_api: true}",
			"6:20: kubernetes.load.kubelets: does nothing without pods: remove kubernetes.pods: false\n" +
				"6:37: kubernetes.load.metrics_api: does nothing without pods: remove kubernetes.pods: false"},
	})
}
