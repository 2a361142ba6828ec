package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
)

// patience is how long a program may take to end by itself when its lab goes down.
const patience = 3 * time.Second

// Options is what a lab needs to run beside its topology.
type Options struct {
	State string // directory of its own: logs and the nodes' files
	Bin   string // directory of the programs
}

// A Lab is a topology that runs. Its methods are safe for concurrent use.
type Lab struct {
	Topology Topology

	opts   Options
	spaces map[string]namespace // by the name of the node that owns it
	nodes  map[string]*process
	cables []*cable
	netem  bool // the kernel delays the links
}

// Run brings the topology up, calls use, and takes everything down again when use returns or ctx is done. The process
// must have been prepared by EnterSandbox. The error is that of bringing up, of a wire that broke, or use's own.
func Run(ctx context.Context, t Topology, opts Options, use func(context.Context, *Lab) error) error {
	l := &Lab{Topology: t, opts: opts, spaces: map[string]namespace{}, nodes: map[string]*process{}}
	defer l.close()
	if err := l.build(); err != nil {
		return err
	}
	// Every wire has a thread of its own that sleeps in the kernel: none of them may keep the rest of the program waiting.
	runtime.GOMAXPROCS(runtime.NumCPU() + len(l.cables))
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return carry(ctx, l.cables) })
	g.Go(func() error {
		defer cancel()
		if err := l.start(); err != nil {
			return err
		}
		return use(ctx, l)
	})
	return g.Wait()
}

// build makes namespaces and links; no program runs yet.
func (l *Lab) build() error {
	if err := quietWires(); err != nil {
		return err
	}
	for _, n := range l.Topology.Nodes {
		if n.Host != "" {
			continue
		}
		ns, err := newNamespace()
		if err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
		l.spaces[n.Name] = ns
		if err := ns.do(n.setSysctls); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	l.netem = haveNetem()
	for i, link := range l.Topology.Links {
		c, err := plug(i, link, l.spaces, l.netem)
		if err != nil {
			return err
		}
		l.cables = append(l.cables, c)
	}
	return nil
}

// setSysctls does what a container engine does with the topology's sysctls. The calling thread is in the node's namespace.
func (n Node) setSysctls() error {
	for _, s := range n.Sysctls {
		if err := s.apply(); err != nil {
			return err
		}
	}
	return nil
}

// quietWires keeps the kernel's own IPv6 off the far sides of links, which lie in the lab's own namespace.
func quietWires() error {
	if err := quiet(); err != nil {
		return err
	}
	return (Sysctl{Key: "net.ipv6.conf.default.disable_ipv6", Value: "1"}).apply()
}

// start starts all programs, in the file's order.
func (l *Lab) start() error {
	for _, n := range l.Topology.Nodes {
		p := &process{
			node: n, ns: l.space(n), base: l.Topology.Dir, bin: l.opts.Bin,
			dir: filepath.Join(l.opts.State, "nodes", n.Name),
		}
		if err := p.prepare(); err != nil {
			return err
		}
		l.nodes[n.Name] = p
		if len(n.Cmd) == 0 {
			continue
		}
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) space(n Node) namespace {
	if n.Host != "" {
		return l.spaces[n.Host]
	}
	return l.spaces[n.Name]
}

// close ends all programs at once: nothing is drained, the lab is over.
func (l *Lab) close() {
	var g errgroup.Group
	for _, p := range l.nodes {
		g.Go(func() error { p.stop(patience); return nil })
	}
	_ = g.Wait()
	for _, ns := range l.spaces {
		_ = ns.close()
	}
}

// Healthy tells of a program that ended by itself, with its last words.
func (l *Lab) Healthy() error {
	var errs []error
	for _, n := range l.Topology.Nodes {
		errs = append(errs, l.nodes[n.Name].surprise())
	}
	return errors.Join(errs...)
}

// Signal sends a signal to a node's program. A program ended by SIGKILL or SIGTERM stays away until Start.
func (l *Lab) Signal(node string, sig syscall.Signal) error {
	p, err := l.node(node)
	if err != nil {
		return err
	}
	return p.signal(sig)
}

// Start starts a node's program that has ended, once it is gone.
func (l *Lab) Start(node string) error {
	p, err := l.node(node)
	if err != nil {
		return err
	}
	if p.exited != nil {
		<-p.exited
	}
	return p.start()
}

// restart ends a node's program and starts it again: for the one that sets the node's network up, as at power on.
func (l *Lab) restart(node string) error {
	p, err := l.node(node)
	if err != nil {
		return err
	}
	p.stop(patience)
	return p.start()
}

// setLink sets an interface of a node up or down.
func (l *Lab) setLink(e Endpoint, up bool) error {
	err := l.space(l.topologyNode(e.Node)).do(func() error {
		link, err := netlink.LinkByName(e.Interface)
		switch {
		case err != nil:
			return err
		case up:
			return netlink.LinkSetUp(link)
		default:
			return netlink.LinkSetDown(link)
		}
	})
	if err != nil {
		return fmt.Errorf("link %s: %w", e, err)
	}
	return nil
}

// interfaces returns the interfaces of a node that links plug into.
func (l *Lab) interfaces(node string) []Endpoint {
	var found []Endpoint
	for _, link := range l.Topology.Links {
		for _, e := range []Endpoint{link.A, link.B} {
			if e.Node == node {
				found = append(found, e)
			}
		}
	}
	return found
}

func (l *Lab) topologyNode(name string) Node { return l.nodes[name].node }

// Command prepares a program that runs with a node's network and files. Start it with Spawn, not by itself.
func (l *Lab) Command(ctx context.Context, node string, argv ...string) (*exec.Cmd, error) {
	p, err := l.node(node)
	if err != nil {
		return nil, err
	}
	return p.command(ctx, argv)
}

// Spawn starts a prepared command in the node's network.
func (l *Lab) Spawn(node string, cmd *exec.Cmd) error {
	p, err := l.node(node)
	if err != nil {
		return err
	}
	return p.ns.do(cmd.Start)
}

// Path returns where a node's own file (below /etc/anyedge, /run/anyedge or /var/lib/anyedge) lies for the lab.
func (l *Lab) Path(node, file string) string {
	return filepath.Join(l.opts.State, "nodes", node, "root", file)
}

func (l *Lab) node(name string) (*process, error) {
	p, ok := l.nodes[name]
	if !ok {
		return nil, fmt.Errorf("lab %s has no node %s", l.Topology.Name, name)
	}
	return p, nil
}

// CheckPrograms tells which program of the topology is neither in bin nor on the machine, and where it comes from.
func CheckPrograms(t Topology, bin string) error {
	var missing []string
	for _, n := range t.Nodes {
		if err := n.Image.check(installed); err != nil {
			return fmt.Errorf("node %s of lab %s: %w", n.Name, t.Name, err)
		}
		if len(n.Cmd) == 0 || strings.HasPrefix(n.Cmd[0], "/") {
			continue
		}
		if _, err := os.Stat(filepath.Join(bin, n.Cmd[0])); err == nil {
			continue
		}
		if _, err := exec.LookPath(n.Cmd[0]); err != nil {
			missing = append(missing, n.Cmd[0])
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("program %s of lab %s is missing: run make build", missing[0], t.Name)
	}
	return nil
}

// installed looks where nodes look, not where the caller does: an ordinary user's PATH lacks sbin.
func installed(program string) bool {
	for _, dir := range strings.Split(systemPath, ":") {
		if filepath.IsAbs(program) {
			dir = ""
		}
		if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
			return true
		}
	}
	return false
}
