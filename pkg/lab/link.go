package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// A cable joins two interfaces of nodes. An ideal one is one veth pair. Else the kernel's netem delays and drops
// frames where it can; else each end is a veth pair whose far side lies in the lab's own namespace, and a wire
// carries frames between the two far sides.
type cable struct {
	link Link
	wire *wire
	ends [2]string // names of the far sides in the lab's namespace, when wire is set
}

// plug makes the interfaces of one link. n numbers it within the lab. The calling process's namespace is the lab's own.
func plug(n int, l Link, nodes map[string]namespace, netem bool) (*cable, error) {
	c := &cable{link: l}
	err := onThread(func() error {
		if l.ideal() || netem {
			return c.direct(n, nodes)
		}
		return c.delayed(n, nodes)
	})
	if err == nil && netem && !l.ideal() {
		err = errors.Join(hold(nodes[l.A.Node], l.A.Interface, l), hold(nodes[l.B.Node], l.B.Interface, l))
	}
	if err != nil {
		return nil, fmt.Errorf("link %s - %s: %w", l.A, l.B, err)
	}
	return c, nil
}

// String returns "node:interface".
func (e Endpoint) String() string { return e.Node + ":" + e.Interface }

func (c *cable) direct(n int, nodes map[string]namespace) error {
	a, b := fmt.Sprintf("a%d", n), fmt.Sprintf("b%d", n)
	if err := veth(a, b, c.link.MTU); err != nil {
		return err
	}
	return errors.Join(hand(a, c.link.A, nodes), hand(b, c.link.B, nodes))
}

func (c *cable) delayed(n int, nodes map[string]namespace) error {
	var index [2]int
	for i, end := range []Endpoint{c.link.A, c.link.B} {
		near, far := fmt.Sprintf("n%d.%d", n, i), fmt.Sprintf("w%d.%d", n, i)
		if err := veth(near, far, c.link.MTU); err != nil {
			return err
		}
		side, err := netlink.LinkByName(far)
		if err != nil {
			return err
		}
		if err := (Sysctl{Key: "net.ipv6.conf.default.disable_ipv6", Value: "0"}).apply(); err != nil {
			return err
		}
		if err := netlink.LinkSetUp(side); err != nil {
			return err
		}
		if err := hand(near, end, nodes); err != nil {
			return err
		}
		c.ends[i], index[i] = far, side.Attrs().Index
	}
	var err error
	c.wire, err = newWire(index[0], index[1], c.link)
	return err
}

// veth makes a pair; mtu 0 leaves it to the kernel.
func veth(a, b string, mtu int) error {
	return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: a, MTU: mtu}, PeerName: b, PeerMTU: uint32(mtu)})
}

// hand moves an interface into its node under its own name, and sets it up.
func hand(name string, to Endpoint, nodes map[string]namespace) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	ns := nodes[to.Node]
	if err := netlink.LinkSetNsFd(link, int(ns.handle)); err != nil {
		return err
	}
	return ns.do(func() error {
		if err := netlink.LinkSetName(link, to.Interface); err != nil {
			return err
		}
		link, err := netlink.LinkByName(to.Interface)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	})
}

// hold makes netem treat each frame that leaves the interface as the link does.
func hold(ns namespace, name string, l Link) error {
	return ns.do(func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.QdiscAdd(lineQdisc(link, l))
	})
}

func lineQdisc(link netlink.Link, l Link) netlink.Qdisc {
	attrs := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	return netlink.NewNetem(attrs, netlink.NetemQdiscAttrs{
		Latency: uint32(l.Delay.Microseconds()), Jitter: uint32(l.Jitter.Microseconds()), Loss: float32(l.Loss * 100),
		Limit: 100_000,
	})
}

// haveNetem tells whether the kernel can delay by itself, by trying it on lo of the lab's own namespace.
func haveNetem() bool {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return false
	}
	q := lineQdisc(lo, Link{Delay: time.Millisecond})
	if netlink.QdiscAdd(q) != nil {
		return false
	}
	return netlink.QdiscDel(q) == nil
}

// carry runs the wires, and passes a lost carrier on: a link whose one side goes down is down on the other, as on a
// real cable and on a veth pair.
func carry(ctx context.Context, cables []*cable) error {
	g, ctx := errgroup.WithContext(ctx)
	far := map[string]string{}
	for _, c := range cables {
		if c.wire != nil {
			g.Go(func() error { return c.wire.run(ctx) })
			far[c.ends[0]], far[c.ends[1]] = c.ends[1], c.ends[0]
		}
	}
	g.Go(func() error { return passCarrier(ctx, far) })
	return g.Wait()
}

// passCarrier sets one end of a wire down while the other, itself up, has no carrier.
func passCarrier(ctx context.Context, far map[string]string) error {
	updates := make(chan netlink.LinkUpdate, 64)
	err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{ListExisting: true})
	if err != nil {
		return fmt.Errorf("watch carrier: %w", err)
	}
	for u := range updates {
		peer, ours := far[u.Attrs().Name]
		if !ours || u.Attrs().RawFlags&unix.IFF_UP == 0 {
			continue
		}
		set := netlink.LinkSetUp
		if u.Attrs().RawFlags&unix.IFF_LOWER_UP == 0 {
			set = netlink.LinkSetDown
		}
		if link, err := netlink.LinkByName(peer); err == nil {
			_ = set(link)
		}
	}
	return nil
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: mask(p.Bits(), p.Addr().BitLen())}
}

func mask(bits, length int) net.IPMask { return net.CIDRMask(bits, length) }
