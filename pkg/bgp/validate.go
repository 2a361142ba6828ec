package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Limits of what a configuration may say.
const (
	minHoldTime     = 3 * time.Second     // RFC 4271 section 4.2
	maxHoldTime     = 65535 * time.Second // RFC 4271 section 4.2: two octets
	defaultHoldTime = 9 * time.Second
	maxPassword     = 80 // TCP_MD5SIG_MAXKEYLEN of the kernel
)

// withDefaults returns a checked copy that shares no memory with c.
func (c Config) withDefaults() (Config, error) {
	if c.HoldTime == 0 {
		c.HoldTime = defaultHoldTime
	}
	if c.ListenPort == 0 {
		c.ListenPort = -1
	}
	c.Neighbors = append([]Neighbor(nil), c.Neighbors...)
	c.Allowed = append([]netip.Prefix(nil), c.Allowed...)
	c.Pools = append([]netip.Prefix(nil), c.Pools...)
	return c, c.validate()
}

func (c Config) validate() error {
	if err := validASN(c.ASN); err != nil {
		return err
	}
	if c.RouterID.IsValid() && (!c.RouterID.Is4() || c.RouterID.IsUnspecified()) {
		return fmt.Errorf("router id %s: must be an IPv4 address other than 0.0.0.0", c.RouterID)
	}
	if c.ListenPort < -1 || c.ListenPort > 65535 {
		return fmt.Errorf("listen port %d: must be 1 to 65535, or -1 to dial only", c.ListenPort)
	}
	if c.HoldTime < minHoldTime || c.HoldTime > maxHoldTime || c.HoldTime%time.Second != 0 {
		return fmt.Errorf("hold time %s: must be whole seconds from %s to %s (RFC 4271)", c.HoldTime, minHoldTime, maxHoldTime)
	}
	if err := validNeighbors(c.Neighbors); err != nil {
		return err
	}
	return errors.Join(validAllowed(c.Allowed, c.Neighbors), validAllowed(c.Pools, c.Neighbors))
}

// validASN refuses the numbers that no session can use: RFC 7607 (0), RFC 6793 (AS_TRANS), RFC 7300 (the last one). That
// of the two-octet range, 65535, is reserved as well, but labs of published experiments use it and routers accept it.
func validASN(asn uint32) error {
	switch asn {
	case 0, 23456, 4294967295:
		return fmt.Errorf("asn %d: is reserved, take one of your own or a private one (64512-65534, RFC 6996)", asn)
	}
	return nil
}

func validNeighbors(neighbors []Neighbor) error {
	if len(neighbors) == 0 {
		return errors.New("no neighbor: name at least one router to announce to")
	}
	seen := make(map[netip.Addr]bool)
	for _, n := range neighbors {
		if err := n.validate(); err != nil {
			return fmt.Errorf("neighbor %s: %w", n.Address, err)
		}
		if seen[n.Address] {
			return fmt.Errorf("neighbor %s: is named twice", n.Address)
		}
		seen[n.Address] = true
	}
	return nil
}

func (n Neighbor) validate() error {
	a := n.Address
	switch {
	case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6():
		return errors.New("must be a unicast address, IPv4 in its own form")
	case a.Is6() && a.IsLinkLocalUnicast() && a.Zone() == "":
		return errors.New("a link-local address needs its interface: fe80::1%eth0")
	case n.Multihop > 0 && n.TTLSecurity:
		return errors.New("GTSM proves that the neighbor is direct, multihop says that it is not: choose one")
	case n.Multihop > 0 && a.IsLinkLocalUnicast():
		return errors.New("a link-local address is always direct: leave multihop out")
	case len(n.Password) > maxPassword:
		return fmt.Errorf("password is longer than the %d bytes that TCP MD5 takes", maxPassword)
	}
	return validASN(n.ASN)
}

// validAllowed also refuses what no session could ever carry: IPv6 goes over IPv6 sessions only, because over IPv4 its
// next hop would be an IPv4-mapped address, which routers install and drop packets by.
func validAllowed(allowed []netip.Prefix, neighbors []Neighbor) error {
	seen := make(map[netip.Prefix]bool)
	for _, p := range allowed {
		switch {
		case !p.IsValid() || p.Addr().Is4In6() || p != p.Masked():
			return fmt.Errorf("prefix %s: must be a prefix without host bits, IPv4 in its own form", p)
		case seen[p]:
			return fmt.Errorf("prefix %s: is named twice", p)
		case p.Addr().Is6() && !anyIPv6(neighbors):
			return fmt.Errorf("prefix %s: no session can carry it, add a neighbor with an IPv6 address", p)
		}
		seen[p] = true
	}
	return nil
}

func anyIPv6(neighbors []Neighbor) bool {
	for _, n := range neighbors {
		if n.Address.Is6() {
			return true
		}
	}
	return false
}
