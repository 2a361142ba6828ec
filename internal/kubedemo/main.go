// Command kubedemo shows edgedns with Kubernetes: a real control plane on this machine, two nodes that kwok plays, and an Ingress
// that is answered with the addresses of its pods. It is `make demo-kube`, and not part of the product.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

func main() {
	args, keep := os.Args[1:], false
	if len(args) == 2 && args[0] == "--keep" {
		args, keep = args[1:], true
	}
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "usage: kubedemo [--keep] BIN-DIR")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, args[0], keep); err != nil {
		fmt.Fprintln(os.Stderr, "kubedemo:", err)
		os.Exit(1)
	}
}

// run shows everything, or keeps what is there once the Ingress is answered; it leaves nothing behind.
func run(ctx context.Context, bin string, keep bool) error {
	began := time.Now()
	dir, err := os.MkdirTemp("", "kubedemo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Println("A Kubernetes control plane starts on this machine, with two nodes that kwok plays.")
	c, err := kubetest.New()
	if err != nil {
		return err
	}
	defer c.Close()
	for _, node := range []string{"node-a", "node-b"} {
		if err := c.AddNode(node); err != nil {
			return err
		}
	}
	d := &demo{Cluster: c, bin: bin, dir: dir}
	if err := d.startDNS(ctx); err != nil {
		return err
	}
	defer d.stopDNS()
	fmt.Printf("up after %.1f s\n", time.Since(began).Seconds())
	if keep {
		return d.keep(ctx)
	}
	for _, act := range []func(context.Context) error{d.ingress, d.scale, d.lose, d.away} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\nDone after %.0f s. docs/kubernetes.md says how to have it in a cluster of yours.\n", time.Since(began).Seconds())
	return nil
}

// keep stays until it is interrupted.
func (d *demo) keep(ctx context.Context) error {
	if err := d.ingress(ctx); err != nil {
		return err
	}
	fmt.Printf(`
Until you press Ctrl-C, from elsewhere:
  kubectl --kubeconfig %s scale deployment shop --replicas 6
  dig @::1 -p %d shop.edge.example AAAA
  %s query shop.edge.example --config %s
`, d.AdminKubeconfig(), d.port, d.edgedns(), filepath.Join(d.dir, "edgedns.yaml"))
	<-ctx.Done()
	return nil
}

// edgedns is the program.
func (d *demo) edgedns() string { return filepath.Join(d.bin, "edgedns") }
