package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	filterName   = "anyedge" // of the table
	filterChains = 4
	elementBatch = 500 // elements per message: its attributes have 16-bit lengths
)

// filter is the nft table. In the raw hook, ahead of connection tracking and of whatever rewrites addresses, it marks
// the tunnel packets of configured outer sources to the VIPs - the only ones that the rules decapsulate, so that without
// the table nothing is - and counts, caps and marks the packets of bridged VIPs. In "nft list table inet anyedge":
//
//	chain prerouting { type filter hook prerouting priority raw
//		iifname @uplinks ip6 daddr SID ip6 nexthdr 41 ip6 saddr @sources6 INNER-DADDR @vips6 meta mark set SEGMENT notrack accept
//		ip6 daddr SID counter name refused drop                                         # the same for SID4: 4, @vips4
//		iifname @uplinks udp dport 4789 VNI ip6 saddr @sources6 meta mark set VXLAN notrack accept
//		udp dport 4789 VNI counter name refused drop
//		iifname anyedge0 meta mark VXLAN ip6 daddr @vips6 accept
//		iifname anyedge0 counter name refused drop
//		iifname @uplinks ip6 daddr @bridged6 goto bridged
//	}
//	chain bridged { notrack; meta mark set BRIDGED; limit rate LIMIT/second accept; ip6 daddr @excess6 drop; drop }
//	chain output { hook output priority raw; meta mark & MASK == BASE notrack }
//	chain postrouting { hook postrouting priority raw; meta mark & MASK == BASE ip6 daddr @sids ip6 saddr set SOURCE }
//
// The last one gives SRv6 its outer source: the kernel would choose by its own lights, or one for all of the machine.
type filter struct {
	mu      sync.Mutex // guards conn, whose commands are gathered until they are flushed
	conn    *nftables.Conn
	readMu  sync.Mutex // guards reader: reading does not delay Set
	reader  *nftables.Conn
	table   *nftables.Table
	uplinks *nftables.Set
	sids    *nftables.Set
	sources perFamily // outer sources of the peers
	vips    perFamily // counts what was received
	bridged perFamily // counts
	excess  perFamily // counts
}

type perFamily map[family]*nftables.Set

func newFilter() (*filter, error) {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("bridge: nftables: %w", err)
	}
	reader, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bridge: nftables: %w", err), conn.CloseLasting())
	}
	f := &filter{conn: conn, reader: reader, table: &nftables.Table{Family: nftables.TableFamilyINet, Name: filterName}}
	f.uplinks = &nftables.Set{Table: f.table, Name: "uplinks", KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian}
	f.sids = f.set("sids", nftables.TypeIP6Addr, false)
	f.sources = f.sets("sources", false)
	f.vips = f.sets("vips", true)
	f.bridged = f.sets("bridged", true)
	f.excess = f.sets("excess", true)
	return f, nil
}

func (f *filter) close() error { return errors.Join(f.conn.CloseLasting(), f.reader.CloseLasting()) }

func (f *filter) set(name string, kind nftables.SetDatatype, counts bool) *nftables.Set {
	return &nftables.Set{Table: f.table, Name: name, KeyType: kind, Counter: counts, KeyByteOrder: binaryutil.BigEndian}
}

func (f *filter) sets(name string, counts bool) perFamily {
	return perFamily{
		family6: f.set(name+"6", nftables.TypeIP6Addr, counts),
		family4: f.set(name+"4", nftables.TypeIPAddr, counts),
	}
}

// present tells whether the table is there as a whole: whoever reloads a firewall may begin by flushing all of it.
func (f *filter) present() (bool, error) {
	f.readMu.Lock()
	defer f.readMu.Unlock()
	chains, err := f.reader.ListChainsOfTableFamily(nftables.TableFamilyINet)
	n := 0
	for _, c := range chains {
		if c.Table.Name == filterName {
			n++
		}
	}
	return n == filterChains, err
}

// replace makes the whole table anew, in one transaction but for long lists of addresses.
func (f *filter) replace(p plan, bridged []netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.remake()
	if err := f.addSets(p); err != nil {
		return err
	}
	f.addRules(p)
	if err := f.conn.Flush(); err != nil {
		return fmt.Errorf("bridge: nft table %s: %w", filterName, err)
	}
	var vips []netip.Addr
	for _, vip := range p.cfg.VIPs {
		vips = append(vips, vip.Addr())
	}
	return errors.Join(f.fill(f.vips, vips), f.fill(f.excess, bridged), f.fill(f.bridged, bridged))
}

func (f *filter) remake() {
	f.conn.AddTable(f.table) // so that there is one to delete
	f.conn.DelTable(f.table)
	f.conn.AddTable(f.table)
	f.conn.AddObject(&nftables.CounterObj{Table: f.table, Name: "refused"})
}

func (f *filter) addSets(p plan) error {
	var uplinks []nftables.SetElement
	for _, name := range p.cfg.Uplinks {
		uplinks = append(uplinks, nftables.SetElement{Key: interfaceName(name)})
	}
	var sids []netip.Addr
	sources := map[family][]netip.Addr{}
	for _, peer := range p.cfg.Peers {
		sids = append(sids, valid(peer.SID, peer.SID4)...)
		sources[familyOf(peer.Source)] = append(sources[familyOf(peer.Source)], peer.Source)
	}
	err := errors.Join(f.conn.AddSet(f.uplinks, uplinks), f.conn.AddSet(f.sids, elements(sids)))
	for _, fam := range [...]family{family6, family4} {
		err = errors.Join(err,
			f.conn.AddSet(f.sources[fam], elements(sources[fam])),
			f.conn.AddSet(f.vips[fam], nil), f.conn.AddSet(f.bridged[fam], nil), f.conn.AddSet(f.excess[fam], nil))
	}
	return err
}

func valid(addrs ...netip.Addr) []netip.Addr {
	return slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !a.IsValid() })
}

func elements(addrs []netip.Addr) []nftables.SetElement {
	var all []nftables.SetElement
	for _, a := range addrs {
		all = append(all, nftables.SetElement{Key: a.AsSlice()})
	}
	return all
}

func interfaceName(name string) []byte { return append([]byte(name), make([]byte, 16-len(name))...) }

// switched tells the filter which VIPs are bridged from now on, and which no longer are.
func (f *filter) switched(on, off []netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.fill(f.excess, on), f.fill(f.bridged, on), f.empty(f.bridged, off), f.empty(f.excess, off))
}

func (f *filter) fill(sets perFamily, addrs []netip.Addr) error {
	return f.inBatches(sets, addrs, f.conn.SetAddElements)
}

func (f *filter) empty(sets perFamily, addrs []netip.Addr) error {
	return f.inBatches(sets, addrs, f.conn.SetDeleteElements)
}

func (f *filter) inBatches(sets perFamily, addrs []netip.Addr, change func(*nftables.Set, []nftables.SetElement) error) error {
	for fam, set := range sets {
		of := slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool { return familyOf(a) != fam })
		for batch := range slices.Chunk(of, elementBatch) {
			err := change(set, elements(batch))
			if err == nil {
				err = f.conn.Flush()
			}
			if err != nil {
				return fmt.Errorf("bridge: nft set %s of table %s: %w", set.Name, filterName, err)
			}
		}
	}
	return nil
}

// remove deletes the table, if it is there.
func (f *filter) remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conn.AddTable(f.table)
	f.conn.DelTable(f.table)
	if err := f.conn.Flush(); err != nil {
		return fmt.Errorf("bridge: remove nft table %s: %w", filterName, err)
	}
	return nil
}

// count reads the counters of a pair of sets.
func (f *filter) count(sets perFamily, families []family) (map[netip.Addr]counter, error) {
	f.readMu.Lock()
	defer f.readMu.Unlock()
	all := make(map[netip.Addr]counter)
	for _, fam := range families {
		list, err := f.reader.GetSetElements(sets[fam])
		if err != nil {
			return nil, fmt.Errorf("bridge: read counters of nft set %s: %w", sets[fam].Name, err)
		}
		for _, e := range list {
			if addr, ok := netip.AddrFromSlice(e.Key); ok && e.Counter != nil {
				all[addr] = counter{e.Counter.Packets, e.Counter.Bytes}
			}
		}
	}
	return all, nil
}

// refused reads how many tunnel packets were dropped because their outer source, their shape or their inner destination
// was none of the configured.
func (f *filter) refused() (uint64, error) {
	f.readMu.Lock()
	defer f.readMu.Unlock()
	obj, err := f.reader.GetObject(&nftables.CounterObj{Table: f.table, Name: "refused"})
	if err != nil {
		return 0, fmt.Errorf("bridge: read nft counter refused: %w", err)
	}
	c, ok := obj.(*nftables.CounterObj)
	if !ok {
		return 0, fmt.Errorf("bridge: read nft counter refused: got %T", obj)
	}
	return c.Packets, nil
}

func (f *filter) addRules(p plan) {
	pre := f.chain("prerouting", nftables.ChainHookPrerouting)
	bridged := f.conn.AddChain(&nftables.Chain{Table: f.table, Name: "bridged"})
	f.addBridged(bridged, p)
	f.addSegment(pre, p.cfg.SID, unix.IPPROTO_IPV6, family6, field{offset: 40 + 24, length: 16})
	f.addSegment(pre, p.cfg.SID4, unix.IPPROTO_IPIP, family4, field{offset: 40 + 16, length: 4})
	f.addVXLAN(pre, p.cfg.VNI)
	for fam, set := range f.bridged {
		f.rule(pre, match(iif(), in(f.uplinks), of(fam), load(destination(fam)), in(set)),
			&expr.Verdict{Kind: expr.VerdictGoto, Chain: bridged.Name})
	}
	ours := match(
		[]expr.Any{
			&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(markMask), Xor: native(0)},
		},
		equal(native(markBase)))
	f.rule(f.chain("output", nftables.ChainHookOutput), ours, &expr.Notrack{})
	f.addSource(f.chain("postrouting", nftables.ChainHookPostrouting), ours, p.source)
}

func (f *filter) chain(name string, hook *nftables.ChainHook) *nftables.Chain {
	return f.conn.AddChain(&nftables.Chain{Table: f.table, Name: name, Hooknum: hook,
		Type: nftables.ChainTypeFilter, Priority: nftables.ChainPriorityRaw})
}

func (f *filter) rule(c *nftables.Chain, matches []expr.Any, then ...expr.Any) {
	f.conn.AddRule(&nftables.Rule{Table: f.table, Chain: c, Exprs: append(slices.Clone(matches), then...)})
}

// addSegment passes what a peer sends to a segment of this host when it is an IP packet without further ado in an IPv6
// packet, to a VIP.
func (f *filter) addSegment(c *nftables.Chain, sid netip.Addr, next byte, inner family, to field) {
	if !sid.IsValid() {
		return
	}
	toSegment := match(of(family6), load(destination(family6)), equal(sid.AsSlice()))
	f.rule(c, match(toSegment, iif(), in(f.uplinks),
		load(nextHeader), equal([]byte{next}),
		load(source(family6)), in(f.sources[family6]),
		load(to), in(f.vips[inner])), pass(markSegment)...)
	f.rule(c, toSegment, f.refuse()...)
}

func (f *filter) addVXLAN(c *nftables.Chain, vni uint32) {
	ours := match(
		[]expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}}, equal([]byte{unix.IPPROTO_UDP}),
		load(udpDestination), equal(binaryutil.BigEndian.PutUint16(vxlanPort)),
		load(vxlanNetwork), equal(binaryutil.BigEndian.PutUint32(vni)[1:]))
	for fam, set := range f.sources {
		f.rule(c, match(iif(), in(f.uplinks), of(fam), load(source(fam)), in(set), ours), pass(markVXLAN)...)
	}
	f.rule(c, ours, f.refuse()...)
	fromTunnel := match(iif(), equal(interfaceName(device)))
	for fam, set := range f.vips {
		f.rule(c, match(fromTunnel,
			[]expr.Any{&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}}, equal(native(markVXLAN)),
			of(fam), load(destination(fam)), in(set)), &expr.Verdict{Kind: expr.VerdictAccept})
	}
	f.rule(c, fromTunnel, f.refuse()...)
}

func (f *filter) addBridged(c *nftables.Chain, p plan) {
	rate := uint64(p.cfg.Limit)
	f.rule(c, nil, append([]expr.Any{&expr.Notrack{}}, setMark(markBridged)...)...)
	f.rule(c, nil,
		&expr.Limit{Type: expr.LimitTypePkts, Rate: rate, Unit: expr.LimitTimeSecond, Burst: uint32(max(rate/10, 1))},
		&expr.Verdict{Kind: expr.VerdictAccept})
	for fam, set := range f.excess {
		f.rule(c, match(of(fam), load(destination(fam)), in(set)), &expr.Verdict{Kind: expr.VerdictDrop})
	}
	f.rule(c, nil, &expr.Verdict{Kind: expr.VerdictDrop})
}

// addSource has no checksum to mend: an IPv6 header has none, and the pseudo header of what is inside is not this one.
func (f *filter) addSource(c *nftables.Chain, ours []expr.Any, src netip.Addr) {
	if !src.Is6() {
		return
	}
	to := source(family6)
	f.rule(c, match(ours, of(family6), load(destination(family6)), in(f.sids)),
		&expr.Immediate{Register: 1, Data: src.AsSlice()},
		&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: to.base, Offset: to.offset, Len: to.length})
}

// pass lets a tunnel packet in.
func pass(mark uint32) []expr.Any {
	return append(setMark(mark), &expr.Notrack{}, &expr.Verdict{Kind: expr.VerdictAccept})
}

// refuse counts and drops.
func (f *filter) refuse() []expr.Any {
	return []expr.Any{
		&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: "refused"},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}
}

// field is a place in a packet; base zero is nothing else's than the network header's.
type field struct {
	base           expr.PayloadBase
	offset, length uint32
}

var (
	nextHeader     = field{offset: 6, length: 1}
	udpDestination = field{base: expr.PayloadBaseTransportHeader, offset: 2, length: 2}
	vxlanNetwork   = field{base: expr.PayloadBaseTransportHeader, offset: 8 + 4, length: 3}
)

func source(f family) field {
	if f == family4 {
		return field{base: expr.PayloadBaseNetworkHeader, offset: 12, length: 4}
	}
	return field{base: expr.PayloadBaseNetworkHeader, offset: 8, length: 16}
}

func destination(f family) field {
	if f == family4 {
		return field{base: expr.PayloadBaseNetworkHeader, offset: 16, length: 4}
	}
	return field{base: expr.PayloadBaseNetworkHeader, offset: 24, length: 16}
}

// The following are words of nft's language. Each loads what it speaks of into register 1, or compares that.

func match(parts ...[]expr.Any) []expr.Any { return slices.Concat(parts...) }

func of(f family) []expr.Any {
	proto := byte(unix.NFPROTO_IPV6)
	if f == family4 {
		proto = unix.NFPROTO_IPV4
	}
	return append([]expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}}, equal([]byte{proto})...)
}

func iif() []expr.Any { return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}} }

func load(f field) []expr.Any {
	base := f.base
	if base == expr.PayloadBaseLLHeader {
		base = expr.PayloadBaseNetworkHeader
	}
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: base, Offset: f.offset, Len: f.length}}
}

func equal(b []byte) []expr.Any {
	return []expr.Any{&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b}}
}

func in(s *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID}}
}

func setMark(m uint32) []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: native(m)},
		&expr.Meta{Key: expr.MetaKeyMARK, SourceRegister: true, Register: 1},
	}
}

func native(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }
