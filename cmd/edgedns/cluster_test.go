package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/pkg/dnsserver"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
	"github.com/anyedge/anyedge/pkg/steering"
)

// clusterConfig has the service of the file, whose pods count as up, beside a cluster.
func clusterConfig(t testing.TB, api *kubetest.API) string {
	text := strings.ReplaceAll(testConfig, ", check: {type: tcp, interval: 500ms, fast_interval: 20ms, rise: 1, fall: 1}", "")
	return strings.Replace(text, "metrics:", "kubernetes: {kubeconfig: "+api.Kubeconfig(t)+"}\nmetrics:", 1)
}

func clusterService(hostname string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Annotations: map[string]string{"anyedge/hostname": hostname, "anyedge/answers": "9"}},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}},
	}
}

func clusterSlice(addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		Ports:      []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

// A pod may go at any time: whatever the zone says, answers with it are kept for 5 s. Of the file's endpoints they are not.
func TestClusterTTL(t *testing.T) {
	api := kubetest.NewAPI(t)
	api.Set(clusterService("web.edge.example"))
	api.Set(clusterSlice("10.0.0.1"))
	start(t, strings.Replace(clusterConfig(t, api), "min_ttl: 5s", "ttl: 1h", 1))
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR 10.0.0.1/5")
	if got, want := ask(t, "api.edge.example.", dns.TypeAAAA), "NOERROR 2001:db8:1::10/3600"; got != want {
		t.Errorf("the name of the file is %q, want %q", got, want)
	}
}

// Names of a cluster come and go beside those of the file. Before all of it was read nobody gets a guess, and when its API is
// away everybody gets what was known last.
func TestCluster(t *testing.T) {
	api := kubetest.NewAPI(t)
	api.Set(clusterService("web.edge.example"))
	api.Set(clusterSlice("10.0.0.1"))
	api.Refuse(func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/endpointslices") {
			return http.StatusForbidden
		}
		return 0
	})
	socket := filepath.Join(t.TempDir(), "dns.sock")
	path := configFile(t, clusterConfig(t, api)+"admin: {socket: "+socket+"}\n")
	lines := startFile(t, path)
	waitFor(t, lines, "cannot be read")
	for _, name := range []string{"web.edge.example.", "api.edge.example.", "health.edge.example.", "nobody.edge.example."} {
		if got := ask(t, name, dns.TypeAAAA); got != "SERVFAIL" {
			t.Errorf("before the cluster is known %s is %q, want SERVFAIL", name, got)
		}
	}
	if status, _, stderr := runOnce(t, "services", "--synced", "--socket", socket); status != 2 || stderr != "" {
		t.Errorf("services --synced: status %d, want 2; %s", status, stderr)
	}
	api.Refuse(nil)
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR 10.0.0.1/5")
	if status, _, stderr := runOnce(t, "services", "--synced", "--socket", socket); status != 0 {
		t.Errorf("services --synced: status %d, want 0; %s", status, stderr)
	}
	if got := ask(t, "api.edge.example.", dns.TypeAAAA); got != "NOERROR 2001:db8:1::10/5" {
		t.Errorf("the name of the file is %q", got)
	}
	api.Set(clusterSlice("10.0.0.1", "10.0.0.2", "2001:db8::1"))
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR 10.0.0.1/5 10.0.0.2/5")
	eventually(t, "web.edge.example.", dns.TypeAAAA, "NOERROR 2001:db8::1/5")
	if got := ask(t, "_http._tcp.web.edge.example.", dns.TypeSRV); !strings.HasPrefix(got, "NOERROR ") {
		t.Errorf("SRV: %q", got)
	}
	page := scrape(t)
	for _, line := range []string{"anyedge_kube_synced 1", "anyedge_kube_names 1", `anyedge_kube_objects{resource="endpointslices"} 1`, "anyedge_dns_services 2"} {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	checkClusterMetrics(t)
	for _, order := range []struct{ name, want string }{{"drain", "NOERROR 10.0.0.2/1"}, {"undrain", "NOERROR 10.0.0.1/5 10.0.0.2/5"}} {
		if status, _, stderr := runOnce(t, order.name, "web.edge.example", "10.0.0.1", "--socket", socket); status != 0 {
			t.Errorf("%s: %s", order.name, stderr)
		}
		if got := ask(t, "web.edge.example.", dns.TypeA); got != order.want {
			t.Errorf("after %s: %q, want %s", order.name, got, order.want)
		}
	}

	api.Refuse(func(*http.Request) int { return http.StatusInternalServerError })
	api.BreakWatches()
	waitFor(t, lines, "cannot be read")
	if got := ask(t, "web.edge.example.", dns.TypeA); got != "NOERROR 10.0.0.1/5 10.0.0.2/5" {
		t.Errorf("while the API is away: %q", got)
	}
	eventuallyStale(t, "web.edge.example.", "3 the cluster's API cannot be read")
	if got := errorsOf(t, "api.edge.example."); got != "" {
		t.Errorf("a name of the file has the extended error %q", got)
	}
	for _, order := range [][]string{{"services"}, {"services", "web.edge.example"}, {"query", "web.edge.example", "A"}} {
		if _, stdout, stderr := runOnce(t, append(order, "--socket", socket)...); !strings.Contains(stdout, "STALE") {
			t.Errorf("%s says\n%s%s", order, stdout, stderr)
		}
	}
	api.Refuse(nil)
	waitFor(t, lines, "can be read again")
	eventuallyStale(t, "web.edge.example.", "")

	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	taken := strings.Replace(string(old), "  - name: api", "  - {name: web.edge.example., endpoints: [{address: 10.9.9.9}]}\n  - name: api", 1)
	reload(t, path, taken, lines, "msg=reloaded")
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR 10.9.9.9/5")
	reload(t, path, string(old), lines, "msg=reloaded")
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR 10.0.0.1/5 10.0.0.2/5")
	if got := reload(t, path, strings.Replace(string(old), "kubernetes: {", "kubernetes: {class: other, ", 1), lines, refused); !strings.Contains(got, "kubernetes: changed: needs a restart") {
		t.Errorf("logged %s", got)
	}

	api.Set(clusterService("shop.edge.example"))
	eventually(t, "shop.edge.example.", dns.TypeA, "NOERROR 10.0.0.1/5 10.0.0.2/5")
	if got := ask(t, "web.edge.example.", dns.TypeA); got != "NXDOMAIN" {
		t.Errorf("a name that nobody asks for any more is %q, want NXDOMAIN", got)
	}
}

// checkClusterMetrics wants every metric of a cluster in the operators' page.
func checkClusterMetrics(t *testing.T) {
	t.Helper()
	page := scrape(t)
	problems, err := promlint.New(strings.NewReader(page)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "anyedge_kube_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(page) {
		rest, found := strings.CutPrefix(line, "# TYPE anyedge_kube_")
		if name, _, _ := strings.Cut(rest, " "); found && !strings.Contains(string(doc), "`anyedge_kube_"+name+"`") {
			t.Errorf("docs/kubernetes.md does not tell of anyedge_kube_%s", name)
		}
	}
}

// A bad kubeconfig is told at the start.
func TestClusterWithoutCredentials(t *testing.T) {
	text := strings.Replace(testConfig, "metrics:", "kubernetes: {kubeconfig: /nowhere}\nmetrics:", 1)
	status, _, stderr := runOnce(t, "--config", configFile(t, text), "--log-level", "error")
	if want := "edgedns: kubernetes: kubeconfig /nowhere: stat /nowhere: no such file or directory\n"; status != 1 || stderr != want {
		t.Errorf("status %d, stderr %q, want %q", status, stderr, want)
	}
}

func TestAcceptable(t *testing.T) {
	t.Parallel()
	prod := func(service string) steering.Semantic {
		return steering.Semantic{App: "shop", AppNS: "acme", Service: service, ServiceNS: "prod"}
	}
	accept := acceptable(config.DNS{
		Zones: []dnsserver.Zone{{Name: "edge.example.", NS: []dnsserver.NS{{Name: "ns.edge.example."}}}, {Name: "sub.edge.example."}},
		Services: []config.DNSService{
			{Service: steering.Service{Name: "api.edge.example.", Semantic: prod("api")}},
			{Service: steering.Service{Name: "shop.acme.web.prod.any.hc.edge.example."}},
			{Service: steering.Service{Name: "none.sub.edge.example."}},
		},
	})
	long := strings.Repeat("a.", 100) + "edge.example."
	got := make(map[string]string)
	for _, name := range []string{
		"web.edge.example.", "edge.example.", "health.edge.example.", "ns.edge.example.", "api.edge.example.", "web.example.", "ip-10-0-0-1.web.edge.example.", long,
		"a.b.c.d.any.rr.edge.example.", "0.none.edge.example.", "a.any.rr.web.edge.example.",
	} {
		if err := accept.Name(name); err != nil {
			got[name] = err.Error()
		}
	}
	longest := strings.Repeat("a", 63)
	for text, m := range map[string]steering.Semantic{
		"a.edge.example. new": prod("new"), "a.edge.example. api": prod("api"), "a.edge.example. web": prod("web"),
		"a.edge.example. long": {App: longest, AppNS: longest, Service: longest, ServiceNS: longest}, "a.sub.edge.example. api": prod("api"),
	} {
		if err := accept.Semantic(strings.Fields(text)[0], m); err != nil {
			got[text] = err.Error()
		}
	}
	want := map[string]string{
		"edge.example.":                 "edge.example. is a zone of edgedns itself",
		"health.edge.example.":          "health.edge.example. is the name that checks of edgedns ask for",
		"ns.edge.example.":              "ns.edge.example. is a name server of edgedns",
		"api.edge.example.":             "api.edge.example. is a service of edgedns' own configuration",
		"web.example.":                  "web.example. lies in none of the zones of edgedns",
		"ip-10-0-0-1.web.edge.example.": "ip-10-0-0-1.web.edge.example. begins with ip-, as names of pods do",
		long:                            long + " is too long: names of pods below it need room",
		"a.b.c.d.any.rr.edge.example.":  "a.b.c.d.any.rr.edge.example. is a name that states a policy: annotate another one with anyedge/semantic",
		"0.none.edge.example.":          "0.none.edge.example. is a name that states a policy: annotate another one with anyedge/semantic",
		"a.edge.example. api":           "shop.acme.api.prod.any.rr.edge.example. is a name of a service of edgedns' own configuration",
		"a.edge.example. web":           "shop.acme.web.prod.any.hc.edge.example. is a service of edgedns' own configuration",
		"a.edge.example. long":          strings.Repeat(longest+".", 4) + "any.rr.edge.example. is too long for a name",
		"a.sub.edge.example. api":       "there are no semantic names in sub.edge.example., since none.sub.edge.example. is a service of edgedns' own configuration",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// noted is the Service of clusterService with further annotations: keys and values.
func noted(hostname string, notes ...string) *corev1.Service {
	s := clusterService(hostname)
	for i := 0; i < len(notes); i += 2 {
		s.Annotations["anyedge/"+notes[i]] = notes[i+1]
	}
	return s
}

// What became ready while edgedns runs starts slowly; what states a policy is answered by it; in panic another site may answer.
func TestClusterSteers(t *testing.T) {
	api := kubetest.NewAPI(t)
	api.Set(noted("web.edge.example", "policy", "capacity", "slow-start", "1h", "semantic", "shop.acme.web.prod", "panic", "other", "panic-fallback", "10.2.0.1"))
	api.Set(clusterSlice("10.0.0.1"))
	path := configFile(t, clusterConfig(t, api)+"admin: {socket: "+filepath.Join(t.TempDir(), "dns.sock")+"}\n")
	lines := startFile(t, path)
	waitFor(t, lines, "msg=synced")
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR 10.0.0.1/5")
	api.Set(clusterSlice("10.0.0.1", "10.0.0.2"))
	eventually(t, "shop.acme.web.prod.any.rr.edge.example.", dns.TypeA, "NOERROR 10.0.0.1/5 10.0.0.2/5")
	_, stdout, stderr := runOnce(t, "services", "web.edge.example", "--config", path)
	for line := range strings.Lines(stdout) {
		if address, rest, _ := strings.Cut(line, " "); strings.HasPrefix(address, "10.") && strings.Contains(rest, "slow start 0.10") != (address == "10.0.0.2") {
			t.Errorf("%s", line)
		}
	}
	if !strings.Contains(stdout, "10.0.0.2 ") {
		t.Errorf("stdout\n%s\nstderr %s", stdout, stderr)
	}
	sick := clusterSlice("10.0.0.1", "10.0.0.2")
	for i := range sick.Endpoints {
		sick.Endpoints[i].Conditions.Ready = new(false)
	}
	api.Set(sick)
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR 10.2.0.1/1")
	api.Set(clusterService("web.edge.example"))
	eventually(t, "shop.acme.web.prod.any.rr.edge.example.", dns.TypeA, "NXDOMAIN")
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR 10.0.0.1/1 10.0.0.2/1")
}

// Clients in a namespace see names of others by the word of these alone, and what their view shows instead of pods.
func TestClusterNamespaces(t *testing.T) {
	api := kubetest.NewAPI(t)
	api.Set(clusterService("web.edge.example"))
	api.Set(clusterSlice("10.0.0.1"))
	text := clusterConfig(t, api) +
		"views: [{name: media, clients: ['::/0'], namespace: media, instead: [{service: vip.edge.example., addresses: [10.9.9.9]}]}]\n"
	startFile(t, configFile(t, text))
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR")
	if got := ask(t, "api.edge.example.", dns.TypeAAAA); got != "NOERROR 2001:db8:1::10/5" {
		t.Errorf("the name of the file is %q", got)
	}
	api.Set(noted("web.edge.example vip.edge.example", "allow", "bank, media"))
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR 10.0.0.1/5")
	eventually(t, "vip.edge.example.", dns.TypeA, "NOERROR 10.9.9.9/5")
	api.Set(clusterService("web.edge.example"))
	eventually(t, "web.edge.example.", dns.TypeA, "NOERROR")
}

// errorsOf are the extended errors that come with the answer for a name.
func errorsOf(t *testing.T, name string) string {
	t.Helper()
	q := new(dns.Msg).SetQuestion(name, dns.TypeA)
	q.SetEdns0(1232, false)
	m, err := dns.ExchangeContext(t.Context(), q, "[::1]:53")
	if err != nil || m.IsEdns0() == nil {
		t.Fatalf("answer %v, %v", m, err)
	}
	var all []string
	for _, o := range m.IsEdns0().Option {
		if e, is := o.(*dns.EDNS0_EDE); is {
			all = append(all, fmt.Sprint(e.InfoCode, " ", e.ExtraText))
		}
	}
	return strings.Join(all, ", ")
}

// eventuallyStale asks until the answer for a name has the wanted extended errors: each reader of the API finds out by itself.
func eventuallyStale(t *testing.T, name, want string) {
	t.Helper()
	got := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if got = errorsOf(t, name); got == want {
			return
		}
	}
	t.Fatalf("the extended errors of %s are %q, want %q", name, got, want)
}
