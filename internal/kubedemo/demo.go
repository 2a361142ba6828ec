package main

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

//go:embed shop.yaml
var shop []byte

// patience is how long anything may take on a busy machine.
const patience = 2 * time.Minute

// demo is a cluster with edgedns beside it.
type demo struct {
	*kubetest.Cluster
	bin, dir string
	port     uint16
	dns      *exec.Cmd
}

const dnsConfig = `site: mec-1
listen: ["[::1]:%d"]
zones: [{name: edge.example., ns: [{name: ns.edge.example., addresses: ["::1"]}]}]
kubernetes: {kubeconfig: kubeconfig}
admin: {socket: %s/dns.sock}
`

// startDNS runs edgedns with the rights of its service account, as they are shipped.
func (d *demo) startDNS(ctx context.Context) error {
	if err := d.applyFile("deploy/kubernetes/kustomize/namespace/namespace.yaml", "deploy/kubernetes/kustomize/rights/edgedns.yaml"); err != nil {
		return err
	}
	account, err := d.AccountKubeconfig("anyedge", "edgedns")
	if err != nil {
		return err
	}
	if d.port, err = freePort(); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"kubeconfig": account, "edgedns.yaml": fmt.Appendf(nil, dnsConfig, d.port, d.dir)} {
		if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
			return err
		}
	}
	d.dns = exec.CommandContext(ctx, d.edgedns(), "--config", filepath.Join(d.dir, "edgedns.yaml"), "--log-level", "warn")
	d.dns.Stderr = prefixed{}
	return d.dns.Start()
}

func (d *demo) stopDNS() {
	_ = d.dns.Process.Signal(syscall.SIGTERM)
	_ = d.dns.Wait()
}

// freePort returns one that nobody has just now.
func freePort() (uint16, error) {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return netip.MustParseAddrPort(c.LocalAddr().String()).Port(), nil
}

// prefixed shows what edgedns has to say between what the demo says.
type prefixed struct{}

// Write implements io.Writer.
func (prefixed) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		fmt.Print("  edgedns: ", line)
	}
	return len(p), nil
}

func (d *demo) applyFile(paths ...string) error {
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := d.apply(text); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func (d *demo) apply(text []byte) error {
	all, err := kubetest.ReadManifests(text)
	if err != nil {
		return err
	}
	for _, o := range all {
		if _, err := d.Apply(o, false); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) ingress(ctx context.Context) error {
	fmt.Println("\nAn Ingress asks for shop.edge.example; behind it are two pods.")
	began := time.Now()
	if err := d.apply(shop); err != nil {
		return err
	}
	if err := d.answered(ctx, began, 2); err != nil {
		return err
	}
	var now struct {
		Status struct {
			LoadBalancer struct{ Ingress []struct{ Hostname string } }
		}
	}
	for len(now.Status.LoadBalancer.Ingress) == 0 {
		if err := d.Try(kubetest.Admin, http.MethodGet, "/apis/networking.k8s.io/v1/namespaces/default/ingresses/shop", nil, &now); err != nil {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("  the Ingress's status says %s\n", now.Status.LoadBalancer.Ingress[0].Hostname)
	return nil
}

func (d *demo) scale(ctx context.Context) error {
	fmt.Println("\nIt is scaled to four pods.")
	began := time.Now()
	if err := d.apply([]byte(strings.Replace(string(shop), "replicas: 2", "replicas: 4", 1))); err != nil {
		return err
	}
	return d.answered(ctx, began, 4)
}

func (d *demo) lose(ctx context.Context) error {
	fmt.Println("\nnode-b loses its power. The cluster waits 16 s for a sign of life before it says so.")
	began := time.Now()
	if err := d.LoseNode("node-b"); err != nil {
		return err
	}
	return d.answered(ctx, began, 2)
}

func (d *demo) away(ctx context.Context) error {
	fmt.Println("\nThe API server ends.")
	d.StopServer()
	addresses, err := d.ask(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("  still answered: %v\n", addresses)
	why, err := exec.CommandContext(ctx, d.edgedns(), "query", "shop.edge.example", "--config", filepath.Join(d.dir, "edgedns.yaml")).Output()
	if err != nil {
		return err
	}
	fmt.Println("\n$ edgedns query shop.edge.example")
	for line := range strings.Lines(string(why)) {
		fmt.Print("  ", line)
	}
	return nil
}

// answered waits until the answer has n addresses, and shows them.
func (d *demo) answered(ctx context.Context, began time.Time, n int) error {
	for {
		addresses, err := d.ask(ctx)
		took := time.Since(began)
		if err == nil && len(addresses) == n {
			fmt.Printf("  answered after %.2f s:\n", took.Seconds())
			return d.show(addresses)
		}
		if took > patience {
			return fmt.Errorf("answered are %v, not %d: %v", addresses, n, err)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}

// ask is an ordinary client of DNS.
func (d *demo) ask(ctx context.Context) ([]netip.Addr, error) {
	r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, fmt.Sprintf("[::1]:%d", d.port))
	}}
	addresses, err := r.LookupNetIP(ctx, "ip6", "shop.edge.example.")
	slices.SortFunc(addresses, netip.Addr.Compare)
	return addresses, err
}

// show tells whose the addresses are.
func (d *demo) show(addresses []netip.Addr) error {
	var pods struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ NodeName string }
			Status   struct{ PodIP string }
		}
	}
	if err := d.Try(kubetest.Admin, http.MethodGet, "/api/v1/namespaces/default/pods", nil, &pods); err != nil {
		return err
	}
	for _, p := range pods.Items {
		if a, err := netip.ParseAddr(p.Status.PodIP); err == nil && slices.Contains(addresses, a) {
			fmt.Printf("    %-20s %s on %s\n", a, p.Metadata.Name, p.Spec.NodeName)
		}
	}
	return nil
}
