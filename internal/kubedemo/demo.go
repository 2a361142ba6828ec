package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
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

	"github.com/vishvananda/netlink"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

//go:embed shop.yaml
var shop []byte

// namespace is where the manifests of deploy/kubernetes put everything.
const namespace = "anyedge"

// patience is how long anything may take on a busy machine.
const patience = 2 * time.Minute

// demo is a cluster with a site around it: edgedns beside the API, an agent on each node, and the site's router.
type demo struct {
	*kubetest.Cluster
	bin, dir string
	dns      *exec.Cmd
	hosts    []*host
	visited  string // who answered a client of the Service's address last

	stopRouter func()
	routed     chan error
}

const dnsConfig = `site: mec-1
listen: ["[::1]:53"]
zones: [{name: edge.example., ns: [{name: ns.edge.example., addresses: ["::1"]}]}]
kubernetes: {kubeconfig: kubeconfig}
cookies: {off: true}
admin: {socket: %s/dns.sock}
`

// shipped are the manifests of deploy/kubernetes that the demo takes: who edgedns and the agents are, and what they may do.
var shipped = []string{"namespace/namespace.yaml", "rights/edgedns.yaml", "edgeagent/serviceaccount.yaml", "services/rights.yaml"}

func (d *demo) install() error {
	for _, file := range shipped {
		text, err := os.ReadFile(filepath.Join("deploy/kubernetes/kustomize", file))
		if err != nil {
			return err
		}
		if err := d.apply(text); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// startDNS runs edgedns with the rights of its service account.
func (d *demo) startDNS() error {
	account, err := d.AccountKubeconfig(namespace, "edgedns")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"kubeconfig": account, "edgedns.yaml": fmt.Appendf(nil, dnsConfig, d.dir)} {
		if err := os.WriteFile(filepath.Join(d.dir, name), content, 0o600); err != nil {
			return err
		}
	}
	d.dns = command("edgedns", d.own("edgedns"), "--config", filepath.Join(d.dir, "edgedns.yaml"), "--log-level", "error")
	return nettest.Start(d.dns)
}

// startHosts runs an agent on a host for each node.
func (d *demo) startHosts() error {
	account, err := d.AccountKubeconfig(namespace, "edgeagent")
	if err != nil {
		return err
	}
	for n := range nodes {
		h, err := d.addHost(n)
		if h != nil {
			d.hosts = append(d.hosts, h)
		}
		if err == nil {
			err = d.startAgent(n, account)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// end ends what the demo started, but for the cluster, and tells why the router ended before.
func (d *demo) end() (err error) {
	if d.dns != nil && d.dns.Process != nil {
		_ = d.dns.Process.Signal(syscall.SIGTERM)
		_ = d.dns.Wait()
	}
	for _, h := range d.hosts {
		h.end()
	}
	if d.stopRouter != nil {
		d.stopRouter()
		err = <-d.routed
	}
	return err
}

// own is the path of a program of ours.
func (d *demo) own(name string) string { return filepath.Join(d.bin, name) }

// command is not started yet; what it says stands between what the demo says.
func command(who, path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Stderr = prefixed(who)
	return cmd
}

// prefixed shows what a program has to say.
type prefixed string

// Write implements io.Writer.
func (who prefixed) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		fmt.Printf("  %s: %s", string(who), line)
	}
	return len(p), nil
}

func (d *demo) apply(text []byte) error {
	all, err := kubetest.ReadManifests(text)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.GetKind() == "ServiceAccount" {
			o.SetNamespace(namespace) // as kustomize does
		}
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

// balance shows what became of the Service of type LoadBalancer.
func (d *demo) balance(ctx context.Context) error {
	fmt.Println("\nThe Service is of type LoadBalancer, and asks for an anycast address.")
	began := time.Now()
	for {
		a, err := d.vip()
		if err == nil {
			err = d.visit(ctx, a, time.Second)
		}
		var hops []string
		if err == nil {
			hops, err = routesTo(a)
		}
		switch {
		case err == nil && len(hops) == len(nodes):
			fmt.Printf("  given, announced by both nodes and reached after %.2f s\n", time.Since(began).Seconds())
			d.showRoute(a, hops)
			return nil
		case time.Since(began) > patience:
			return fmt.Errorf("the Service's address: %w", err)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// vip is the address that the Service has by its status.
func (d *demo) vip() (netip.Addr, error) {
	var now struct {
		Status struct {
			LoadBalancer struct{ Ingress []struct{ IP string } }
		}
	}
	if err := d.Try(kubetest.Admin, http.MethodGet, "/api/v1/namespaces/default/services/shop", nil, &now); err != nil {
		return netip.Addr{}, err
	}
	if len(now.Status.LoadBalancer.Ingress) == 0 {
		return netip.Addr{}, errors.New("none is given")
	}
	return netip.ParseAddr(now.Status.LoadBalancer.Ingress[0].IP)
}

// visit is a client of the address: it asks who answers.
func (d *demo) visit(ctx context.Context, a netip.Addr, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://["+a.String()+"]/", nil)
	if err != nil {
		return err
	}
	ask.Close = true
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var who struct{ Name string }
	if err := json.NewDecoder(answer.Body).Decode(&who); err != nil {
		return err
	}
	d.visited = who.Name
	return nil
}

// routesTo tells where the router sends packets for an address.
func routesTo(a netip.Addr) (hops []string, err error) {
	filter := &netlink.Route{Dst: netlink.NewIPNet(a.AsSlice())}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, filter, netlink.RT_FILTER_DST)
	for _, r := range routes {
		if r.Gw != nil {
			hops = append(hops, r.Gw.String())
		}
		for _, hop := range r.MultiPath {
			hops = append(hops, hop.Gw.String())
		}
	}
	slices.Sort(hops)
	return hops, err
}

func (d *demo) showRoute(a netip.Addr, hops []string) {
	fmt.Printf("    http://[%s]/ is answered by %s; the router has %s/128 by BGP via %s\n", a, d.visited, a, strings.Join(hops, ", "))
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
	lost := d.visited
	fmt.Printf("\n%s, which answered, loses its power.\n", lost)
	a, err := d.vip()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := d.hosts[slices.Index(nodes, lost)].die(); err != nil {
		return err
	}
	if err := d.LoseNode(lost); err != nil {
		return err
	}
	const try = 100 * time.Millisecond // what went to the lost node before its route was gone is not waited for longer
	for err := d.visit(ctx, a, try); err != nil; err = d.visit(ctx, a, try) {
		if time.Since(began) > patience {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("  the address is reached again after %.0f ms\n", milliseconds(time.Since(began)))
	hops, err := routesTo(a)
	if err != nil {
		return err
	}
	d.showRoute(a, hops)
	fmt.Println("  The cluster waits 16 s for a sign of life before it says that the pods there are not ready.")
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
	if err := d.tell(ctx, "edgedns", "query", "shop.edge.example", "--config", filepath.Join(d.dir, "edgedns.yaml")); err != nil {
		return err
	}
	left := slices.IndexFunc(nodes, func(name string) bool { return name == d.visited })
	return d.tell(ctx, "edgectl", "--socket", d.hosts[left].socket, "status")
}

// tell shows a command of ours and what it prints.
func (d *demo) tell(ctx context.Context, name string, args ...string) error {
	said, err := exec.CommandContext(ctx, d.own(name), args...).Output()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Println("\n$", name, strings.Join(args, " "))
	for line := range strings.Lines(string(said)) {
		fmt.Print("  ", line)
	}
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

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
		return new(net.Dialer).DialContext(ctx, network, "[::1]:53")
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
