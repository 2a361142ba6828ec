package kubetest

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// AddNode adds a node that kwok plays: pods that are given to it run at once, at addresses of its PodPrefix. What makes and gives
// pods - controllers and scheduler - is started with the first one.
func (c *Cluster) AddNode(name string) error {
	if len(c.nodes) == 0 {
		if err := c.startControllers(); err != nil {
			return err
		}
	}
	// A lease is renewed four times in its life: every 2 s, so that a slow machine loses no node (node-monitor-grace-period).
	kubelet, err := c.runAs("kwok-"+name, "kwok", "--kubeconfig", c.AdminKubeconfig(), "--config", c.File("stages.yaml"),
		"--manage-single-node", name, "--node-lease-duration-seconds", "8", "--cidr", PodPrefix(len(c.nodes)))
	if err != nil {
		return err
	}
	if c.nodes == nil {
		c.nodes = make(map[string]*program)
	}
	c.nodes[name] = kubelet
	plenty := map[string]string{"cpu": "1000", "memory": "1000Gi", "pods": "1000"}
	return c.Try(Admin, http.MethodPost, "/api/v1/nodes", map[string]any{
		"metadata": map[string]any{"name": name, "labels": map[string]string{
			"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": strings.Replace(name, "node", "zone", 1),
		}},
		"status": map[string]any{"allocatable": plenty, "capacity": plenty},
	}, nil)
}

// PodPrefix is where the pods of the nth node get their addresses from, the first one being 0.
func PodPrefix(n int) string { return fmt.Sprintf("fd00:10:244:%x::/64", n) }

func (c *Cluster) startControllers() error {
	for _, args := range [][]string{
		{
			"kube-controller-manager", "--kubeconfig", c.AdminKubeconfig(), "--leader-elect=false", "--use-service-account-credentials=false",
			"--service-account-private-key-file", filepath.Join(c.dir, "sa.key"), "--root-ca-file", filepath.Join(c.dir, "certs", "apiserver.crt"),
			"--secure-port", "0", "--node-monitor-grace-period", "16s", "--node-monitor-period", "1s",
		},
		{"kube-scheduler", "--kubeconfig", c.AdminKubeconfig(), "--leader-elect=false", "--secure-port", "0"},
	} {
		p, err := c.runAs(args[0], "kubetools", args...)
		if err != nil {
			return err
		}
		c.controllers = append(c.controllers, p)
	}
	return nil
}

// LoseNode has a node give no sign of life any more, as if its power was off.
func (c *Cluster) LoseNode(name string) error { return c.nodes[name].freeze() }

// FindNode brings it back.
func (c *Cluster) FindNode(name string) { c.nodes[name].thaw() }

// Node adds a node, unless it is there already.
func (c *Cluster) Node(t testing.TB, name string) {
	t.Helper()
	if c.nodes[name] != nil {
		return
	}
	if err := c.AddNode(name); err != nil {
		t.Fatal(err)
	}
}
