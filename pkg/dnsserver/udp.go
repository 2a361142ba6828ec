package dnsserver

import (
	"context"
	"fmt"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// maxFailures in a row, with a pause after each, take ten seconds: what lasts longer does not pass by itself. A server that
// went on would be deaf and look alive; one that ends is started again, with new sockets.
const maxFailures = 200

const (
	maxDatagram = 65535
	controlSize = 128 // of control messages: one in_pktinfo or in6_pktinfo, with room
)

// serveUDP answers in the loop that reads: under a flood the kernel drops what is too much, and nothing piles up here.
func (s *Server) serveUDP(ctx context.Context, sock *udpSocket) error {
	defer context.AfterFunc(ctx, func() { _ = sock.SetReadDeadline(longAgo) })()
	in, out, control := make([]byte, maxDatagram), make([]byte, maxDatagram), make([]byte, controlSize)
	failed := 0
	for {
		n, nc, _, from, err := sock.ReadMsgUDPAddrPort(in, control)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if failed++; failed == 1 {
				s.log.Warn("cannot read queries", "address", sock.LocalAddr(), "err", err)
			}
			if failed >= s.failures {
				return fmt.Errorf("listen %s: cannot read queries: %w", sock.LocalAddr(), err)
			}
			if !pause(ctx) {
				return nil
			}
			continue
		case from.Port() == 0:
			// Nobody can receive there: only a forger sends from it.
			s.metrics.drop(noPort)
			continue
		}
		failed = 0
		reply := s.handle(out, in[:n], udp, from.Addr())
		if reply == nil {
			continue
		}
		if _, _, err := sock.WriteMsgUDPAddrPort(reply, sock.source(control[:nc]), from); err != nil {
			s.metrics.writeErrors.Inc()
		}
	}
}

// source returns the control message that makes the reply leave from the address that the query came to.
func (s *udpSocket) source(control []byte) []byte {
	switch {
	case !s.wildcard:
		return nil
	case s.v4:
		var cm ipv4.ControlMessage
		if cm.Parse(control) != nil || cm.Dst == nil {
			return nil
		}
		return (&ipv4.ControlMessage{Src: cm.Dst}).Marshal()
	default:
		var cm ipv6.ControlMessage
		if cm.Parse(control) != nil || cm.Dst == nil {
			return nil
		}
		return (&ipv6.ControlMessage{Src: cm.Dst, IfIndex: scope(cm.Dst, cm.IfIndex)}).Marshal()
	}
}

// scope binds the reply to an interface only where the address means nothing without it: routing decides otherwise.
func scope(ip net.IP, index int) int {
	if ip.IsLinkLocalUnicast() {
		return index
	}
	return 0
}
