package probe

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// replySource rewrites the control messages of a packet that came to a wildcard socket, in place, into the one that
// makes the reply leave from the address that the packet came to (RFC 3542 section 6.2, ip(7) IP_PKTINFO). Nil without
// such a message: the socket is bound to one address.
//
// The interface is cleared, so that routing chooses it: the way back need not be the way here. Link-local addresses
// mean nothing without theirs and keep it.
func replySource(oob []byte) []byte {
	for rest := oob; len(rest) >= unix.SizeofCmsghdr; {
		head, data, tail, err := unix.ParseOneSocketControlMessage(rest)
		if err != nil {
			return nil
		}
		length := unix.CmsgSpace(len(data))
		switch {
		case head.Level == unix.SOL_IP && head.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: interface, the local address (source of the reply), the header's destination
			clear(data[:4])
			return rest[:length]
		case head.Level == unix.SOL_IPV6 && head.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			// struct in6_pktinfo: address, interface
			if a := netip.AddrFrom16([16]byte(data[:16])); !a.IsLinkLocalUnicast() {
				binary.NativeEndian.PutUint32(data[16:], 0)
			}
			return rest[:length]
		}
		rest = tail
	}
	return nil
}
