package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// kernel is what the host's network stack is asked and told. Its sockets stay open.
type kernel struct {
	*netlink.Handle
	dumps *netlink.Handle // strict: the kernel lists one table instead of all, which may hold a million routes
}

func newKernel() (*kernel, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("bridge: rtnetlink: %w", err)
	}
	dumps, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err == nil {
		err = dumps.SetStrictCheck(true)
	}
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("bridge: rtnetlink: %w", err)
	}
	return &kernel{Handle: h, dumps: dumps}, nil
}

func (k *kernel) close() {
	k.Close()
	k.dumps.Close()
}

// permitted asks the kernel to delete a rule that is not there: it looks at the rights first.
func (k *kernel) permitted() error {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.Protocol = unix.AF_INET6, 32000, tableSIDs, protocol
	if err := k.RuleDel(r); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("bridge: %w: needs CAP_NET_ADMIN: run as root, or grant it (systemd: AmbientCapabilities=CAP_NET_ADMIN)", err)
	}
	return nil
}

// tunnel returns the tunnel device, which it makes, or makes anew, where it is not as the plan wants it.
func (k *kernel) tunnel(cfg Config, source netip.Addr, mtu int) (index int, err error) {
	want := &netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: device, MTU: mtu, HardwareAddr: hardwareAddr(source), TxQLen: -1},
		VxlanId:   int(cfg.VNI), SrcAddr: source.AsSlice(), Port: vxlanPort,
	}
	have, err := k.LinkByName(device)
	switch {
	case errors.As(err, new(netlink.LinkNotFoundError)):
	case err != nil:
		return 0, fmt.Errorf("interface %s: %w", device, err)
	case sameTunnel(have, want):
		return have.Attrs().Index, k.mtu(have, mtu)
	case have.Type() != want.Type():
		return 0, fmt.Errorf("interface %s is not ours, it is a %s: rename it (ip link set %[1]s name OTHER)", device, have.Type())
	default:
		if err := k.LinkDel(have); err != nil {
			return 0, fmt.Errorf("remove interface %s of an earlier configuration: %w", device, err)
		}
	}
	if err := k.LinkAdd(want); err != nil {
		return 0, fmt.Errorf("add interface %s: %w: needs a kernel with VXLAN (modprobe vxlan), and UDP port %d for VXLAN alone", device, err, vxlanPort)
	}
	link, err := k.LinkByName(device)
	if err == nil {
		err = errors.Join(k.quieten(link), k.LinkSetUp(link))
	}
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", device, err)
	}
	return link.Attrs().Index, nil
}

func sameTunnel(have netlink.Link, want *netlink.Vxlan) bool {
	v, ok := have.(*netlink.Vxlan)
	return ok && v.VxlanId == want.VxlanId && v.Port == want.Port && !v.Learning && v.SrcAddr.Equal(want.SrcAddr) &&
		slices.Equal(v.HardwareAddr, want.HardwareAddr) && v.Flags&net.FlagUp != 0
}

// removeTunnel removes the tunnel device, if it is there and ours.
func (k *kernel) removeTunnel() error {
	have, err := k.LinkByName(device)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil
	}
	if err == nil && have.Type() == new(netlink.Vxlan).Type() {
		err = k.LinkDel(have)
	}
	if err != nil {
		return fmt.Errorf("bridge: remove interface %s: %w", device, err)
	}
	return nil
}

func (k *kernel) mtu(link netlink.Link, mtu int) error {
	if link.Attrs().MTU == mtu {
		return nil
	}
	return k.LinkSetMTU(link, mtu)
}

// quieten sets up our own device: no IPv6 address, so no chatter; and IPv4 sources are looked at only loosely, since
// clients' packets come out of it that would never be routed back into it.
func (k *kernel) quieten(link netlink.Link) error {
	const none = 1 // IN6_ADDR_GEN_MODE_NONE
	if err := k.LinkSetIP6AddrGenMode(link, none); err != nil {
		return err
	}
	// What cannot be written, as in a container, is checked: see judgeUplinks.
	_ = os.WriteFile(sysctlPath("ipv4", "conf", device, "rp_filter"), []byte("2"), 0)
	// Without any address on an interface even the loose check refuses all packets: the dummy address of RFC 7600 will do.
	// Scope host keeps it from being chosen as a source.
	return k.AddrReplace(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("192.0.0.8/32")), Scope: unix.RT_SCOPE_HOST})
}

// neighbors tells the tunnel device where all peers are.
func (k *kernel) neighbors(p plan) error {
	for _, peer := range p.cfg.Peers {
		mac := hardwareAddr(peer.Source)
		neighbor := &netlink.Neigh{LinkIndex: p.index, Family: unix.AF_INET6, State: netlink.NUD_PERMANENT, IP: gateway(peer.Source).AsSlice(), HardwareAddr: mac}
		forward := &netlink.Neigh{LinkIndex: p.index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF, IP: peer.Source.AsSlice(), HardwareAddr: mac}
		if err := errors.Join(k.NeighSet(neighbor), k.NeighSet(forward)); err != nil {
			return fmt.Errorf("peer %s: neighbor on %s: %w", peer.Name, device, err)
		}
	}
	return nil
}

// ours lists the routes of ours in a table.
func (k *kernel) ours(f family, table int) ([]netlink.Route, error) {
	const attempts = 10 // a change while the kernel lists may hide a route: ask again
	filter := &netlink.Route{Table: table, Protocol: protocol}
	for range attempts {
		list, err := k.dumps.RouteListFiltered(int(f), filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
		switch {
		case errors.Is(err, netlink.ErrDumpInterrupted):
			continue
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EAFNOSUPPORT): // no such table, no such family
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("list %v table %d: %w", f, table, err)
		}
		return list, nil
	}
	return nil, fmt.Errorf("list %v table %d: %w, %d times", f, table, netlink.ErrDumpInterrupted, attempts)
}

// route identifies a route: the kernel keeps one for each.
type route struct {
	table, priority int
	dst             netip.Prefix
}

func identity(r netlink.Route) route {
	dst, _ := netip.AddrFromSlice(r.Dst.IP)
	ones, _ := r.Dst.Mask.Size()
	dst = dst.Unmap() // package netlink writes 0.0.0.0 in 16 bytes
	id := route{r.Table, r.Priority, netip.PrefixFrom(dst, ones)}
	if dst.Is6() && id.priority == 0 {
		id.priority = 1024 // IP6_RT_PRIO_USER, where none is given
	}
	return id
}

// routes makes the plan's the only routes of ours in the tables that it speaks of, but for the bridges.
func (k *kernel) routes(p plan) error {
	wanted := make(map[route]bool)
	for _, r := range p.routes() {
		if err := k.RouteReplace(&r); err != nil {
			return fmt.Errorf("route %v in table %d: %w", r.Dst, r.Table, err)
		}
		wanted[identity(r)] = true
	}
	tables := []int{tableVIPs, tableSIDs}
	for i := range p.cfg.Peers {
		tables = append(tables, tablePeers+i)
	}
	for _, table := range tables {
		if err := k.flush(table, func(r netlink.Route) bool { return wanted[identity(r)] }); err != nil {
			return err
		}
	}
	return nil
}

// flush removes the routes of ours in a table but for those to keep.
func (k *kernel) flush(table int, keep func(netlink.Route) bool) error {
	for _, f := range [...]family{family6, family4} {
		list, err := k.ours(f, table)
		if err != nil {
			return err
		}
		for _, r := range list {
			if keep(r) {
				continue
			}
			gone := &netlink.Route{Dst: r.Dst, Table: table, Protocol: protocol, Priority: r.Priority, Type: r.Type, Scope: netlink.SCOPE_NOWHERE}
			if err := k.RouteDel(gone); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("remove route %v from table %d: %w", r.Dst, table, err)
			}
		}
	}
	return nil
}

func nothing(netlink.Route) bool { return false }

// decapsulates tells whether this kernel can do SRv6 as we need it, by adding and removing routes that nobody asks for.
func (k *kernel) decapsulates(index int) error {
	const tableTrial = tablePeers - 1
	nowhere := netip.MustParsePrefix("100::/128") // RFC 6666
	segment := nowhere.Addr().AsSlice()
	p := plan{index: index}
	sends := p.route(tableTrial, nowhere, func(r *netlink.Route) {
		r.LinkIndex, r.Encap = index, &netlink.SEG6Encap{Mode: encapReduced, Segments: []net.IP{segment}}
	})
	receives := plan{index: index, seg6: true, cfg: Config{SID: nowhere.Addr()}}.routes()[0]
	receives.Table = tableTrial
	for _, r := range []netlink.Route{sends, receives} {
		if err := k.RouteReplace(&r); err != nil {
			return err
		}
	}
	return k.flush(tableTrial, nothing)
}

func sysctlPath(name ...string) string {
	return filepath.Join(append([]string{"/proc/sys/net"}, name...)...)
}

// sysctl reads a number; ok is false where the kernel has none by that name.
func sysctl(name ...string) (value int, ok bool) {
	b, err := os.ReadFile(sysctlPath(name...))
	if err != nil {
		return 0, false
	}
	value, err = strconv.Atoi(strings.TrimSpace(string(b)))
	return value, err == nil
}
