package health

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Sizes and numbers of linux/inet_diag.h and linux/netlink.h that package unix lacks. Numbers in netlink headers are in
// host order, ports and addresses in network order.
const (
	sizeofInetDiagReqV2 = 56 // struct inet_diag_req_v2
	sizeofInetDiagMsg   = 72 // struct inet_diag_msg

	inetDiagProtocol = 10 // INET_DIAG_PROTOCOL, u8
	inetDiagV6Only   = 11 // INET_DIAG_SKV6ONLY, u8; only on IPv6 sockets that listen or are not connected

	tcpClose  = 7  // TCP_CLOSE; for UDP: not connected
	tcpListen = 10 // TCP_LISTEN
)

var errShort = errors.New("netlink message too short")

// socket is one entry of the kernel's socket table, or of its news that one is gone.
type socket struct {
	protocol uint8 // IPPROTO_TCP, IPPROTO_UDP; 0: not told
	state    uint8
	addr     netip.Addr // local, not unmapped
	port     uint16     // local
	peer     uint16     // remote port, 0 if not connected
	v6only   bool
}

// dumpRequest asks for the sockets of one protocol and family on a local port, in the states given as bits. The kernel
// compares the port (sport) itself: a host with a million connections answers with the few that matter.
func dumpRequest(seq uint32, family, protocol uint8, states uint32, port uint16) []byte {
	b := make([]byte, 0, unix.SizeofNlMsghdr+sizeofInetDiagReqV2)
	b = binary.NativeEndian.AppendUint32(b, unix.SizeofNlMsghdr+sizeofInetDiagReqV2)
	b = binary.NativeEndian.AppendUint16(b, unix.SOCK_DIAG_BY_FAMILY)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0) // from: the kernel fills it in
	b = append(b, family, protocol, 0, 0)      // no extensions, pad
	b = binary.NativeEndian.AppendUint32(b, states)
	b = binary.BigEndian.AppendUint16(b, port)
	return b[:cap(b)] // no remote port, addresses, interface or cookie
}

// message is one netlink message.
type message struct {
	kind  uint16
	flags uint16
	seq   uint32
	body  []byte
}

// nextMessage splits the first netlink message off b.
func nextMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < unix.SizeofNlMsghdr {
		return message{}, nil, errShort
	}
	length := binary.NativeEndian.Uint32(b)
	if length < unix.SizeofNlMsghdr || uint64(length) > uint64(len(b)) {
		return message{}, nil, fmt.Errorf("netlink message of %d bytes in %d", length, len(b))
	}
	m = message{
		kind:  binary.NativeEndian.Uint16(b[4:]),
		flags: binary.NativeEndian.Uint16(b[6:]),
		seq:   binary.NativeEndian.Uint32(b[8:]),
		body:  b[unix.SizeofNlMsghdr:length],
	}
	return m, b[min(align4(int(length)), len(b)):], nil
}

// status reads the error that ends a dump: NLMSG_ERROR and NLMSG_DONE both begin with a negative errno, or 0.
func (m message) status() error {
	if len(m.body) < 4 {
		return errShort
	}
	if errno := int32(binary.NativeEndian.Uint32(m.body)); errno < 0 {
		return unix.Errno(-errno)
	}
	return nil
}

// parseSocket reads a struct inet_diag_msg and its attributes.
func parseSocket(b []byte) (socket, error) {
	if len(b) < sizeofInetDiagMsg {
		return socket{}, errShort
	}
	s := socket{
		state: b[1],
		port:  binary.BigEndian.Uint16(b[4:]),
		peer:  binary.BigEndian.Uint16(b[6:]),
	}
	switch b[0] {
	case unix.AF_INET:
		s.addr = netip.AddrFrom4([4]byte(b[8:12]))
	case unix.AF_INET6:
		s.addr = netip.AddrFrom16([16]byte(b[8:24]))
	default:
		return socket{}, fmt.Errorf("socket of address family %d", b[0])
	}
	return s, s.parseAttributes(b[sizeofInetDiagMsg:])
}

func (s *socket) parseAttributes(b []byte) error {
	for len(b) > 0 {
		if len(b) < unix.SizeofNlAttr {
			return errShort
		}
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			return fmt.Errorf("netlink attribute of %d bytes in %d", length, len(b))
		}
		if value := b[unix.SizeofNlAttr:length]; len(value) > 0 {
			switch binary.NativeEndian.Uint16(b[2:]) {
			case inetDiagProtocol:
				s.protocol = value[0]
			case inetDiagV6Only:
				s.v6only = value[0] != 0
			}
		}
		b = b[min(align4(length), len(b)):]
	}
	return nil
}

func align4(n int) int { return (n + 3) &^ 3 }
