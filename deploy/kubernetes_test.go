package deploy_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// variants are the overlays of kustomize/, each of which is an example of the chart as well.
var variants = []string{"dns", "edge", "pods"}

// namespace is where kustomize/ puts everything.
const namespace = "anyedge"

// manifests returns what tools/kube/manifests prints.
func manifests(t *testing.T, args ...string) []*unstructured.Unstructured {
	t.Helper()
	return kubetest.Manifests(t, []byte(run(t, kubetest.Program(t, "manifests"), args...)))
}

func kustomized(t *testing.T, variant string) []*unstructured.Unstructured {
	t.Helper()
	return manifests(t, "kustomize", "kubernetes/kustomize/overlays/"+variant)
}

func charted(t *testing.T, variant string) []*unstructured.Unstructured {
	t.Helper()
	return manifests(t, "helm", "kubernetes/helm/anyedge", namespace, "kubernetes/helm/examples/"+variant+".yaml")
}

var renders = map[string]func(*testing.T, string) []*unstructured.Unstructured{"kustomize": kustomized, "chart": charted}

// The chart and kustomize install the same.
func TestChartIsKustomize(t *testing.T) {
	t.Parallel()
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(essence(t, kustomized(t, variant)), essence(t, charted(t, variant))); diff != "" {
				t.Errorf("(-kustomize +chart):\n%s", diff)
			}
		})
	}
}

// generated is the end of the name that kustomize gives to a ConfigMap; the chart has an annotation of the pods instead.
var generated = regexp.MustCompile(`^(edgedns|edgeagent)-[a-z0-9]{10}$`)

// essence returns the objects by kind and name, without what differs by intent. Configurations are compared by what they say.
func essence(t *testing.T, all []*unstructured.Unstructured) map[string]any {
	t.Helper()
	m := make(map[string]any)
	for _, o := range all {
		o.SetName(generated.ReplaceAllString(o.GetName(), "$1"))
		switch o.GetKind() {
		case "Namespace":
			continue // helm makes it
		case "ConfigMap":
			data, _, _ := unstructured.NestedStringMap(o.Object, "data")
			said := make(map[string]any)
			for file, text := range data {
				var v any
				if err := yaml.Unmarshal([]byte(text), &v); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				said[file] = v
			}
			o.Object["data"] = said
		case "DaemonSet", "Deployment":
			unstructured.RemoveNestedField(o.Object, "spec", "template", "metadata", "annotations")
			volumes, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "volumes")
			for _, v := range volumes {
				if c, ok := v.(map[string]any)["configMap"].(map[string]any); ok {
					c["name"] = generated.ReplaceAllString(c["name"].(string), "$1")
				}
			}
			_ = unstructured.SetNestedSlice(o.Object, volumes, "spec", "template", "spec", "volumes") // it was there
		}
		m[o.GetKind()+" "+o.GetName()] = o.Object
	}
	return m
}

// The programs take the configurations.
func TestConfigMaps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "rack"), "secret\n")
	var checked []string
	for _, variant := range variants {
		for _, o := range kustomized(t, variant) {
			if o.GetKind() != "ConfigMap" {
				continue
			}
			data, _, _ := unstructured.NestedStringMap(o.Object, "data")
			for file, text := range data {
				program := generated.ReplaceAllString(o.GetName(), "$1")
				path := filepath.Join(dir, file)
				write(t, path, strings.ReplaceAll(text, "/etc/anyedge-keys", dir))
				run(t, filepath.Join(bin, program), "--config", path, "--check-config")
				checked = append(checked, variant+" "+program+" "+file)
			}
		}
	}
	slices.Sort(checked)
	want := []string{"dns edgedns edgedns.yaml", "edge edgeagent node-a.yaml", "edge edgeagent node-b.yaml", "edge edgedns edgedns.yaml", "pods edgedns edgedns.yaml"}
	if diff := cmp.Diff(want, checked); diff != "" {
		t.Errorf("(-want +checked):\n%s", diff)
	}
	run(t, filepath.Join(bin, "edgedns"), "--config", "kubernetes/kustomize/edgedns/edgedns.yaml", "--check-config")
	run(t, filepath.Join(bin, "edgeagent"), "--config", "kubernetes/kustomize/edgeagent/edgeagent.yaml", "--check-config")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The programs know the flags that containers and probes give them.
func TestCommands(t *testing.T) {
	t.Parallel()
	for _, variant := range variants {
		for _, o := range kustomized(t, variant) {
			for _, c := range podOf(t, o).Containers {
				program := slices.Concat(c.Command, c.Args)
				if len(c.Command) == 0 {
					program = append([]string{"edgedns"}, c.Args...) // the entry point of its image
				}
				commands := [][]string{program}
				for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
					if p != nil {
						commands = append(commands, p.Exec.Command)
					}
				}
				for _, command := range commands {
					run(t, filepath.Join(bin, command[0]), append(command[1:], "--help")...)
				}
			}
		}
	}
}

// podOf returns the pods of a workload; of everything else, one without containers.
func podOf(t *testing.T, o *unstructured.Unstructured) corev1.PodSpec {
	t.Helper()
	switch o.GetKind() {
	case "DaemonSet":
		return kubetest.Convert[appsv1.DaemonSet](t, o).Spec.Template.Spec
	case "Deployment":
		return kubetest.Convert[appsv1.Deployment](t, o).Spec.Template.Spec
	default:
		return corev1.PodSpec{}
	}
}

// The API takes every object as it is, with nothing in it that it does not know, and nodes run the pods.
func TestManifestsApply(t *testing.T) {
	c := monitored(t)
	c.Node(t, "node-0")
	for from, render := range renders {
		for _, variant := range variants {
			t.Run(from+"/"+variant, func(t *testing.T) {
				all := render(t, variant)
				apply(t, c, all)
				for _, o := range all {
					waitRunning(t, c, o)
				}
			})
		}
	}
}

// monitored returns a cluster that knows what a ServiceMonitor is.
func monitored(t *testing.T) *kubetest.Cluster {
	t.Helper()
	c := kubetest.Start(t)
	definitions, err := os.ReadFile(c.File("servicemonitors.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range kubetest.Manifests(t, definitions) {
		if _, err := c.Apply(o, false); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// apply makes the namespace, has everything else judged, and then stored.
func apply(t *testing.T, c *kubetest.Cluster, all []*unstructured.Unstructured) {
	t.Helper()
	isNamespace := func(o *unstructured.Unstructured) bool { return o.GetKind() == "Namespace" }
	if i := slices.IndexFunc(all, isNamespace); i >= 0 {
		store(t, c, all[i])
	} else {
		label(t, c, namespace, "privileged")
	}
	for _, o := range all {
		if _, err := c.Apply(o, true); err != nil {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	for _, o := range all {
		store(t, c, o)
	}
}

// store applies an object; one of a namespace goes with the test.
func store(t *testing.T, c *kubetest.Cluster, o *unstructured.Unstructured) {
	t.Helper()
	stored, err := c.Apply(o, false)
	if err != nil {
		t.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
	if stored.GetNamespace() != "" {
		t.Cleanup(func() { c.Delete(t, stored) })
	}
}

// label makes a namespace of a PodSecurity level, or changes its level.
func label(t *testing.T, c *kubetest.Cluster, name, level string) {
	t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	o.SetName(name)
	o.SetLabels(map[string]string{"pod-security.kubernetes.io/enforce": level})
	store(t, c, o)
}

// waitRunning waits until a workload's pods run, as kwok plays that.
func waitRunning(t *testing.T, c *kubetest.Cluster, o *unstructured.Unstructured) {
	t.Helper()
	if o.GetKind() != "DaemonSet" && o.GetKind() != "Deployment" {
		return
	}
	var said any
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		now, err := c.Get(o)
		if err != nil {
			t.Fatal(err)
		}
		said = now.Object["status"]
		switch o.GetKind() {
		case "DaemonSet":
			if s := kubetest.Convert[appsv1.DaemonSet](t, now).Status; s.DesiredNumberScheduled == 1 && s.NumberReady == 1 {
				return
			}
		case "Deployment":
			if s := kubetest.Convert[appsv1.Deployment](t, now).Status; s.ReadyReplicas == 2 {
				return
			}
		}
	}
	t.Errorf("%s %s does not run: %v", o.GetKind(), o.GetName(), said)
}

// PodSecurity takes the pods at the level of their namespace, and finds at the others just what docs/kubernetes.md tells of.
func TestPodSecurity(t *testing.T) {
	c := kubetest.Start(t)
	doc, err := os.ReadFile("../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ variant, workload, level, want string }{
		{"dns", "edgedns", "privileged", ""},
		{"dns", "edgedns", "baseline", `host namespaces (hostNetwork=true), hostPath volumes (volume "state")`},
		{"edge", "edgeagent", "privileged", ""},
		{"edge", "edgeagent", "baseline", `non-default capabilities (container "edgeagent" must not include "NET_ADMIN", "SYS_NICE" in securityContext.capabilities.add), host namespaces (hostNetwork=true), hostPath volumes (volume "state")`},
		{"pods", "edgedns", "restricted", ""},
	}
	for _, test := range tests {
		t.Run(test.variant+"/"+test.workload+"/"+test.level, func(t *testing.T) {
			ns := c.Namespace(t)
			label(t, c, ns, test.level)
			for _, o := range kustomized(t, test.variant) {
				switch {
				case o.GetKind() == "PriorityClass":
					store(t, c, o)
				case o.GetName() == test.workload && len(podOf(t, o).Containers) > 0:
					got := violations(c.Try(kubetest.Admin, http.MethodPost, "/api/v1/namespaces/"+ns+"/pods?dryRun=All&fieldValidation=Strict", aPod(podOf(t, o)), nil))
					if got != test.want {
						t.Errorf("refused for %q, want %q", got, test.want)
					}
				}
			}
			if !strings.Contains(string(doc), test.want) {
				t.Errorf("docs/kubernetes.md does not tell of %q", test.want)
			}
		})
	}
}

func aPod(spec corev1.PodSpec) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "trial"}, Spec: spec}
}

// violations are what PodSecurity has against a pod; empty: nothing.
func violations(err error) string {
	if err == nil {
		return ""
	}
	_, rest, found := strings.Cut(strings.ReplaceAll(err.Error(), `\"`, `"`), `:latest": `)
	list, _, _ := strings.Cut(rest, `","reason"`)
	if !found {
		return fmt.Sprint("another reason: ", err)
	}
	return list
}

// The service accounts have the rights of their roles.
func TestAccounts(t *testing.T) {
	c := monitored(t)
	for from, render := range renders {
		t.Run(from, func(t *testing.T) {
			all := render(t, "edge")
			apply(t, c, all)
			for _, o := range all {
				if o.GetKind() == "ClusterRole" || o.GetKind() == "Role" {
					account := "system:serviceaccount:" + namespace + ":" + o.GetLabels()["app.kubernetes.io/name"]
					c.WaitRights(t, account, o.GetNamespace(), kubetest.Convert[rbacv1.ClusterRole](t, o).Rules...)
				}
			}
		})
	}
}

// edgedns follows the cluster with the rights of its service account.
func TestServiceAccount(t *testing.T) {
	c := kubetest.Start(t)
	for from, render := range renders {
		t.Run(from, func(t *testing.T) {
			apply(t, c, render(t, "dns"))
			dir := t.TempDir()
			account, err := c.AccountKubeconfig(namespace, "edgedns")
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "kubeconfig"), string(account))
			config := filepath.Join(dir, "edgedns.yaml")
			write(t, config, fmt.Sprintf(accountConfig, dir))
			service := aWebService(t, c)
			store(t, c, service)
			stop := startDNS(t, config)
			for deadline := time.Now().Add(3 * time.Minute); !synced(config) || !hasCondition(t, c, service); time.Sleep(50 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Error("edgedns does not know the cluster, or does not tell of it")
					break
				}
			}
			if log := stop(); strings.Contains(log, "orbidden") {
				t.Error(log)
			}
		})
	}
}

const accountConfig = `site: mec-1
listen: ["[::1]:0"]
zones: [{name: edge.example., ns: [{name: ns.edge.example., addresses: ["2001:db8:53::53"]}]}]
kubernetes: {kubeconfig: kubeconfig, domain: edge.example.}
admin: {socket: %s/dns.sock}
`

// startDNS runs edgedns until stop, which returns what it logged.
func startDNS(t *testing.T, config string) (stop func() string) {
	t.Helper()
	edgedns := exec.CommandContext(t.Context(), filepath.Join(bin, "edgedns"), "--config", config)
	var log strings.Builder
	edgedns.Stderr = &log
	if err := edgedns.Start(); err != nil {
		t.Fatal(err)
	}
	return func() string {
		_ = edgedns.Process.Signal(syscall.SIGTERM)
		if err := edgedns.Wait(); err != nil {
			t.Error(err)
		}
		return log.String()
	}
}

func synced(config string) bool {
	return exec.Command(filepath.Join(bin, "edgedns"), "services", "--synced", "--config", config).Run() == nil
}

// aWebService asks for a name.
func aWebService(t *testing.T, c *kubetest.Cluster) *unstructured.Unstructured {
	t.Helper()
	o := kubetest.Manifests(t, []byte(`{apiVersion: v1, kind: Service, metadata: {name: web, annotations: {anyedge/hostname: web.edge.example}}, spec: {ports: [{port: 80}]}}`))[0]
	o.SetNamespace(c.Namespace(t))
	return o
}

// hasCondition tells whether edgedns told the owner of a Service that it is served.
func hasCondition(t *testing.T, c *kubetest.Cluster, o *unstructured.Unstructured) bool {
	t.Helper()
	now, err := c.Get(o)
	if err != nil {
		t.Fatal(err)
	}
	conditions := kubetest.Convert[corev1.Service](t, now).Status.Conditions
	return len(conditions) == 1 && conditions[0].Type == "anyedge/DNS" && conditions[0].Status == metav1.ConditionTrue
}

// What nobody can have meant is refused by the chart, and so is an installation without a configuration.
func TestChartRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ values, want string }{
		{"edgedns: {}", "edgedns.config is empty"},
		{"edgedns: {enabled: false}\nedgeagent: {enabled: true}", "edgeagent.config and edgeagent.nodes are empty"},
		{"edgedsn: {enabled: false}", "edgedsn"},
		{"edgedns: {config: {site: a}, replicas: none}", "replicas"},
		{"images: {registry: registry.example/}\nedgedns: {config: {site: a}}", "registry"},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) {
			t.Parallel()
			values := filepath.Join(t.TempDir(), "values.yaml")
			write(t, values, test.values+"\n")
			out, err := exec.CommandContext(t.Context(), kubetest.Program(t, "manifests"), "helm", "kubernetes/helm/anyedge", namespace, values).CombinedOutput()
			if err == nil || !strings.Contains(string(out), test.want) {
				t.Errorf("%v, want something of %q in\n%s", err, test.want, out)
			}
		})
	}
}
