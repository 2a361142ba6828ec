// Package vip owns service addresses on a host's interface: it adds, lists and removes those that are ours, and never
// touches an address that somebody else put there.
package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// mark is the address protocol (IFA_PROTO) that tells our addresses from all others, also after the process that added
// them is gone. The kernel itself uses 1 to 3, the rest is free; "ip address show" prints it as "proto 0xae".
const mark = 0xae

// settleTimeout bounds the wait for a work queue of the kernel, which takes microseconds on an idle machine.
const settleTimeout = 5 * time.Second

// Addresses are the service addresses on one interface. Safe for concurrent use.
type Addresses struct {
	log   *slog.Logger
	iface string

	mu       sync.Mutex          // guards the fields below, and makes Set atomic to other callers
	unmarked map[netip.Addr]bool // added by this process on a kernel that keeps no mark
	told     map[netip.Addr]bool // foreign addresses that were logged
}

// New returns the service addresses of an interface, normally "lo", in the network namespace of the caller; it changes
// nothing. Addresses that an earlier process of ours left there, perhaps killed, are ours again: the first Set keeps or
// removes them. So only one process at a time may own an interface's service addresses.
//
// It needs CAP_NET_ADMIN over the network namespace and no other capability. It fails when the interface does not exist
// or the capability is missing. Linux before 5.18 keeps no mark on an address (IFA_PROTO): there only what this very
// process added is known as ours, and Set logs a warning that says so.
func New(log *slog.Logger, iface string) (*Addresses, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	a := &Addresses{
		log:      log.With("interface", iface),
		iface:    iface,
		unmarked: make(map[netip.Addr]bool),
		told:     make(map[netip.Addr]bool),
	}
	if _, err := a.link(); err != nil {
		return nil, err
	}
	if err := permitted(); err != nil {
		return nil, fmt.Errorf("vip: addresses on %s: %w", iface, err)
	}
	return a, nil
}

// link looks the interface up anew each time: one that was deleted and made again has another index.
func (a *Addresses) link() (*netlink.LinkAttrs, error) {
	link, err := netlink.LinkByName(a.iface)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, fmt.Errorf("vip: interface %s: does not exist here: name another or create it (ip link add)", a.iface)
	}
	if err != nil {
		return nil, fmt.Errorf("vip: interface %s: %w", a.iface, err)
	}
	return link.Attrs(), nil
}

// List returns the addresses on the interface that are ours, in ascending order.
func (a *Addresses) List() ([]netip.Prefix, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	link, err := a.link()
	if err != nil {
		return nil, err
	}
	present, err := a.read(link.Index)
	if err != nil {
		return nil, err
	}
	return prefixes(ours(present)), nil
}

// Set makes the wanted addresses, each a /32 or /128, the whole set of ours on the interface: it adds what lacks, then
// removes ours that are not wanted, then reads all back. An address that was there before, without our mark, is used but
// never removed. Nothing is touched when a wanted address is not valid. When some of it fails the rest is still done, and
// the error names each address and the remedy: in its tree every error that is about one address alone has a method
// Address() netip.Prefix. Set may be called again to retry, and again after success: it then
// changes nothing.
//
// The kernel does not choose a service address as the source of what the host itself starts: the answer could reach
// another site. IPv6 addresses have preferred lifetime 0 (deprecated, RFC 6724 rule 3), so another global address is
// preferred, if the host has one that passed duplicate detection. IPv4 knows no such preference: there the address has
// scope host, and is left out when a source is chosen for anything beyond the host, even where the uplink has no IPv4
// address. Receiving, and answering from a socket bound to the address, depend on neither.
func (a *Addresses) Set(ctx context.Context, wanted ...netip.Prefix) error {
	if err := validate(wanted); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	link, err := a.link()
	if err != nil {
		return err
	}
	present, err := a.read(link.Index)
	if err != nil {
		return err
	}
	p := diff(wanted, present)
	a.tellForeign(p.foreign)
	added, err := a.add(ctx, link.Index, p.add)
	err = errors.Join(err, a.remove(ctx, link.Index, p.remove))
	err = errors.Join(err, a.verify(link, wanted, added, err == nil))
	if link.Flags&net.FlagUp != 0 {
		err = errors.Join(err, a.settle(ctx, added))
	}
	return err
}

// settle waits until the kernel delivers to the IPv6 addresses that were added: it lists them at once, but inserts their
// local routes a moment later, from a work queue. Until then a packet to such an address finds no way.
func (a *Addresses) settle(ctx context.Context, added []netip.Prefix) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for _, p := range added {
		for p.Addr().Is6() && !delivered(p.Addr()) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("vip: %v was added to %s but has no local route: %w", p, a.iface, ctx.Err())
			case <-time.After(time.Millisecond):
			}
		}
	}
	return nil
}

// delivered tells whether the kernel takes packets to addr for its own.
func delivered(addr netip.Addr) bool {
	routes, err := netlink.RouteGet(addr.AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

// add adds all that can be added and returns what it added.
func (a *Addresses) add(ctx context.Context, index int, lacking []netip.Prefix) (added []netip.Prefix, _ error) {
	var errs []error
	for _, p := range lacking {
		err := ctx.Err()
		if err == nil {
			err = request(addRequest(index, p))
		}
		switch {
		case err == nil:
			added = append(added, p)
		case errors.Is(err, unix.EEXIST): // somebody was faster: it is theirs, and there
		default:
			errs = append(errs, addressError{p, fmt.Errorf("vip: add %v to %s: %w", p, a.iface, a.remedy(p, err))})
		}
	}
	return added, errors.Join(errs...)
}

// remove removes all that can be removed.
func (a *Addresses) remove(ctx context.Context, index int, unwanted []address) error {
	var errs []error
	for _, addr := range unwanted {
		err := ctx.Err()
		if err == nil {
			err = request(deleteRequest(index, addr.prefix))
		}
		// EADDRNOTAVAIL: it is gone already.
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, addressError{addr.prefix, fmt.Errorf("vip: remove %v from %s: %w", addr.prefix, a.iface, a.remedy(addr.prefix, err))})
			continue
		}
		delete(a.unmarked, addr.prefix.Addr())
	}
	return errors.Join(errs...)
}

// verify reads back what the kernel has now. Complete tells that every change went through, so anything that lacks is news.
func (a *Addresses) verify(link *netlink.LinkAttrs, wanted, added []netip.Prefix, complete bool) error {
	present, err := a.read(link.Index)
	if err != nil {
		return err
	}
	a.learnUnmarked(present, added)
	var errs []error
	for _, p := range wanted {
		got, ok := find(present, p.Addr())
		switch {
		case !ok && complete:
			errs = append(errs, addressError{p, fmt.Errorf("vip: %v is not on %s although it was added: another program removes it", p, a.iface)})
		case ok && got.flags&unix.IFA_F_DADFAILED != 0:
			errs = append(errs, addressError{p, fmt.Errorf("vip: %v on %s is a duplicate on its link: remove it there", p, a.iface)})
		}
	}
	if len(wanted) > 0 && link.Flags&net.FlagUp == 0 {
		errs = append(errs, fmt.Errorf("vip: interface %s is down, its addresses do not work: ip link set %[1]s up", a.iface))
	}
	return errors.Join(errs...)
}

// learnUnmarked remembers what this process added where the kernel did not keep the mark.
func (a *Addresses) learnUnmarked(present []address, added []netip.Prefix) {
	for _, p := range added {
		got, ok := find(present, p.Addr())
		if !ok || got.protocol == mark {
			continue
		}
		a.unmarked[p.Addr()] = true
		a.log.Warn("the kernel keeps no mark on an address (IFA_PROTO, Linux 5.18): "+
			"if this process is killed, remove it by hand", "address", p)
	}
}

// read lists the addresses of the interface, marking those that are ours though the kernel does not say so.
func (a *Addresses) read(index int) ([]address, error) {
	present, err := list(index)
	if err != nil {
		return nil, fmt.Errorf("vip: list addresses of %s: %w", a.iface, err)
	}
	for i := range present {
		present[i].ours = present[i].protocol == mark || a.unmarked[present[i].prefix.Addr()]
	}
	return present, nil
}

func (a *Addresses) tellForeign(foreign []address) {
	for _, f := range foreign {
		if addr := f.prefix.Addr(); !a.told[addr] {
			a.told[addr] = true
			a.log.Info("address was there before: used, and left there", "address", f.prefix)
		}
	}
}

// remedy says what a person can do about the kernel's answer.
func (a *Addresses) remedy(p netip.Prefix, err error) error {
	switch {
	case errors.Is(err, unix.EPERM):
		return denied(err)
	case errors.Is(err, unix.EACCES) && p.Addr().Is6():
		return fmt.Errorf("%w: IPv6 is off there: sysctl net.ipv6.conf.%s.disable_ipv6=0", err, a.iface)
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: the kernel runs without this address family", err)
	default:
		return err
	}
}

func denied(err error) error {
	return fmt.Errorf("%w: needs CAP_NET_ADMIN: run as root, or grant it (systemd: AmbientCapabilities=CAP_NET_ADMIN)", err)
}
