package bridge

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// finding is a Problem and the address family that it concerns.
type finding struct {
	Problem
	family family // 0: both
}

func (f finding) concerns(of family) bool { return f.family == 0 || f.family == of }

// facts are what the machine says about itself, as far as bridging hangs on it.
type facts struct {
	uplinks      []uplink
	forwarding6  bool // net.ipv6.conf.all.forwarding
	rpFilter     int  // net.ipv4.conf.all.rp_filter
	tunnelFilter int  // net.ipv4.conf.anyedge0.rp_filter
	looseTCP     bool // net.netfilter.nf_conntrack_tcp_loose
	earlyDemux   bool // net.ipv4.tcp_early_demux, of both families
	source       netip.Addr
	sourceState  string // what is wrong with the source: "" nothing
	underlay     int    // smallest MTU of the uplinks and of the ways to the peers
	ways         []way
	seg6         error // why the kernel cannot do SRv6
	early        map[family][]int
	firewall     firewall
}

type uplink struct {
	name         string
	exists, up   bool
	mtu          int
	forwarding4  bool // net.ipv4.conf.NAME.forwarding
	forwarding6  bool // net.ipv6.conf.NAME.force_forwarding
	acceptRA     int
	routerRoutes bool // it has routes of router advertisements
	rpFilter     int
}

// way is how the kernel would reach an address of a peer.
type way struct {
	peer, what string
	to         netip.Addr
	trouble    string // "" none
	mtu        int
	source     netip.Addr
}

// firewall is what other tables do that may stop bridged packets.
type firewall struct {
	forwardDrop   []string // base chains that drop what they are not told to forward, and speak not of our mark
	outputInvalid []string // base chains that drop what connection tracking calls invalid on its way out
	inputInvalid  []string // the same, on its way in
	kubeProxy     string   // where it is seen
	legacy        []string // iptables-legacy tables, which cannot be looked into
}

// judge names what stands in the way of bridging, in a fixed order. It is pure.
func judge(cfg Config, mode Mode, f facts) []finding {
	var all []finding
	add := func(fatal bool, of family, name, what, remedy string) {
		if of == 0 || of == family6 && (cfg.has(family6) || mode == SRv6) || of == family4 && cfg.has(family4) {
			all = append(all, finding{Problem{Name: name, What: what, Remedy: remedy, Fatal: fatal}, of})
		}
	}
	judgeUplinks(cfg, mode, f, add)
	if f.earlyDemux {
		add(false, 0, "early_demux", "the kernel looks for the sockets of TCP connections before it routes: those that a hung service still holds are not bridged, and hear silence until routing has moved", "sysctl -w net.ipv4.tcp_early_demux=0, if a service here speaks TCP")
	}
	judgeAddresses(f, add)
	judgeMTU(cfg, mode, f, add)
	judgeFirewall(mode, f.firewall, f.looseTCP, add)
	for _, of := range cfg.families() {
		for _, preference := range f.early[of] {
			add(true, of, "rules", fmt.Sprintf("a rule at preference %d sends %v packets to the local table before ours", preference, of),
				fmt.Sprintf("move it behind %d", lastPreference))
		}
	}
	return all
}

type adder func(fatal bool, of family, name, what, remedy string)

func judgeUplinks(cfg Config, mode Mode, f facts, add adder) {
	anywhere := slices.ContainsFunc(f.uplinks, func(u uplink) bool { return u.exists })
	forced := anywhere
	for _, u := range f.uplinks {
		if !u.exists {
			add(!anywhere, 0, "uplink", "uplink "+u.name+" does not exist: no packets that arrive there are bridged", "create it, or name another")
			continue
		}
		forced = forced && u.forwarding6
		if !u.up {
			add(false, 0, "uplink", "uplink "+u.name+" is down", "ip link set "+u.name+" up")
		}
		if !u.forwarding4 {
			add(true, family4, "forwarding", "uplink "+u.name+" does not forward IPv4: bridged packets would be dropped", "sysctl -w net.ipv4.conf."+dotted(u.name)+".forwarding=1")
		}
		if u.acceptRA == 1 && u.routerRoutes && f.forwarding6 {
			add(false, 0, "accept_ra", "uplink "+u.name+" has routes of router advertisements, and no longer hears them since this host forwards", "sysctl -w net.ipv6.conf."+dotted(u.name)+".accept_ra=2")
		}
		if strict := max(u.rpFilter, f.rpFilter) == 1; strict && mode == SRv6 && len(cfg.Uplinks) > 1 {
			add(false, family4, "rp_filter", "uplink "+u.name+" accepts IPv4 packets only where the way back leads: clients that another uplink serves are lost when peers bridge them to here", "sysctl -w net.ipv4.conf."+dotted(u.name)+".rp_filter=2")
		}
	}
	if !f.forwarding6 && !forced {
		add(true, family6, "forwarding", "this host does not forward IPv6: bridged packets would be dropped", "sysctl -w net.ipv6.conf.all.forwarding=1")
		if mode == SRv6 {
			add(true, family4, "forwarding", "this host does not forward IPv6, in which SRv6 carries IPv4", "sysctl -w net.ipv6.conf.all.forwarding=1")
		}
	}
	if strict := max(f.tunnelFilter, f.rpFilter) == 1; strict {
		add(false, family4, "rp_filter", "interface "+device+" accepts IPv4 packets only where the way back leads: what peers bridge to here by VXLAN is lost", "sysctl -w net.ipv4.conf."+device+".rp_filter=2")
	}
}

func judgeAddresses(f facts, add adder) {
	if f.sourceState != "" {
		add(true, 0, "source", fmt.Sprintf("source %v %s", f.source, f.sourceState), "name a unicast address of this host")
	}
	for _, w := range f.ways {
		if w.trouble != "" {
			add(false, 0, "route", fmt.Sprintf("%s %v of peer %s %s", w.what, w.to, w.peer, w.trouble), "have the network route it to that host alone")
		}
	}
}

func judgeMTU(cfg Config, mode Mode, f facts, add adder) {
	const least = 1280 // RFC 8200: of every IPv6 link
	inside := f.underlay - overheadVXLAN(f.source)
	if mode == SRv6 {
		inside = f.underlay - overheadSRv6
	}
	switch {
	case f.underlay == 0:
	case inside < least:
		add(true, family6, "mtu", fmt.Sprintf("an underlay of MTU %d leaves %d bytes in the tunnel", f.underlay, inside), fmt.Sprintf("raise it to %d at least", least+f.underlay-inside))
	case mode == SRv6 && inside < clientMTU:
		add(false, 0, "mtu", fmt.Sprintf("an underlay of MTU %d leaves %d bytes in SRv6: clients' bigger packets vanish without a word", f.underlay, inside), "raise it to 1540, or take mode vxlan")
	}
	if mode == SRv6 {
		for _, w := range f.ways {
			if w.what != "source" && w.mtu != 0 && w.mtu < clientMTU+overheadSRv6 && w.mtu < f.underlay {
				add(false, 0, "mtu", fmt.Sprintf("the way to %s %v of peer %s has an MTU of %d: clients' bigger packets vanish without a word", w.what, w.to, w.peer, w.mtu), "raise it to 1540, or take mode vxlan")
			}
		}
	}
	if f.seg6 != nil && (cfg.SID.IsValid() || cfg.SID4.IsValid()) {
		add(mode == SRv6, 0, "seg6", "the kernel has no SRv6, so what peers send to the segments of this host is lost: "+f.seg6.Error(), "take a kernel with CONFIG_IPV6_SEG6_LWTUNNEL (6.0), or configure no segments")
	}
}

func judgeFirewall(mode Mode, w firewall, looseTCP bool, add adder) {
	for _, chain := range w.forwardDrop {
		add(false, 0, "firewall", "chain "+chain+" drops what it is not told to forward, bridged packets for instance", fmt.Sprintf("accept mark %#x there", uint32(markBridged)))
	}
	for _, chain := range w.outputInvalid {
		add(false, 0, "conntrack", "chain "+chain+" drops what connection tracking calls invalid: answers to packets that peers bridge to here by SRv6, which it has not seen", "accept what comes from the VIPs before that rule")
	}
	if !looseTCP {
		for _, chain := range w.inputInvalid {
			add(false, 0, "conntrack", "chain "+chain+" drops what connection tracking calls invalid, and it calls so connections that it has not seen from the start: clients whose connection died with another host hear silence instead of a reset", "sysctl -w net.netfilter.nf_conntrack_tcp_loose=1")
		}
	}
	if w.kubeProxy != "" && mode == SRv6 {
		add(false, 0, "kube-proxy", "kube-proxy is at work here ("+w.kubeProxy+"): a VIP that is the address of a Kubernetes service cannot be bridged to here by SRv6, which reaches local sockets alone", "take mode vxlan on all hosts, or serve the VIP on the host's network")
	}
	if len(w.legacy) > 0 {
		add(false, 0, "iptables", "iptables-legacy tables are in use ("+strings.Join(w.legacy, ", ")+") and cannot be looked into", fmt.Sprintf("see that FORWARD accepts mark %#x", uint32(markBridged)))
	}
}

// dotted writes an interface's name as sysctl(8) wants it.
func dotted(name string) string { return strings.ReplaceAll(name, ".", "/") }

// check looks at the preconditions anew.
func (b *Bridge) check() {
	f := b.kernel.observe(b.cfg)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.plan == nil {
		return
	}
	if !b.plan.seg6 {
		f.seg6 = b.kernel.decapsulates(b.plan.index)
	}
	f.look(b.cfg, b.plan.mode, b.filter)
	b.judge(b.plan.mode, f)
}

// judge keeps what was found and logs what is new.
func (b *Bridge) judge(mode Mode, f facts) {
	findings := judge(b.cfg, mode, f)
	for _, now := range findings {
		if !slices.Contains(b.findings, now) {
			b.log.Warn("precondition of bridging not met", "name", now.Name, "what", now.What, "remedy", now.Remedy, "fatal", now.Fatal)
		}
	}
	b.findings = findings
}
