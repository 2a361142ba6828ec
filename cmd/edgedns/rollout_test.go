package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/client"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

const (
	rolloutPods = 50
	// rolloutGrace is how long a pod that is deleted goes on. Clients leave it within the TTL, a second, and what the API server,
	// its controllers and edgedns take, which is little unless the machine is busy.
	rolloutGrace = 15 * time.Second
)

const rolloutManifests = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAMESPACE}
spec:
  replicas: 50
  strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0, maxSurge: 10}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {version: VERSION}}
    spec:
      terminationGracePeriodSeconds: 15
      containers: [{name: web, image: web, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NAMESPACE, annotations: {anyedge/hostname: web.edge.example}}
spec:
  selector: {app: web}
  ipFamilies: [IPv6]
  ports: [{name: http, port: 80, targetPort: http}]
`

// TestControlPlaneRollout replaces fifty pods while clients connect to them all the time: nobody is refused. The pods are kwok's and have
// no network of their own; for each of them this test listens at its address, until its grace period is over.
func TestControlPlaneRollout(t *testing.T) {
	c := kubetest.Start(t)
	c.Node(t, "node-0")
	p := servePods(t, c)
	p.roll("one")
	lines := startFile(t, configFile(t, strings.Replace(propagationConfig, "zones: [{", "zones: [{ttl: 1s, ", 1)+
		"kubernetes: {kubeconfig: "+c.Kubeconfig(t, kubetest.Admin)+", namespaces: ["+p.namespace+"]}\n"))
	waitFor(t, lines, "msg=synced")

	load := callPods(t)
	load.past(500)
	first := p.read()
	p.roll("two")
	p.until("the first pods are gone", func() bool {
		now := podNames(p.read())
		return !slices.ContainsFunc(podNames(first), func(name string) bool { return slices.Contains(now, name) })
	})
	load.past(500) // by clients who all asked after that
	report := load.stop()

	old, young, latest := p.hits(first)
	t.Logf("%d connections; the last one to a pod came %v after it was told to end", report.Connections, latest.Round(time.Millisecond))
	if made := report.Scheduled - report.Skipped; report.OK != made || report.LookupFails != 0 {
		t.Errorf("%d requests were made, %d answered, %d lookups failed: %+v", made, report.OK, report.LookupFails, report.Errors)
	}
	if old == 0 || young == 0 {
		t.Errorf("%d old pods and %d new ones had connections: the load did not see the update", old, young)
	}
}

// A life is that of a pod.
type life struct {
	name string
	ends time.Time // zero: it was not told to
}

func podNames(all map[netip.Addr]life) (names []string) {
	for _, l := range all {
		names = append(names, l.name)
	}
	return names
}

// pods are those of a Deployment, as far as their network goes.
type pods struct {
	testing.TB
	*kubetest.Cluster
	namespace string

	mu     sync.Mutex          // guards following
	alive  map[netip.Addr]life // as the API said last
	hit    map[string]bool     // pods that had a connection, by name
	latest time.Duration       // after a pod was told to end, when it had a connection
}

// servePods listens for pods of a namespace of its own until the test ends.
func servePods(t testing.TB, c *kubetest.Cluster) *pods {
	t.Helper()
	nettest.Need(t)
	routeToPods(t)
	p := &pods{TB: t, Cluster: c, namespace: c.Namespace(t), hit: make(map[string]bool)}
	l, err := net.Listen("tcp6", "[::]:8080")
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Minute}
	ended := make(chan error)
	go func() { ended <- server.Serve(doors{l, p}) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return p
}

// routeToPods makes all addresses of pods this host's.
func routeToPods(t testing.TB) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	_, all, err := net.ParseCIDR("fd00:10:244::/48")
	if err != nil {
		t.Fatal(err)
	}
	route := netlink.Route{LinkIndex: lo.Attrs().Index, Dst: all, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL}
	if err := netlink.RouteAdd(&route); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.RouteDel(&route) })
}

// doors are where the pods listen: a connection to one that is not there any more is reset.
type doors struct {
	net.Listener
	pods *pods
}

// Accept implements net.Listener.
func (d doors) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if d.pods.open(netip.MustParseAddrPort(conn.LocalAddr().String()).Addr()) {
			return conn, nil
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}

// open tells whether a pod at an address takes a connection. Whoever is not known to is looked up once more: it may be new.
func (p *pods) open(a netip.Addr) bool {
	return p.take(a) || p.read() != nil && p.take(a)
}

func (p *pods) take(a netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	pod, there := p.alive[a]
	switch {
	case !there || !pod.ends.IsZero() && now.After(pod.ends):
		return false
	case !pod.ends.IsZero():
		p.latest = max(p.latest, now.Sub(pod.ends.Add(-rolloutGrace)))
	}
	p.hit[pod.name] = true
	return true
}

// read asks the API which pods there are, by address.
func (p *pods) read() map[netip.Addr]life {
	p.Helper()
	var list corev1.PodList
	if err := p.Try(kubetest.Admin, http.MethodGet, "/api/v1/namespaces/"+p.namespace+"/pods", nil, &list); err != nil {
		p.Error(err)
		return nil
	}
	alive := make(map[netip.Addr]life)
	for _, pod := range list.Items {
		a, err := netip.ParseAddr(pod.Status.PodIP)
		if err != nil {
			continue // it has none yet
		}
		l := life{name: pod.Name}
		if pod.DeletionTimestamp != nil {
			l.ends = pod.DeletionTimestamp.Time
		}
		alive[a] = l
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alive = alive
	return alive
}

// roll has the pods be of a version, and waits until they are.
func (p *pods) roll(version string) {
	p.Helper()
	text := strings.NewReplacer("NAMESPACE", p.namespace, "VERSION", version).Replace(rolloutManifests)
	all := kubetest.Manifests(p, []byte(text))
	for _, o := range all {
		if _, err := p.Apply(o, false); err != nil {
			p.Fatal(err)
		}
	}
	p.until("all pods are of version "+version, func() bool {
		now, err := p.Get(all[0])
		if err != nil {
			p.Fatal(err)
		}
		d := kubetest.Convert[appsv1.Deployment](p, now)
		p.read()
		want := appsv1.DeploymentStatus{Replicas: rolloutPods, UpdatedReplicas: rolloutPods, AvailableReplicas: rolloutPods}
		got := appsv1.DeploymentStatus{Replicas: d.Status.Replicas, UpdatedReplicas: d.Status.UpdatedReplicas, AvailableReplicas: d.Status.AvailableReplicas}
		return d.Status.ObservedGeneration == d.Generation && cmp.Equal(want, got)
	})
}

func (p *pods) until(what string, happened func() bool) {
	p.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !happened(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.Fatalf("it is not so that %s", what)
		}
	}
}

// hits tells how many of the first pods, and of others, had connections, and how long after it was told to end a pod still had one.
func (p *pods) hits(first map[netip.Addr]life) (old, young int, latest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range first {
		if p.hit[l.name] {
			old++
		}
	}
	return old, len(p.hit) - old, p.latest
}

// callers is clients who connect to pods all the time.
type callers struct {
	testing.TB
	due    chan int // the newest number of requests
	cancel context.CancelFunc
	report chan client.HTTPReport
}

func callPods(t testing.TB) *callers {
	t.Helper()
	l := &callers{TB: t, due: make(chan int, 1), report: make(chan client.HTTPReport, 1)}
	clients, err := client.NewHTTP(client.HTTPConfig{
		Load: client.Load{
			Clients: 50, Rate: 100, Timeout: time.Minute, OnStatus: func(s client.Status) {
				select {
				case <-l.due:
				default:
				}
				l.due <- s.Due
			},
		},
		Server: netip.MustParseAddrPort("[::1]:53"), Name: "web.edge.example", Port: 8080, Path: "/", ConnectTimeout: 10 * time.Second, MaxSockets: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l.cancel = cancel
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		report, err := clients.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		l.report <- report
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return l
}

// past waits until so many more requests have come due.
func (l *callers) past(n int) {
	for until := <-l.due + n; <-l.due < until; {
	}
}

func (l *callers) stop() client.HTTPReport {
	l.cancel()
	return <-l.report
}
