package config

import "time"

const (
	kubeResync    = 10 * time.Minute
	minKubeResync = 10 * time.Second
	maxKubeResync = 24 * time.Hour
)

// Kubernetes is a cluster whose Services and Ingresses are answered for.
type Kubernetes struct {
	Kubeconfig string   // file; empty: the pod's own service account
	Namespaces []string // empty: all
	Class      string   // of the Ingresses
	Domain     string   // of default names; empty: there are none
	Pods       bool     // read pods
	Status     bool     // write statuses and events
	Resync     time.Duration
	Load       *KubernetesLoad // nil: none
}

func kubernetes(it item, zones zones) *Kubernetes {
	if !it.present() {
		return nil
	}
	o := it.object([]string{"kubeconfig", "namespaces", "class", "domain", "node", "pods", "status", "resync", "load"}, nil)
	k := &Kubernetes{
		Kubeconfig: o.get("kubeconfig").filePath(),
		Namespaces: namespaces(o.get("namespaces")),
		Class:      o.get("class").label("a class"),
		Domain:     o.get("domain").domain("a name, such as edge.example."),
		Pods:       o.get("pods").boolean(true),
		Status:     o.get("status").boolean(true),
		Resync:     o.get("resync").duration(kubeResync, minKubeResync, maxKubeResync),
	}
	o.get("node").bad("is the node of the services of the file, too: write node at the top of the file")
	k.Load = kubernetesLoad(o.get("load"), k.Pods)
	if k.Class == "" {
		k.Class = "anyedge"
	}
	if k.Domain != "" && zones.known() && zones.closest(k.Domain) == "" {
		o.get("domain").bad("%s lies in none of the zones: add its zone, or write another name", k.Domain)
	}
	return k
}

func namespaces(list item) []string {
	var all []string
	seen := make(places[string])
	for _, it := range list.list("namespace") {
		ns := it.label("a namespace")
		seen.once(it, ns)
		all = append(all, ns)
	}
	return all
}
