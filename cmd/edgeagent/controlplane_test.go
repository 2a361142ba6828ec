package main

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// realCluster has a Service that asks for vip6 and has an endpoint on both nodes, and one that asks for the same.
const realCluster = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE, annotations: {anyedge/address: "2001:db8:7::7"}}
spec: {type: LoadBalancer, loadBalancerClass: anyedge/anycast, externalTrafficPolicy: Local, ipFamilies: [IPv6], ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: NAMESPACE, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
ports: [{name: http, port: 7080}]
endpoints:
  - {addresses: ["fd00:9::1"], nodeName: n1, conditions: {ready: true}}
  - {addresses: ["fd00:9::2"], nodeName: n2, conditions: {ready: true}}
---
apiVersion: v1
kind: Service
metadata: {name: www, namespace: NAMESPACE, annotations: {anyedge/address: "2001:db8:7::7"}}
spec: {type: LoadBalancer, loadBalancerClass: anyedge/anycast, ipFamilies: [IPv6], ports: [{name: http, port: 80}]}
`

// agentRights are those that are shipped for the agent: of the whole cluster, and of the namespace of the Lease.
func agentRights(t *testing.T) (cluster, namespace []rbacv1.PolicyRule) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/kubernetes/kustomize/services/rights.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range kubetest.Manifests(t, text) {
		switch o.GetKind() {
		case "ClusterRole":
			cluster = kubetest.Convert[rbacv1.ClusterRole](t, o).Rules
		case "Role":
			namespace = kubetest.Convert[rbacv1.Role](t, o).Rules
		}
	}
	return cluster, namespace
}

// A realNode is one that nobody plays: it is as the test says.
func realNode(t *testing.T, c *kubetest.Cluster, name string) *unstructured.Unstructured {
	t.Helper()
	c.Do(t, http.MethodPost, "/api/v1/nodes", clusterNode(name, false), nil)
	o := kubetest.Manifests(t, fmt.Appendf(nil, "{apiVersion: v1, kind: Node, metadata: {name: %s}}", name))[0]
	t.Cleanup(func() { c.Delete(t, o) })
	return o
}

// TestControlPlaneServices is a life of the agent with a real API server and just the rights that are shipped for it, each of which
// it makes use of.
func TestControlPlaneServices(t *testing.T) {
	nettest.Need(t)
	c := kubetest.Start(t)
	ns, user := c.Namespace(t), c.User(t)
	inCluster, inNamespace := agentRights(t)
	c.Grant(t, user, "", inCluster...)
	c.Grant(t, user, ns, inNamespace...)
	node := realNode(t, c, "n1")
	realNode(t, c, "n2")
	podAt(t, "fd00:9::1")
	for _, o := range kubetest.Manifests(t, []byte(strings.ReplaceAll(realCluster, "NAMESPACE", ns))) {
		stored, err := c.Apply(o, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Delete(t, stored) })
	}
	router := newRouter(t)
	path, _ := nodePlace(t, c.Kubeconfig(t, user), "  lease: {namespace: "+ns+"}\n", "")
	p := startAgent(t, path)
	router.WaitFor(vip6)
	var service corev1.Service
	c.Do(t, http.MethodGet, "/api/v1/namespaces/"+ns+"/services/web", nil, &service)
	want := []corev1.LoadBalancerIngress{{IP: vip6.Addr().String(), IPMode: new(corev1.LoadBalancerIPModeVIP)}}
	if diff := cmp.Diff(want, service.Status.LoadBalancer.Ingress); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}

	shipped := kubetest.Rights(inCluster...)
	maps.Copy(shipped, kubetest.Rights(inNamespace...))
	var diff string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) { // the lease is renewed each 3 s
		if diff = cmp.Diff(shipped, c.Used(t, user)); diff == "" || time.Now().After(deadline) {
			break
		}
	}
	if diff != "" {
		t.Errorf("rights (-shipped +used; false: refused):\n%s", diff)
	}

	cordon(t, c, node, true)
	router.WaitFor() // the other node can take over
	cordon(t, c, node, false)
	router.WaitFor(vip6)
	if status := p.signal(unix.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	router.WaitFor()
	var lease coordinationv1.Lease
	c.Do(t, http.MethodGet, "/apis/coordination.k8s.io/v1/namespaces/"+ns+"/leases/edgeagent-addresses", nil, &lease)
	if h := lease.Spec.HolderIdentity; h != nil && *h != "" {
		t.Errorf("the lease is still held by %s", *h)
	}
}

// podAt is a pod that listens at an address.
func podAt(t *testing.T, address string) {
	t.Helper()
	nettest.AddAddress(t, address+"/128")
	l, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(podPort)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// cordon says whether pods may be given to a node.
func cordon(t *testing.T, c *kubetest.Cluster, node *unstructured.Unstructured, cordoned bool) {
	t.Helper()
	o := node.DeepCopy()
	if err := unstructured.SetNestedField(o.Object, cordoned, "spec", "unschedulable"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Apply(o, false); err != nil {
		t.Fatal(err)
	}
}
