package bgp

import (
	"encoding/binary"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
)

// machineRouterID derives a BGP identifier (RFC 6286: any number but 0, unique within the AS) and tells from what: the
// machine's first IPv4 address that is not loopback, else a hash of its name and hardware addresses.
func machineRouterID() (id netip.Addr, source string) {
	if addrs, err := net.InterfaceAddrs(); err == nil {
		if id, ok := firstIPv4(addrs); ok {
			return id, "first IPv4 address of the machine"
		}
	}
	return hashedRouterID(), "hash of the machine's name and hardware addresses"
}

func firstIPv4(addrs []net.Addr) (netip.Addr, bool) {
	for _, a := range addrs {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(ipnet.IP)
		if ip = ip.Unmap(); ok && ip.Is4() && ip.IsGlobalUnicast() {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

func hashedRouterID() netip.Addr {
	h := fnv.New32a()
	name, _ := os.Hostname()
	h.Write([]byte(name))
	links, _ := net.Interfaces()
	for _, l := range links {
		h.Write(l.HardwareAddr)
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], h.Sum32()|1) // never 0
	return netip.AddrFrom4(b)
}
