package config

import "time"

// kubeletPort is the one that every kubelet has unless told otherwise.
const kubeletPort = 10250

// KubernetesLoad is where the load of a cluster's pods comes from.
type KubernetesLoad struct {
	Interval, Timeout time.Duration // between requests, and of one
	Pods              bool          // those whose Service says where are asked themselves
	Kubelets          *Kubelets     // nil: they are not asked
	MetricsAPI        bool          // read metrics.k8s.io
}

// Kubelets is how they are reached.
type Kubelets struct {
	Port               uint16
	CAFile             string // empty: whoever signs for the API signs for them
	InsecureSkipVerify bool
}

func kubernetesLoad(it item, pods bool) *KubernetesLoad {
	if !it.present() {
		return nil
	}
	o := it.object([]string{"interval", "timeout", "pods", "kubelets", "metrics_api"}, nil)
	l := &KubernetesLoad{
		Interval:   o.get("interval").duration(loadInterval, minLoadInterval, maxLoadInterval),
		Pods:       o.get("pods").boolean(true),
		Kubelets:   kubelets(o.get("kubelets")),
		MetricsAPI: o.get("metrics_api").boolean(false),
	}
	l.Timeout = o.get("timeout").duration(min(loadTimeout, l.Interval), minTimeout, maxLoadInterval)
	if l.Timeout > l.Interval {
		o.get("timeout").bad("%s is longer than the interval of %s", span(l.Timeout), span(l.Interval))
	}
	for _, key := range []string{"kubelets", "metrics_api"} {
		if o.has(key) && !pods {
			o.get(key).bad("does nothing without pods: remove kubernetes.pods: false")
		}
	}
	return l
}

func kubelets(it item) *Kubelets {
	if !it.present() {
		return nil
	}
	o := it.object([]string{"port", "ca_file", "insecure_skip_verify"}, nil)
	k := &Kubelets{
		Port:               uint16(o.get("port").integer(kubeletPort, 1, 65535)),
		InsecureSkipVerify: o.get("insecure_skip_verify").boolean(false),
	}
	if k.InsecureSkipVerify && o.has("ca_file") {
		o.get("ca_file").bad("does nothing with insecure_skip_verify: remove one of them")
	}
	if authorities(o.get("ca_file")) != nil {
		k.CAFile = o.get("ca_file").filePath()
	}
	return k
}
