package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// The names of the cluster's Services are those that CoreDNS gives them; edgedns is told them by annotation.
const (
	clusterZone  = "cluster.local."
	namespace    = "bench"
	clusterNames = namespace + ".svc." + clusterZone
)

// apiWriters is how many write to the API at a time.
const apiWriters = 8

// A world is a Kubernetes API with Services of hand-made endpoints: no pods, no nodes, no controllers.
type world struct {
	*kubetest.Cluster
	services int
}

// runCluster measures edgedns beside CoreDNS with its plugin kubernetes. Both read the same API, at the same time.
func (o options) runCluster() (err error) {
	progress("a control plane starts")
	c, err := kubetest.New("::1")
	if err != nil {
		return err
	}
	defer c.Close()
	w := &world{c, o.services}
	progress(fmt.Sprintf("%d Services of %d endpoints are made", w.services, perName))
	if err := w.fill(); err != nil {
		return err
	}
	all, err := o.start(clusterNames, w.services, func() ([]*server, error) { return w.servers(o) })
	defer end(all)
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("%d changes", o.changes))
	learnt, err := w.change(all, o.changes)
	if err != nil {
		return err
	}
	rows, err := o.measure(all)
	if err != nil {
		return err
	}
	measured := struct {
		Rows   []row   `json:"rows"`
		Learnt []learn `json:"learnt"`
	}{rows, learnt}
	if err := o.print(measured, func() error { return errors.Join(printLearnt(os.Stdout, learnt), printTable(os.Stdout, rows)) }); err != nil {
		return err
	}
	return rightAnswers(rows)
}

// servers lists those that are compared.
func (w *world) servers(o options) ([]*server, error) {
	all, err := o.servers()
	if err != nil {
		return nil, err
	}
	return []*server{
		{name: echoName, port: serverPort, command: all[0].command, echo: true},
		{name: "edgedns", port: serverPort + 1, command: func(dir string, addr netip.AddrPort) ([]string, error) {
			path := filepath.Join(dir, "edgedns.yaml")
			return []string{filepath.Join(o.bin, "edgedns"), "--config", path}, w.writeConfig(path, addr)
		}},
		{name: "CoreDNS", port: serverPort + 2, command: func(dir string, addr netip.AddrPort) ([]string, error) {
			path := filepath.Join(dir, "Corefile")
			config := fmt.Sprintf("%s:%d {\n  kubernetes %s {\n    kubeconfig %s\n  }\n}\n", clusterZone, addr.Port(), clusterZone, w.AdminKubeconfig())
			return []string{filepath.Join(o.bin, "coredns"), "-conf", path}, os.WriteFile(path, []byte(config), 0o644)
		}},
	}, nil
}

// writeConfig has edgedns read the cluster, with all as shipped but for the rate: the generator is one address.
func (w *world) writeConfig(path string, addr netip.AddrPort) error {
	return os.WriteFile(path, fmt.Appendf(nil, `site: bench
listen: [%q]
metrics: {listen: %q}
rate_limit: {rate: 1000000}
zones: [{name: %s, ns: [{name: ns.%s, addresses: ["2001:db8:53::53"]}]}]
kubernetes: {kubeconfig: %q}
`, addr, netip.AddrPortFrom(addr.Addr(), addr.Port()+1000), clusterZone, clusterZone, w.AdminKubeconfig()), 0o644)
}

// fill makes the Services and their endpoints.
func (w *world) fill() error {
	if err := w.Try(kubetest.Admin, http.MethodPost, "/api/v1/namespaces", corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, nil); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(apiWriters)
	for i := range w.services {
		g.Go(func() error {
			return errors.Join(
				w.Try(kubetest.Admin, http.MethodPost, "/api/v1/namespaces/"+namespace+"/services", serviceObject(i), nil),
				w.Try(kubetest.Admin, http.MethodPost, slicesPath, sliceObject(i, 0), nil))
		})
	}
	return g.Wait()
}

const slicesPath = "/apis/discovery.k8s.io/v1/namespaces/" + namespace + "/endpointslices"

func objectName(i int) string { return fmt.Sprintf("svc%05d", i) }

func serviceObject(i int) corev1.Service {
	return corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: objectName(i), Namespace: namespace, Annotations: map[string]string{
			"anyedge/hostname": objectName(i) + "." + clusterNames,
			"anyedge/policy":   "capacity",
			"anyedge/answers":  fmt.Sprint(perName),
		}},
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone, IPFamilies: []corev1.IPFamily{corev1.IPv6Protocol},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80}},
		},
	}
}

// sliceObject is what a Service has after so many changes: with each, all its addresses are others.
func sliceObject(i, changes int) discoveryv1.EndpointSlice {
	s := discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: objectName(i), Namespace: namespace, Labels: map[string]string{
			discoveryv1.LabelServiceName: objectName(i), discoveryv1.LabelManagedBy: "benchdns",
		}},
		AddressType: discoveryv1.AddressTypeIPv6,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(80)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for j := range perName {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{clusterAddress(i, changes, j).String()},
			Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
		})
	}
	return s
}

// clusterAddress tells by itself after how many changes it is an endpoint's.
func clusterAddress(i, changes, endpoint int) netip.Addr {
	return netip.AddrFrom16([16]byte{
		0x20, 0x01, 0x0d, 0xb8, byte(i >> 8), byte(i), 8: byte(changes >> 8), 9: byte(changes), 15: byte(endpoint + 1),
	})
}

// changesOf is the reverse.
func changesOf(a netip.Addr) int {
	b := a.As16()
	return int(b[8])<<8 | int(b[9])
}
