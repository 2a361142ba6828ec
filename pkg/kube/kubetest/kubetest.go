// Package kubetest is what tests of Kubernetes as a source need: an API that goes wrong as it is told to, and a real control
// plane: etcd and kube-apiserver, and where nodes are asked for kube-controller-manager, kube-scheduler and kwok, on free
// ports of loopback, in a directory of its own. The programs are built by tools/kube/build. One control plane serves a test
// package; each test has namespaces and users of its own.
package kubetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long anything may take to start or to stop; the machine may be busy with other tests.
const patience = 3 * time.Minute

// Cluster is a control plane that runs.
type Cluster struct {
	dir, bin, listen     string
	etcdPort, serverPort int
	etcd, server         *program
	controllers          []*program
	nodes                map[string]*program // kwok, by the name of the node that it plays
	http                 *http.Client

	users, names atomic.Int64 // handed out
}

var shared struct {
	sync.Mutex
	cluster *Cluster
	err     error
}

// Start returns the control plane of this test package, which the first caller starts. Without the programs the test is
// skipped, or fails where CI=true. M or Stop ends it.
func Start(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil && shared.err == nil {
		shared.cluster, shared.err = New("::1")
	}
	require(t, shared.err)
	return shared.cluster
}

// Program is the path of one of the programs. Without it the test is skipped, or fails where CI=true.
func Program(t testing.TB, name string) string {
	t.Helper()
	dir, err := programs()
	require(t, err)
	return filepath.Join(dir, name)
}

func require(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errNotBuilt) && os.Getenv("CI") != "true":
		t.Skip(err)
	default:
		t.Fatal(err)
	}
}

// M runs the tests of a package, and then ends its control plane: goleak.VerifyTestMain(kubetest.M{M: m}).
type M struct{ *testing.M }

// Run implements goleak.TestingM.
func (m M) Run() int {
	defer Stop()
	return m.M.Run()
}

// Stop ends the control plane of this test package, if there is one.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster != nil {
		shared.cluster.Close()
		shared.cluster = nil
	}
}

var errNotBuilt = errors.New("needs a Kubernetes control plane: run tools/kube/build, once")

// programs returns the directory of the programs.
func programs() (string, error) {
	root, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		script := filepath.Join(root, "tools", "kube", "build")
		if _, err := os.Stat(script); err == nil {
			out, err := exec.Command(script, "--where").Output()
			if err != nil {
				return "", fmt.Errorf("%s: %w", script, err)
			}
			dir := strings.TrimSpace(string(out))
			if _, err := os.Stat(filepath.Join(dir, "stages.yaml")); err != nil {
				return "", errNotBuilt
			}
			return dir, nil
		}
		if root == filepath.Dir(root) {
			return "", errNotBuilt
		}
		root = filepath.Dir(root)
	}
}

// New starts a control plane: an API without nodes, which listens at ::1; or at ::, all addresses, in a network where nobody else
// can reach them: its passwords are known.
func New(listen string) (_ *Cluster, err error) {
	c := &Cluster{http: newHTTP(), listen: listen}
	if c.bin, err = programs(); err != nil {
		return nil, err
	}
	if c.dir, err = os.MkdirTemp("", "kubetest-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	c.etcdPort, c.serverPort = ports[0], ports[2]
	if err := c.writeFiles(); err != nil {
		return nil, err
	}
	if c.etcd, err = c.runAs("etcd", "kubetools", c.etcdArgs(ports[1])...); err != nil {
		return nil, err
	}
	return c, c.startServer()
}

// freePorts returns ports of [::1] that nobody has just now. They are below those that the kernel hands out (32768 and up by
// default): nobody shall get the server's while it is away.
func freePorts(n int) (ports []int, err error) {
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("[::1]:%d", 10000+rand.N(20000)))
		if err != nil {
			continue
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
		if len(ports) == n {
			return ports, nil
		}
	}
	return nil, errors.New("kubetest: no ports are free")
}

// File is the path of a file that tools/kube/build puts beside the programs.
func (c *Cluster) File(name string) string { return filepath.Join(c.bin, name) }

func (c *Cluster) etcdArgs(peerPort int) []string {
	client, peer := fmt.Sprintf("http://[::1]:%d", c.etcdPort), fmt.Sprintf("http://[::1]:%d", peerPort)
	return []string{
		"etcd", "--data-dir", filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer,
	}
}

func (c *Cluster) serverArgs() []string {
	file := func(name string) string { return filepath.Join(c.dir, name) }
	return []string{
		"kube-apiserver", "--etcd-servers", fmt.Sprintf("http://[::1]:%d", c.etcdPort),
		"--bind-address", c.listen, "--advertise-address", "::1", "--secure-port", fmt.Sprint(c.serverPort), "--cert-dir", file("certs"),
		"--service-cluster-ip-range", "fd00:10:96::/112,10.96.0.0/16", "--endpoint-reconciler-type", "none",
		"--service-account-issuer", "https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file", file("sa.pub"), "--service-account-signing-key-file", file("sa.key"),
		"--token-auth-file", file("tokens.csv"), "--authorization-mode", "RBAC",
		"--disable-admission-plugins", "ServiceAccount", "--enable-aggregator-routing=false",
		"--audit-policy-file", file("audit-policy"), "--audit-log-path", file("audit.log"),
	}
}

// startServer starts the API server and waits until it is ready.
func (c *Cluster) startServer() (err error) {
	c.http.CloseIdleConnections() // to the one before
	if c.server, err = c.runAs("kube-apiserver", "kubetools", c.serverArgs()...); err != nil {
		return err
	}
	return c.server.wait("ready", c.ready)
}

// Close ends everything: who writes before who is written to.
func (c *Cluster) Close() {
	for _, p := range c.nodes {
		p.stop()
	}
	for _, p := range c.controllers {
		p.stop()
	}
	c.server.stop()
	c.etcd.stop()
	c.http.CloseIdleConnections()
	_ = os.RemoveAll(c.dir)
}

// StopServer ends the API server; etcd keeps what it knew.
func (c *Cluster) StopServer() { c.server.stop() }

// StartServer starts the API server again, at the same place.
func (c *Cluster) StartServer(t testing.TB) {
	t.Helper()
	if err := c.startServer(); err != nil {
		t.Fatal(err)
	}
}

// FreezeServer keeps the API server from doing anything for a while; its connections stay.
func (c *Cluster) FreezeServer(t testing.TB, d time.Duration) {
	t.Helper()
	if err := c.server.freeze(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(d, c.server.thaw)
}
