package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/bgp/router"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

// nodes are their names; the nth is the host fd00:0:0:n::2 behind a link of this router, fd00:0:0:n::1.
var nodes = []string{"node-a", "node-b"}

const routerASN, agentASN = 65533, 64611

func routerAddress(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:0:0:%x::1", n)) }
func hostAddress(n int) netip.Addr   { return netip.MustParseAddr(fmt.Sprintf("fd00:0:0:%x::2", n)) }

// A host is a node's network: what pods listen with, as one process for all of them, and the agent.
type host struct {
	ns          netns.NsHandle
	pods, agent *exec.Cmd
	socket      string // of the agent
}

// startRouter routes to the hosts what their agents announce.
func (d *demo) startRouter(ctx context.Context) {
	ctx, d.stopRouter = context.WithCancel(context.WithoutCancel(ctx)) // it is to hear of the end of the agents
	d.routed = make(chan error, 1)
	go func() { d.routed <- runRouter(ctx) }()
}

func runRouter(ctx context.Context) error {
	cfg := router.Config{ASN: routerASN, RouterID: netip.MustParseAddr("10.0.0.1")}
	for n := range nodes {
		cfg.Neighbors = append(cfg.Neighbors, router.Neighbor{Address: hostAddress(n), ASN: agentASN})
	}
	r, err := router.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return r.Run(ctx)
}

// addHost makes the nth node's host, with pods and a link, but without an agent.
func (d *demo) addHost(n int) (*host, error) {
	h := &host{ns: netns.None(), pods: command(nodes[n]+" pods", d.own("edgeprobe"), "app", "--name", nodes[n], "--port", "80", "--log-level", "error")}
	h.pods.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := nettest.Start(h.pods); err != nil {
		return nil, fmt.Errorf("a network of its own for %s: %w", nodes[n], err)
	}
	return h, h.connect(n)
}

// connect lays the link, and routes to the pods over it.
func (h *host) connect(n int) error {
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: nodes[n]}, PeerName: "uplink", PeerNamespace: netlink.NsPid(h.pods.Process.Pid),
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	var err error
	if h.ns, err = netns.GetFromPid(h.pods.Process.Pid); err != nil {
		return err
	}
	there, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		return err
	}
	defer there.Close()
	here, err := netlink.NewHandle()
	if err != nil {
		return err
	}
	defer here.Close()
	link, err := raise(here, nodes[n], routerAddress(n))
	if err != nil {
		return err
	}
	uplink, err := raise(there, "uplink", hostAddress(n))
	if err != nil {
		return err
	}
	lo, err := raise(there, "lo", netip.Addr{})
	if err != nil {
		return err
	}
	pods, err := netlink.ParseIPNet(kubetest.PodPrefix(n))
	if err != nil {
		return err
	}
	all := &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	for _, err := range []error{
		here.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: pods, Gw: hostAddress(n).AsSlice()}),
		there.RouteAdd(&netlink.Route{LinkIndex: uplink.Attrs().Index, Dst: all, Gw: routerAddress(n).AsSlice()}),
		there.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: pods, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL}),
	} {
		if err != nil {
			return fmt.Errorf("routes of %s: %w", nodes[n], err)
		}
	}
	return nil
}

// raise sets a link up, with an address of a /64 unless that is not valid.
func raise(h *netlink.Handle, name string, a netip.Addr) (netlink.Link, error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, err
	}
	if a.IsValid() {
		address := &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD}
		if err := h.AddrAdd(link, address); err != nil {
			return nil, err
		}
	}
	return link, h.LinkSetUp(link)
}

const agentConfig = `site: mec-1
bgp: {asn: %d, router_id: 10.0.1.%d, neighbors: [{address: "%s", asn: %d}]}
kubernetes:
  kubeconfig: %s.kubeconfig
  node: %s
  pools: [{name: edge, prefixes: ["2001:db8:54::/112"]}]
  lease: {namespace: anyedge}
api: {socket: %s, drains: %s.drains}
`

// startAgent runs the agent of the nth node on its host, with the rights of its service account, as they are shipped.
func (d *demo) startAgent(n int, account []byte) error {
	h, name := d.hosts[n], nodes[n]
	h.socket = filepath.Join(d.dir, name+".sock")
	config := fmt.Sprintf(agentConfig, agentASN, n+1, routerAddress(n), routerASN, name, name, h.socket, h.socket)
	credentials := strings.ReplaceAll(string(account), "[::1]", "["+routerAddress(n).String()+"]")
	for file, content := range map[string]string{".kubeconfig": credentials, ".yaml": config} {
		if err := os.WriteFile(filepath.Join(d.dir, name+file), []byte(content), 0o600); err != nil {
			return err
		}
	}
	inside := fmt.Sprintf("--net=/proc/%d/ns/net", h.pods.Process.Pid)
	h.agent = command(name+" edgeagent", "nsenter", inside, d.own("edgeagent"), "--config", filepath.Join(d.dir, name+".yaml"), "--log-level", "error")
	return nettest.Start(h.agent)
}

// die ends everything on the host at once, as when its power is lost: the router sees a link without a carrier.
func (h *host) die() error {
	there, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		return err
	}
	defer there.Close()
	uplink, err := there.LinkByName("uplink")
	if err != nil {
		return err
	}
	err = there.LinkSetDown(uplink)
	_ = h.agent.Process.Kill()
	_ = h.pods.Process.Kill()
	return err
}

// end ends what runs on the host, in order: the agent withdraws.
func (h *host) end() {
	for _, c := range []*exec.Cmd{h.agent, h.pods} {
		if c != nil && c.Process != nil {
			_ = c.Process.Signal(syscall.SIGTERM)
			_ = c.Wait()
		}
	}
	if h.ns.IsOpen() {
		_ = h.ns.Close()
	}
}
