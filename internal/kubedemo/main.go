// Command kubedemo shows edgedns and edgeagent with Kubernetes: a real control plane on this machine, two nodes that kwok plays, each with
// a network and an agent of its own, and a router. It is `make demo-kube`, and not part of the product.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

func main() {
	signal.Ignore(os.Interrupt) // Ctrl-C is for the one in the namespaces: it ends in order, and then so does this one
	nettest.Main(func() { os.Exit(demonstrate(os.Args[1:])) })
}

func demonstrate(args []string) int {
	keep := false
	if len(args) == 2 && args[0] == "--keep" {
		args, keep = args[1:], true
	}
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: kubedemo [--keep] BIN-DIR")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, args[0], keep); err != nil {
		fmt.Fprintln(os.Stderr, "kubedemo:", err)
		return 1
	}
	return 0
}

// run shows everything, or keeps what is there once the Ingress is answered; it leaves nothing behind.
func run(ctx context.Context, bin string, keep bool) (err error) {
	if err := nettest.Own(); err != nil {
		return fmt.Errorf("no networks of its own can be had: %w: allow user namespaces, or be root", err)
	}
	began := time.Now()
	dir, err := os.MkdirTemp("", "kubedemo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Println("A Kubernetes control plane starts on this machine, with two nodes that kwok plays.")
	c, err := kubetest.New("::")
	if err != nil {
		return err
	}
	defer c.Close()
	d := &demo{Cluster: c, bin: bin, dir: dir}
	defer func() { err = errors.Join(err, d.end()) }()
	if err := d.start(ctx); err != nil {
		return err
	}
	fmt.Printf("up after %.1f s\n", time.Since(began).Seconds())
	if keep {
		return d.keep(ctx)
	}
	for _, act := range []func(context.Context) error{d.ingress, d.balance, d.scale, d.lose, d.away} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\nDone after %.0f s. docs/kubernetes.md says how to have it in a cluster of yours.\n", time.Since(began).Seconds())
	return nil
}

func (d *demo) start(ctx context.Context) error {
	for _, node := range nodes {
		if err := d.AddNode(node); err != nil {
			return err
		}
	}
	for _, step := range []func() error{d.install, d.startDNS, d.startHosts} {
		if err := step(); err != nil {
			return err
		}
	}
	d.startRouter(ctx)
	return nil
}

// keep stays until it is interrupted.
func (d *demo) keep(ctx context.Context) error {
	for _, act := range []func(context.Context) error{d.ingress, d.balance} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	a, err := d.vip()
	if err != nil {
		return err
	}
	bin, err := filepath.Abs(d.bin)
	if err != nil {
		return err
	}
	fmt.Printf(`
Until you press Ctrl-C. A shell in this network, from elsewhere:
  nsenter --preserve-credentials --user --net --target %d
and in it:
  kubectl --kubeconfig %s scale deployment shop --replicas 6
  dig @::1 shop.edge.example AAAA
  curl http://[%s]/
  %s/edgectl --socket %s status
  %s/edgedns query shop.edge.example --config %s/edgedns.yaml
`, os.Getpid(), d.AdminKubeconfig(), a, bin, d.hosts[0].socket, bin, d.dir)
	<-ctx.Done()
	return nil
}
