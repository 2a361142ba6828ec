package health

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// ICMP sends one echo request to Target (RFC 792, RFC 4443) and waits for its reply. It takes an unprivileged ping
// socket where net.ipv4.ping_group_range lets the group of the process, else a raw one, which needs CAP_NET_RAW.
type ICMP struct {
	Local
	Target netip.Addr
}

// tokenSize is that of the random data in each request, which its reply repeats.
const tokenSize = 16

// Check makes one attempt.
func (c ICMP) Check(ctx context.Context) error {
	started := time.Now()
	s, raw, err := c.open(ctx)
	if err != nil {
		return explain(ctx, started, err)
	}
	defer s.close()
	request, token, err := c.request()
	if err != nil {
		return err
	}
	if err := s.write(ctx, request); err != nil {
		return explain(ctx, started, err)
	}
	buf := make([]byte, 1500)
	for {
		n, err := s.read(ctx, buf)
		if err != nil {
			return explain(ctx, started, err)
		}
		if c.answers(buf[:n], raw, token) {
			return nil
		}
	}
}

// request returns an echo request. The kernel sets its id on a ping socket, and the checksum of ICMPv6 on any.
func (c ICMP) request() (wire, token []byte, err error) {
	token = make([]byte, tokenSize)
	_, _ = rand.Read(token) // never fails
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(binary.BigEndian.Uint16(token)), Seq: 1, Data: token}}
	if !c.v4() {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	wire, err = m.Marshal(nil)
	return wire, token, err
}

// answers tells whether b is the reply that repeats token. Raw sockets see all that comes from Target, IPv4 ones with
// the IP header.
func (c ICMP) answers(b []byte, raw bool, token []byte) bool {
	protocol, reply := unix.IPPROTO_ICMPV6, icmp.Type(ipv6.ICMPTypeEchoReply)
	if c.v4() {
		protocol, reply = unix.IPPROTO_ICMP, ipv4.ICMPTypeEchoReply
	}
	if raw && c.v4() {
		if len(b) < ipv4.HeaderLen || len(b) < int(b[0]&0xf)*4 {
			return false
		}
		b = b[int(b[0]&0xf)*4:]
	}
	m, err := icmp.ParseMessage(protocol, b)
	if err != nil || m.Type != reply {
		return false
	}
	echo, ok := m.Body.(*icmp.Echo)
	return ok && bytes.Equal(echo.Data, token)
}

func (c ICMP) v4() bool { return c.Target.Unmap().Is4() }

// open returns a socket that is connected to the target: nobody else's packets come in. raw tells of which kind it is.
func (c ICMP) open(ctx context.Context) (s *conn, raw bool, err error) {
	protocol, target := unix.IPPROTO_ICMPV6, netip.AddrPortFrom(c.Target, 0) // ICMP knows no ports
	if c.v4() {
		protocol = unix.IPPROTO_ICMP
	}
	s, err = c.connect(ctx, unix.SOCK_DGRAM, protocol, target)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EPROTONOSUPPORT) {
		raw = true
		s, err = c.connect(ctx, unix.SOCK_RAW, protocol, target)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		err = errors.New("not permitted: put the agent's group into net.ipv4.ping_group_range, or grant CAP_NET_RAW")
	}
	return s, raw, err
}
