package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/bgp/bgptest"
	"github.com/anyedge/anyedge/pkg/kube"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
	"github.com/anyedge/anyedge/pkg/siteapi"
)

// podPort is where the endpoints of the tests listen.
const podPort = 7080

// clusterPlace is the file of an agent that has a cluster, an API, and what more is given.
func clusterPlace(t testing.TB, api *kubetest.API, more string) (path, socket string) {
	t.Helper()
	return nodePlace(t, api.Kubeconfig(t), "", more)
}

// nodePlace is that of an agent on n1, with what more there is of its cluster, and beside it.
func nodePlace(t testing.TB, kubeconfig, cluster, more string) (path, socket string) {
	t.Helper()
	dir := t.TempDir()
	socket = filepath.Join(dir, "agent.sock")
	return write(t, "agent.yaml", fmt.Sprintf(`site: mec-1
bgp: {asn: 64611, router_id: 10.0.0.1, neighbors: [{address: "fd00:1::1", asn: 65533}]}
kubernetes:
  kubeconfig: %s
  node: n1
  pools: [{name: edge, prefixes: ["2001:db8:7::/112"]}]
  check: {interval: 50ms, rise: 1, fall: 2}
  settle: 50ms
  drain: {wait: 100ms}
%sapi: {socket: %s, drains: %s}
%s`, kubeconfig, cluster, socket, filepath.Join(dir, "drains"), more)), socket
}

func clusterNode(name string, cordoned bool) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Unschedulable: cordoned},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
}

func clusterService(name string, annotations map[string]string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Annotations: annotations},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: new("anyedge/anycast"), IPFamilies: []corev1.IPFamily{corev1.IPv6Protocol},
			ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
			Ports:                 []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}},
		},
	}
}

// clusterSlice has a ready endpoint on each node, that of n1 on this host.
func clusterSlice(service string, nodes ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		Ports:      []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(podPort)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for i, n := range nodes {
		address := "::1"
		if n != "n1" {
			address = fmt.Sprintf("fd00:9::%d", i)
		}
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}, NodeName: &n})
	}
	return s
}

func openPod(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("[::1]:%d", podPort))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// clusterAPI has two nodes, and a Service that asks for vip6 and has an endpoint on both.
func clusterAPI(t *testing.T) *kubetest.API {
	api := kubetest.NewAPI(t)
	api.TakePatches()
	api.Set(clusterNode("n1", false))
	api.Set(clusterNode("n2", false))
	api.Set(clusterService("web", map[string]string{"anyedge/address": vip6.Addr().String()}))
	api.Set(clusterSlice("web", "n1", "n2"))
	return api
}

// eventuallyStatus waits until the agent's status is as wanted.
func eventuallyStatus(t *testing.T, socket, what string, ok func(siteapi.Status) bool) (last siteapi.Status) {
	t.Helper()
	found := errors.New("found")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := siteapi.NewClient(socket).Watch(ctx, func(s siteapi.Status) error {
		if last = s; ok(s) {
			return found
		}
		return nil
	})
	if !errors.Is(err, found) {
		t.Fatalf("%s: %v; status %+v", what, err, last)
	}
	return last
}

// TestCluster is one life of an agent whose Services come from a cluster.
func TestCluster(t *testing.T) {
	nettest.Need(t)
	router := newRouter(t)
	api := clusterAPI(t)
	pod := openPod(t)
	path, socket := clusterPlace(t, api, "")
	p := startAgent(t, path)

	router.WaitFor(vip6) // given by this agent, too
	if got := api.Service("shop", "web").Status.LoadBalancer.Ingress; len(got) != 1 || got[0].IP != vip6.Addr().String() {
		t.Errorf("status %+v", got)
	}
	if got := ours(t); !slices.Equal(got, []netip.Prefix{vip6}) {
		t.Errorf("addresses %v", got)
	}
	s := eventuallyStatus(t, socket, "up", func(s siteapi.Status) bool {
		return len(s.Services) == 1 && s.Services[0].State == "up" && s.Cluster.Leader != "" && s.Cluster.Services[0].Addresses[0].Wanted
	})
	s.Cluster.Heard = time.Time{}
	if diff := cmp.Diff(&siteapi.Cluster{Node: "n1", Synced: true, Leader: "n1", Services: []siteapi.ClusterService{{
		Name: "shop/web", Addresses: []siteapi.ClusterAddress{{Address: vip6.Addr(), From: "pool edge, asked for", Wanted: true, Why: "1 ready endpoint on this node"}},
	}}}, s.Cluster, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}

	api.Set(clusterSlice("web", "n2")) // moves away
	router.WaitFor()
	api.Set(clusterSlice("web", "n1", "n2"))
	router.WaitFor(vip6)

	api.Set(clusterNode("n1", true))
	router.WaitRoute(vip6, depreferred)
	router.WaitFor()
	api.Set(clusterNode("n2", true)) // nobody else is left
	router.WaitFor(vip6)
	api.Set(clusterNode("n1", false))

	pod.Close() // the API knows nothing of it yet, and nobody else announces it
	router.WaitRoute(vip6, func(e bgptest.Event) bool { return len(e.Communities) == 2 })
	openPod(t)
	router.WaitRoute(vip6, func(e bgptest.Event) bool { return len(e.Communities) == 0 })

	api.Refuse(func(*http.Request) int { return http.StatusInternalServerError })
	api.BreakWatches()
	p.says("cannot be read")
	if got := router.Routes(); !slices.Equal(got, []netip.Prefix{vip6}) {
		t.Errorf("while the API is away: %v", got)
	}
	api.Refuse(nil)

	second := clusterService("second", map[string]string{"anyedge/address": vip6.Addr().String()}) // which is taken
	api.Set(second)
	api.Set(clusterSlice("second", "n1"))
	eventuallyStatus(t, socket, "a conflict", func(s siteapi.Status) bool {
		return len(s.Cluster.Services) == 2 && slices.ContainsFunc(s.Cluster.Services, func(c siteapi.ClusterService) bool {
			return len(c.Problems) == 1 && strings.HasPrefix(c.Problems[0], "AddressTaken: ")
		})
	})
	api.Remove(second)
	third := clusterService("third", map[string]string{"anyedge/address": vip6b.Addr().String()})
	api.Set(third)
	api.Set(clusterSlice("third", "n1"))
	router.WaitFor(vip6, vip6b)
	api.Remove(third)
	router.WaitFor(vip6)
	eventuallyStatus(t, socket, "one is left", func(s siteapi.Status) bool { return len(s.Services) == 1 })
	if status := p.signal(unix.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	router.WaitFor()
	if left := ours(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// An agent that was killed comes back while the API is away: it announces nothing that it does not know, and takes no address
// of a pool from the host, until it knows.
func TestClusterAfterKill(t *testing.T) {
	nettest.Need(t)
	router := newRouter(t)
	api := clusterAPI(t)
	openPod(t)
	path, socket := clusterPlace(t, api, "")
	first := startAgent(t, path)
	router.WaitFor(vip6)
	first.signal(unix.SIGKILL)
	router.WaitFor()
	addLoopback(t, "2001:db8:9::9/128") // not ours

	api.Refuse(func(*http.Request) int { return http.StatusForbidden })
	api.BreakWatches()
	second := startAgent(t, path)
	second.says("cannot be read")
	second.says("bgp session established")
	second.says("service addresses are on the host")
	s := eventuallyStatus(t, socket, "status", func(siteapi.Status) bool { return true })
	if s.Cluster.Synced || len(s.Services) != 0 || len(router.Routes()) != 0 {
		t.Errorf("%+v, announced %v", s, router.Routes())
	}
	if got := ours(t); !slices.Equal(got, []netip.Prefix{vip6}) {
		t.Errorf("addresses %v", got)
	}
	api.Refuse(nil)
	router.WaitFor(vip6)
	if status := second.signal(unix.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if left := ours(t); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// An agent that starts while the API is away announces the services of its file at once, and what is of the
// cluster when it comes.
func TestClusterAwayAtStart(t *testing.T) {
	nettest.Need(t)
	router := newRouter(t)
	api := clusterAPI(t)
	openPod(t)
	openService(t)
	api.Refuse(func(*http.Request) int { return http.StatusServiceUnavailable })
	path, socket := clusterPlace(t, api, `services:
  - name: echo
    vips: ["2001:db8:8::8/128"]
    checks: [{name: socket, type: listener, proto: udp, port: 7007, interval: 50ms}]
    settle: 50ms
    drain: {wait: 100ms}
`)
	p := startAgent(t, path)
	static := netip.MustParsePrefix("2001:db8:8::8/128")
	router.WaitFor(static)
	p.says("cannot be read")
	s := eventuallyStatus(t, socket, "status", func(siteapi.Status) bool { return true })
	if s.Cluster.Synced || len(s.Services) != 1 {
		t.Errorf("%+v", s)
	}
	api.Refuse(nil)
	router.WaitFor(vip6, static)
	if status := p.signal(unix.SIGTERM); status != 0 {
		t.Errorf("exit status %d", status)
	}
	router.WaitFor()
}

func TestClusterRefusesToStart(t *testing.T) {
	for _, tt := range []struct{ name, node, kubeconfig, want string }{
		{"no node", "", "", "kubernetes.node: not written, and NODE_NAME is not in the environment: write the name of this node"},
		{"no kubeconfig", "n1", "/nowhere", "kubernetes: kubeconfig /nowhere: stat /nowhere: no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("NODE_NAME", tt.node)
			_, err := newCluster(config.Agent{Kubernetes: &config.AgentKubernetes{Kubeconfig: tt.kubeconfig}}, nil)
			if err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

// hostAddresses are those of a host.
type hostAddresses struct{ there []netip.Prefix }

func (h *hostAddresses) List() ([]netip.Prefix, error) { return h.there, nil }

func (h *hostAddresses) Set(_ context.Context, wanted ...netip.Prefix) error {
	h.there = wanted
	return nil
}

// What a killed agent left stays as long as it may be wanted, also while the controller has not heard yet that it is.
func TestKeeping(t *testing.T) {
	t.Parallel()
	prefixes := func(all ...string) (l []netip.Prefix) {
		for _, p := range all {
			l = append(l, netip.MustParsePrefix(p))
		}
		return l
	}
	c := &cluster{cfg: config.AgentKubernetes{Pools: []config.AddressPool{{Prefixes: prefixes("2001:db8:7::/112")}}}}
	host := &hostAddresses{there: prefixes("2001:db8:53::53/128", "2001:db8:7::1/128", "2001:db8:7::2/128", "2001:db8:8::1/128")}
	k := keeping{host, c}
	set := func(what string, wanted, want []netip.Prefix) {
		t.Helper()
		if err := k.Set(t.Context(), wanted...); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, host.there, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got)\n%s", what, diff)
		}
	}
	set("nothing is known", prefixes("2001:db8:53::53/128"), prefixes("2001:db8:53::53/128", "2001:db8:7::1/128", "2001:db8:7::2/128"))
	c.asked.Store(&map[netip.Addr]bool{netip.MustParseAddr("2001:db8:7::1"): true, netip.MustParseAddr("2001:db8:7::9"): true})
	set("a Service has one", prefixes("2001:db8:53::53/128"), prefixes("2001:db8:53::53/128", "2001:db8:7::1/128"))
	set("and it is wanted", prefixes("2001:db8:53::53/128", "2001:db8:7::1/128"), prefixes("2001:db8:53::53/128", "2001:db8:7::1/128"))
	c.asked.Store(&map[netip.Addr]bool{})
	set("it leaves", prefixes("2001:db8:53::53/128", "2001:db8:7::1/128"), prefixes("2001:db8:53::53/128", "2001:db8:7::1/128"))
	set("it has left", prefixes("2001:db8:53::53/128"), prefixes("2001:db8:53::53/128"))
}

// One endpoint that works is enough, and is asked first; each gets its turn.
func TestEndpointCheck(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	works := l.Addr().(*net.TCPAddr).AddrPort()
	var targets []netip.AddrPort
	for range 6 {
		targets = append(targets, netip.MustParseAddrPort("127.0.0.1:1"))
	}
	check := func(c *endpointCheck, p kube.Probe) string {
		c.probe.Store(&p)
		if err := c.Check(t.Context()); err != nil {
			return err.Error()
		}
		return ""
	}
	const none = "none of 4 endpoints on this node works; 127.0.0.1:1: "
	var c endpointCheck
	for i, tt := range []struct {
		probe kube.Probe
		want  string
	}{
		{kube.Probe{}, ""},
		{kube.Probe{Kind: kube.ProbeTCP}, ""},
		{kube.Probe{Kind: kube.ProbeTCP, Local: true}, "no ready endpoint on this node"},
		{kube.Probe{Kind: kube.ProbeTCP, Targets: append(targets, works)}, none},
		{kube.Probe{Kind: kube.ProbeTCP, Targets: append(targets, works)}, ""}, // the next ones
		{kube.Probe{Kind: kube.ProbeTCP, Targets: append(targets, works)}, ""}, // the same ones
		{kube.Probe{Kind: kube.ProbeTCP, Targets: targets[:1]}, "none of 1 endpoints on this node works; 127.0.0.1:1: "},
	} {
		if got := check(&c, tt.probe); !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("step %d: %q, want %q", i, got, tt.want)
		}
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	p := kube.Probe{Kind: kube.ProbeHTTP, Path: "/healthz", Targets: []netip.AddrPort{works}}
	if got := check(&c, p); got != "" {
		t.Error(got)
	}
	if p.Path = "/"; check(&c, p) == "" {
		t.Error("a bad status passes")
	}
}

func TestReserved(t *testing.T) {
	t.Parallel()
	cfg := parse(t, "../../docs/samples/edgeagent.yaml")
	got := reserved(cfg)
	for address, want := range map[string]string{
		"192.0.2.53":       "a VIP of service dns of an agent's file",
		"2001:db8:1:1::11": "an address of peer mec-1-b",
		"2001:db8:1::d6":   "an address of an agent's host",
		"2001:db8:1::1":    "",
	} {
		if got[netip.MustParseAddr(address)] != want {
			t.Errorf("%s: %q, want %q", address, got[netip.MustParseAddr(address)], want)
		}
	}
}
