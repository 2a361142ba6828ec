package bridge

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// observe asks the machine, but for its firewall and its SRv6.
func (k *kernel) observe(cfg Config) facts {
	var f facts
	all, _ := sysctl("ipv6", "conf", "all", "forwarding")
	f.forwarding6 = all != 0
	f.rpFilter, _ = sysctl("ipv4", "conf", "all", "rp_filter")
	f.tunnelFilter, _ = sysctl("ipv4", "conf", device, "rp_filter")
	loose, known := sysctl("netfilter", "nf_conntrack_tcp_loose")
	f.looseTCP = loose != 0 || !known
	early, _ := sysctl("ipv4", "tcp_early_demux")
	f.earlyDemux = early != 0
	for _, name := range cfg.Uplinks {
		u := k.uplink(name)
		f.uplinks = append(f.uplinks, u)
		f.narrow(u.mtu)
	}
	for _, p := range cfg.Peers {
		for _, to := range []way{{what: "sid", to: p.SID}, {what: "sid4", to: p.SID4}, {what: "source", to: p.Source}} {
			if to.to.IsValid() {
				to.peer = p.Name
				k.way(&to)
				f.ways = append(f.ways, to)
			}
		}
	}
	f.chooseSource(cfg)
	f.sourceState = k.sourceState(cfg, f.source)
	f.early = make(map[family][]int)
	for _, fam := range cfg.families() {
		rules, _ := k.list(fam)
		for _, r := range rules {
			if forLocal(r) && r.Priority > 0 && r.Priority <= lastPreference {
				f.early[fam] = append(f.early[fam], r.Priority)
			}
		}
	}
	return f
}

// narrow notes the MTU of a part of the underlay.
func (f *facts) narrow(mtu int) {
	if mtu > 0 && (f.underlay == 0 || mtu < f.underlay) {
		f.underlay = mtu
	}
}

// chooseSource takes the configured one, else what the kernel chooses towards the first peer that it can reach.
func (f *facts) chooseSource(cfg Config) {
	f.source = cfg.Source
	for _, w := range f.ways {
		if w.what != "source" || w.trouble != "" {
			continue
		}
		f.narrow(w.mtu)
		if !f.source.IsValid() {
			f.source = w.source
		}
	}
}

func (k *kernel) uplink(name string) uplink {
	u := uplink{name: name}
	link, err := k.LinkByName(name)
	if err != nil {
		return u
	}
	u.exists, u.up, u.mtu = true, link.Attrs().Flags&net.FlagUp != 0, link.Attrs().MTU
	forwarding, _ := sysctl("ipv4", "conf", name, "forwarding")
	forced, _ := sysctl("ipv6", "conf", name, "force_forwarding")
	u.forwarding4, u.forwarding6 = forwarding != 0, forced != 0
	u.acceptRA, _ = sysctl("ipv6", "conf", name, "accept_ra")
	u.rpFilter, _ = sysctl("ipv4", "conf", name, "rp_filter")
	advertised := &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: unix.RTPROT_RA, Table: unix.RT_TABLE_MAIN}
	routes, _ := k.dumps.RouteListFiltered(unix.AF_INET6, advertised, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	u.routerRoutes = len(routes) > 0
	return u
}

// way asks how the kernel would send to an address of a peer.
func (k *kernel) way(w *way) {
	routes, err := k.RouteGet(w.to.AsSlice())
	if err != nil || len(routes) == 0 {
		w.trouble = "cannot be reached from here: no route"
		return
	}
	r := routes[0]
	w.source, _ = netip.AddrFromSlice(r.Src)
	link, err := k.LinkByIndex(r.LinkIndex)
	switch {
	case r.Type == unix.RTN_LOCAL:
		w.trouble = "is an address of this very host"
	case r.Type != unix.RTN_UNICAST:
		w.trouble = "cannot be reached from here: its route says so"
	case err == nil && link.Attrs().Name == device:
		w.trouble = "would be reached through the tunnel to itself"
	case err == nil:
		w.mtu = link.Attrs().MTU
	}
	if r.MTU > 0 && (w.mtu == 0 || r.MTU < w.mtu) { // of the route, or learned from packet-too-big
		w.mtu = r.MTU
	}
}

// sourceState tells what is wrong with the outer source.
func (k *kernel) sourceState(cfg Config, source netip.Addr) string {
	if !source.IsValid() {
		return ""
	}
	if slices.Contains(cfg.VIPs, single(source)) {
		return "is a VIP: answers would reach another host"
	}
	list, err := k.AddrList(nil, int(familyOf(source)))
	if err != nil {
		return ""
	}
	for _, a := range list {
		if addr, _ := netip.AddrFromSlice(a.IP); addr.Unmap() != source {
			continue
		}
		switch {
		case a.Flags&unix.IFA_F_DADFAILED != 0:
			return "is a duplicate on its link"
		case a.Flags&unix.IFA_F_TENTATIVE != 0:
			return "is not usable yet: duplicate detection runs"
		}
		return ""
	}
	return "is no address of this host"
}

// look asks the machine about its firewall: as far as nftables shows it, base chains without what they jump to.
func (f *facts) look(cfg Config, mode Mode, nft *filter) {
	nft.readMu.Lock()
	defer nft.readMu.Unlock()
	f.firewall = firewall{legacy: legacyTables()}
	chains, err := nft.reader.ListChains()
	if err != nil {
		return
	}
	for _, c := range chains {
		if c.Table.Name == filterName {
			continue
		}
		if c.Name == "KUBE-SERVICES" || c.Table.Name == "kube-proxy" {
			f.firewall.kubeProxy = "nft table " + c.Table.Name
		}
		if c.Hooknum != nil && c.Type == nftables.ChainTypeFilter && concernsTunnel(cfg, mode, c.Table.Family) {
			f.firewall.inspect(c, nft.reader)
		}
	}
}

// concernsTunnel tells whether packets in the tunnel pass chains of a family: SRv6 is IPv6 also where it carries IPv4.
func concernsTunnel(cfg Config, mode Mode, fam nftables.TableFamily) bool {
	switch fam {
	case nftables.TableFamilyINet:
		return true
	case nftables.TableFamilyIPv6:
		return cfg.has(family6) || mode == SRv6
	case nftables.TableFamilyIPv4:
		return cfg.has(family4)
	}
	return false
}

func (w *firewall) inspect(c *nftables.Chain, conn *nftables.Conn) {
	hook := *c.Hooknum
	forward, output, input := hook == *nftables.ChainHookForward, hook == *nftables.ChainHookOutput, hook == *nftables.ChainHookInput
	if !forward && !output && !input {
		return
	}
	rules, err := conn.GetRules(c.Table, c)
	if err != nil {
		return
	}
	name := familyName(c.Table.Family) + " " + c.Table.Name + " " + c.Name
	switch {
	case forward && c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop && !slices.ContainsFunc(rules, speaksOfMark):
		w.forwardDrop = append(w.forwardDrop, name)
	case output && slices.ContainsFunc(rules, dropsInvalid):
		w.outputInvalid = append(w.outputInvalid, name)
	case input && slices.ContainsFunc(rules, dropsInvalid):
		w.inputInvalid = append(w.inputInvalid, name)
	}
}

func familyName(f nftables.TableFamily) string {
	switch f {
	case nftables.TableFamilyIPv6:
		return "ip6"
	case nftables.TableFamilyIPv4:
		return "ip"
	}
	return "inet"
}

// speaksOfMark tells whether a rule compares something with the mark of bridged packets, as nft or iptables write it.
func speaksOfMark(r *nftables.Rule) bool {
	mark := native(markBridged)
	return slices.ContainsFunc(r.Exprs, func(e expr.Any) bool {
		switch e := e.(type) {
		case *expr.Cmp:
			return slices.Equal(e.Data, mark)
		case *expr.Match:
			raw, ok := e.Info.(*xt.Unknown)
			return ok && e.Name == "mark" && len(*raw) >= 4 && slices.Equal((*raw)[:4], mark)
		}
		return false
	})
}

// dropsInvalid tells whether a rule drops packets of connection tracking state invalid, as nft or iptables write it.
func dropsInvalid(r *nftables.Rule) bool {
	tracked, invalid := false, false
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Ct:
			tracked = e.Key == expr.CtKeySTATE
		case *expr.Bitwise:
			invalid = invalid || tracked && len(e.Mask) == 4 && binary.NativeEndian.Uint32(e.Mask)&expr.CtStateBitINVALID != 0
		case *expr.Match:
			invalid = invalid || matchesInvalid(e.Info)
		case *expr.Verdict:
			return invalid && e.Kind == expr.VerdictDrop
		}
	}
	return false
}

func matchesInvalid(info any) bool {
	const invalid = 1 // XT_CONNTRACK_STATE_INVALID
	switch m := info.(type) {
	case *xt.ConntrackMtinfo2:
		return m.StateMask&invalid != 0
	case *xt.ConntrackMtinfo3:
		return m.StateMask&invalid != 0
	}
	return false
}

// legacyTables lists the tables of iptables-legacy in this network namespace, where it may.
func legacyTables() []string {
	var all []string
	for _, file := range []string{"ip_tables_names", "ip6_tables_names"} {
		b, err := os.ReadFile("/proc/net/" + file)
		if err != nil { // no such kernel module, or no right to look
			continue
		}
		for _, table := range strings.Fields(string(b)) {
			all = append(all, strings.TrimSuffix(file, "_names")+" "+table)
		}
	}
	return all
}
