package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ifaProto is IFA_PROTO of linux/if_addr.h, u8, since Linux 5.18; package unix and package netlink lack it.
const ifaProto = 11

// address is one address of an interface as the kernel lists it.
type address struct {
	prefix   netip.Prefix
	protocol uint8  // who added it; 0 if not told
	flags    uint32 // IFA_F_...
	ours     bool
}

// addRequest builds RTM_NEWADDR; it fails with EEXIST where the address exists, so that nobody's is changed.
func addRequest(index int, p netip.Prefix) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	msg := newIfAddrmsg(index, p)
	r.AddData(msg)
	addAddress(r, p)
	r.AddData(nl.NewRtAttr(ifaProto, []byte{mark}))
	if p.Addr().Is4() {
		msg.Scope = unix.RT_SCOPE_HOST
		return r
	}
	// No duplicate detection: many hosts have an anycast address, and it must work at once.
	r.AddData(nl.NewRtAttr(unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, unix.IFA_F_NODAD)))
	lifetime := &nl.IfaCacheInfo{IfaCacheinfo: unix.IfaCacheinfo{Prefered: 0, Valid: math.MaxUint32}}
	r.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, lifetime.Serialize()))
	return r
}

func deleteRequest(index int, p netip.Prefix) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.RTM_DELADDR, unix.NLM_F_ACK)
	r.AddData(newIfAddrmsg(index, p))
	addAddress(r, p)
	return r
}

func newIfAddrmsg(index int, p netip.Prefix) *nl.IfAddrmsg {
	msg := nl.NewIfAddrmsg(unix.AF_INET6)
	if p.Addr().Is4() {
		msg.Family = unix.AF_INET
	}
	msg.Prefixlen = uint8(p.Bits())
	msg.Index = uint32(index)
	return msg
}

func addAddress(r *nl.NetlinkRequest, p netip.Prefix) {
	r.AddData(nl.NewRtAttr(unix.IFA_LOCAL, p.Addr().AsSlice()))
	r.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, p.Addr().AsSlice()))
}

func request(r *nl.NetlinkRequest) error {
	_, err := r.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// permitted asks the kernel to delete an address from no interface: it looks at the rights before it misses the interface.
func permitted() error {
	r := nl.NewNetlinkRequest(unix.RTM_DELADDR, unix.NLM_F_ACK)
	r.AddData(nl.NewIfAddrmsg(unix.AF_INET))
	if err := request(r); errors.Is(err, unix.EPERM) {
		return denied(err)
	}
	return nil
}

// list returns the addresses of the interface with this index.
func list(index int) ([]address, error) {
	const attempts = 10 // a change while the kernel lists may hide an address: ask again
	for range attempts {
		r := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		r.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
		messages, err := r.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
		if errors.Is(err, nl.ErrDumpInterrupted) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return parseAll(messages, index)
	}
	return nil, fmt.Errorf("%w, %d times", nl.ErrDumpInterrupted, attempts)
}

func parseAll(messages [][]byte, index int) ([]address, error) {
	var all []address
	for _, b := range messages {
		a, of, err := parse(b)
		if err != nil {
			return nil, err
		}
		if of == index && a.prefix.IsValid() {
			all = append(all, a)
		}
	}
	return all, nil
}

// parse reads a struct ifaddrmsg and its attributes; index is the interface's. An address of another family than IPv4 and
// IPv6 gives an invalid prefix.
func parse(b []byte) (a address, index int, err error) {
	if len(b) < unix.SizeofIfAddrmsg {
		return address{}, 0, fmt.Errorf("address message of %d bytes", len(b))
	}
	family, bits := b[0], int(b[1])
	a.flags = uint32(b[2])
	index = int(binary.NativeEndian.Uint32(b[4:]))
	if family != unix.AF_INET && family != unix.AF_INET6 {
		return address{}, index, nil
	}
	var local, peer netip.Addr
	err = attributes(b[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
		switch {
		case kind == unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case kind == unix.IFA_ADDRESS:
			peer, _ = netip.AddrFromSlice(value)
		case kind == unix.IFA_FLAGS && len(value) >= 4:
			a.flags = binary.NativeEndian.Uint32(value)
		case kind == ifaProto && len(value) >= 1:
			a.protocol = value[0]
		}
	})
	// On a point-to-point address IFA_ADDRESS is the other end's.
	if !local.IsValid() {
		local = peer
	}
	a.prefix = netip.PrefixFrom(local, bits)
	if err == nil && (!a.prefix.IsValid() || local.Is4() != (family == unix.AF_INET)) {
		err = fmt.Errorf("address message of family %d: address %v, prefix length %d", family, local, bits)
	}
	return a, index, err
}

// attributes calls f for each netlink attribute in b.
func attributes(b []byte, f func(kind uint16, value []byte)) error {
	for len(b) > 0 {
		if len(b) < unix.SizeofRtAttr {
			return fmt.Errorf("%d bytes after the last netlink attribute", len(b))
		}
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return fmt.Errorf("netlink attribute of %d bytes in %d", length, len(b))
		}
		f(binary.NativeEndian.Uint16(b[2:]), b[unix.SizeofRtAttr:length])
		b = b[min((length+3)&^3, len(b)):]
	}
	return nil
}
