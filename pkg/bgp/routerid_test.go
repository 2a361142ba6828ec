package bgp

import (
	"net"
	"testing"
)

func TestRouterID(t *testing.T) {
	addr := func(s string) net.Addr {
		ip, ipnet, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		ipnet.IP = ip
		return ipnet
	}
	id, ok := firstIPv4([]net.Addr{addr("127.0.0.1/8"), addr("2001:db8::1/64"), addr("169.254.1.1/16"), addr("10.1.1.10/24"), addr("10.2.2.2/24")})
	if !ok || id.String() != "10.1.1.10" {
		t.Errorf("router id %s, want the first IPv4 address of a wider scope", id)
	}
	if _, ok := firstIPv4([]net.Addr{addr("127.0.0.1/8")}); ok {
		t.Error("loopback taken for a router id")
	}
	a, b := hashedRouterID(), hashedRouterID()
	if a != b || !a.Is4() || a.IsUnspecified() {
		t.Errorf("hashed router ids %s and %s, want one and the same, not zero", a, b)
	}
	if id, source := machineRouterID(); !id.Is4() || source == "" {
		t.Errorf("router id %s from %q", id, source)
	}
}
