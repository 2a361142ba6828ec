package bridge

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Decapsulation reaches the VIPs alone, and only for packets from configured outer sources, whatever is in the tunnel.
func TestDecapsulation(t *testing.T) {
	w := newWorld(t, 1600)
	cfg := w.config("b", SRv6)
	cfg.Peers = []Peer{peerOf("a")}
	host := w.hosts["b"]
	b := startBridge(t, host, cfg)
	host.batch(t, `
		addr add 203.0.113.9/32 dev lo
		addr add 2001:db8:99::9/128 dev lo nodad`)
	// A vxlan of the stranger's would have to know this; everybody can compute it.
	mac := hardwareAddr(cfg.Source)
	const (
		peer     = "2001:db8:1::2"
		stranger = "2001:db8:3::2"
	)
	for _, test := range []struct {
		name, outer, inner string
		how                func(outer, inner netip.Addr) []byte
		arrives            bool
	}{
		{"a peer's, IPv6 in SRv6", peer, vip6, inSRv6("2001:db8:2:d::6"), true},
		{"a peer's, IPv4 in SRv6", peer, vip4, inSRv6("2001:db8:2:d::4"), true},
		{"a peer's, IPv6 in VXLAN", peer, vip6, inVXLAN("2001:db8:2::2", defaultVNI, mac), true},
		{"a peer's, IPv4 in VXLAN", peer, vip4, inVXLAN("2001:db8:2::2", defaultVNI, mac), true},
		{"a stranger's, IPv6 in SRv6", stranger, vip6, inSRv6("2001:db8:2:d::6"), false},
		{"a stranger's, IPv4 in SRv6", stranger, vip4, inSRv6("2001:db8:2:d::4"), false},
		{"a stranger's, IPv6 in VXLAN", stranger, vip6, inVXLAN("2001:db8:2::2", defaultVNI, mac), false},
		{"a stranger's, IPv4 in VXLAN", stranger, vip4, inVXLAN("2001:db8:2::2", defaultVNI, mac), false},
		{"another VNI", peer, vip6, inVXLAN("2001:db8:2::2", 1, mac), false},
		{"to ::1 in SRv6", peer, "::1", inSRv6("2001:db8:2:d::6"), false},
		{"to ::1 in VXLAN", peer, "::1", inVXLAN("2001:db8:2::2", defaultVNI, mac), false},
		{"to 127.0.0.1 in SRv6", peer, "127.0.0.1", inSRv6("2001:db8:2:d::4"), false},
		{"to 127.0.0.1 in VXLAN", peer, "127.0.0.1", inVXLAN("2001:db8:2::2", defaultVNI, mac), false},
		{"to the host in SRv6", peer, "2001:db8:99::9", inSRv6("2001:db8:2:d::6"), false},
		{"to the host in VXLAN", peer, "2001:db8:99::9", inVXLAN("2001:db8:2::2", defaultVNI, mac), false},
		{"to the host by IPv4 in SRv6", peer, "203.0.113.9", inSRv6("2001:db8:2:d::4"), false},
		{"to the host by IPv4 in VXLAN", peer, "203.0.113.9", inVXLAN("2001:db8:2::2", defaultVNI, mac), false},
		{"IPv4 to the segment for IPv6", peer, vip4, inSRv6("2001:db8:2:d::6"), false},
		{"IPv6 to the segment for IPv4", peer, vip6, inSRv6("2001:db8:2:d::4"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var conn net.PacketConn
			host.do(t, func() (err error) {
				conn, err = net.ListenPacket("udp", net.JoinHostPort(test.inner, fmt.Sprint(port)))
				return err
			})
			defer conn.Close()
			from := w.hosts["a"]
			if test.outer == stranger {
				from = w.hosts["c"]
			}
			from.do(t, func() error { return inject(test.how(addr(test.outer), addr(test.inner))) })
			_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			if test.arrives {
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			}
			_, _, err := conn.ReadFrom(make([]byte, 100))
			if arrived := err == nil; arrived != test.arrives {
				t.Errorf("arrives: %t, want %t", arrived, test.arrives)
			}
		})
	}
	// All that does not arrive, but for that of another VNI, which is nobody's business of ours, and for ::1 in VXLAN, which
	// the kernel drops by itself.
	const refused = 13
	got := uint64(0)
	for range 30 {
		if got = b.ask(order{}).Refused; got == refused {
			return
		}
		time.Sleep(countInterval)
	}
	t.Errorf("%d packets are counted as refused, want %d", got, refused)
}

// inSRv6 makes a packet that SRv6 with one segment carries: an IP packet in an IPv6 packet.
func inSRv6(sid string) func(outer, inner netip.Addr) []byte {
	return func(outer, inner netip.Addr) []byte {
		next := byte(unix.IPPROTO_IPV6)
		if inner.Is4() {
			next = unix.IPPROTO_IPIP
		}
		return ipPacket(outer, addr(sid), next, datagram(inner))
	}
}

// inVXLAN makes a packet of RFC 7348.
func inVXLAN(endpoint string, vni uint32, to net.HardwareAddr) func(outer, inner netip.Addr) []byte {
	return func(outer, inner netip.Addr) []byte {
		kind := uint16(unix.ETH_P_IPV6)
		if inner.Is4() {
			kind = unix.ETH_P_IP
		}
		b := binary.BigEndian.AppendUint32([]byte{8, 0, 0, 0}, vni<<8)
		b = append(append(b, to...), hardwareAddr(outer)...)
		b = append(binary.BigEndian.AppendUint16(b, kind), datagram(inner)...)
		return udpPacket(netip.AddrPortFrom(outer, 50000), netip.AddrPortFrom(addr(endpoint), vxlanPort), b)
	}
}

// datagram is what a client sends: UDP to the address, from an address behind the router.
func datagram(to netip.Addr) []byte {
	client := addr("2001:db8:c::2")
	if to.Is4() {
		client = addr("198.51.100.2")
	}
	return udpPacket(netip.AddrPortFrom(client, 40000), netip.AddrPortFrom(to, port), []byte("?"))
}

func udpPacket(from, to netip.AddrPort, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = append(append(b, 0, 0), payload...)
	pseudo := append(append(from.Addr().AsSlice(), to.Addr().AsSlice()...), 0, unix.IPPROTO_UDP, 0, byte(len(b)))
	binary.BigEndian.PutUint16(b[6:], checksum(append(pseudo, b...)))
	return ipPacket(from.Addr(), to.Addr(), unix.IPPROTO_UDP, b)
}

func ipPacket(from, to netip.Addr, next byte, payload []byte) []byte {
	var b []byte
	if to.Is6() {
		b = binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(payload)))
		b = append(append(append(b, next, 64), from.AsSlice()...), to.AsSlice()...)
	} else {
		b = binary.BigEndian.AppendUint16([]byte{0x45, 0}, uint16(20+len(payload)))
		b = append(append(append(b, 0, 0, 0, 0, 64, next, 0, 0), from.AsSlice()...), to.AsSlice()...)
		binary.BigEndian.PutUint16(b[10:], checksum(b))
	}
	return append(b, payload...)
}

func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// inject has the kernel route a whole IPv6 packet.
func inject(packet []byte) error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrInet6{Addr: [16]byte(packet[24:40])}
	return unix.Sendto(fd, packet, 0, to)
}
