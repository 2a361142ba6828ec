package lab

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// interfacePoll is how often Apply looks for an interface that is not there yet: containerlab starts a node's program
// before it plugs in the links.
const interfacePoll = 20 * time.Millisecond

// Apply gives the calling process's network namespace its interfaces' addresses, settings and routes. It waits for
// interfaces that are not there yet until ctx is done, and may be applied again to the same namespace.
func (s Setup) Apply(ctx context.Context, log *slog.Logger) error {
	for _, i := range s.Interfaces {
		if err := i.wait(ctx, log); err != nil {
			return err
		}
	}
	for _, c := range s.Sysctls {
		if err := c.apply(); err != nil {
			return err
		}
	}
	for _, i := range s.Interfaces {
		if err := i.apply(); err != nil {
			return err
		}
	}
	for _, r := range s.Routes {
		if err := r.apply(); err != nil {
			return err
		}
	}
	return nil
}

func (i Interface) wait(ctx context.Context, log *slog.Logger) error {
	told := false
	for {
		_, err := netlink.LinkByName(i.Name)
		var missing netlink.LinkNotFoundError
		if !errors.As(err, &missing) {
			return err
		}
		if !told {
			log.Info("waiting for interface", "interface", i.Name)
			told = true
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interface %s never appeared: %w", i.Name, ctx.Err())
		case <-time.After(interfacePoll):
		}
	}
}

func (i Interface) apply() error {
	link, err := netlink.LinkByName(i.Name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", i.Name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("interface %s: set up: %w", i.Name, err)
	}
	for _, p := range i.Addresses {
		addr := &netlink.Addr{IPNet: netlink.NewIPNet(p.Addr().AsSlice())}
		addr.Mask = mask(p.Bits(), p.Addr().BitLen())
		if p.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD // a lab's addresses are unique by construction: usable at once
		}
		err := netlink.AddrReplace(link, addr)
		switch {
		case errors.Is(err, unix.EACCES) && p.Addr().Is6():
			return fmt.Errorf("interface %s: address %s: %w: IPv6 is off here: set net.ipv6.conf.all.disable_ipv6=0 "+
				"(docker run --sysctl)", i.Name, p, err)
		case err != nil:
			return fmt.Errorf("interface %s: address %s: %w", i.Name, p, err)
		}
	}
	return nil
}

func (r Route) apply() error {
	route := &netlink.Route{Dst: ipnet(r.To), Gw: r.Via.AsSlice(), Protocol: unix.RTPROT_STATIC}
	if r.To.Addr().Is4() && r.Via.Is6() {
		// RFC 8950's forwarding side: an IPv4 destination behind an IPv6 next hop.
		route.Gw, route.Via = nil, &netlink.Via{AddrFamily: unix.AF_INET6, Addr: r.Via.AsSlice()}
		if err := r.outInterface(route); err != nil {
			return err
		}
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("route %s via %s: %w", r.To, r.Via, err)
	}
	return nil
}

// outInterface names the interface of a next hop of the other family: the kernel does not look it up by itself.
func (r Route) outInterface(route *netlink.Route) error {
	hops, err := netlink.RouteGet(r.Via.AsSlice())
	if err != nil || len(hops) == 0 {
		return fmt.Errorf("route %s via %s: next hop is not reachable: %w", r.To, r.Via, err)
	}
	route.LinkIndex = hops[0].LinkIndex
	return nil
}

func (s Sysctl) path() string {
	return "/proc/sys/" + strings.ReplaceAll(s.Key, ".", "/")
}

func sameSetting(a, b string) bool {
	return strings.Join(strings.Fields(a), " ") == strings.Join(strings.Fields(b), " ")
}
