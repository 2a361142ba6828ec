package router

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	defaultHoldTime = 9 * time.Second
	minHoldTime     = 3 * time.Second // RFC 4271 section 4.2
)

func (c Config) validate() error {
	switch {
	case c.ASN == 0:
		return errors.New("asn: is missing")
	case !c.RouterID.Is4() || c.RouterID.IsUnspecified():
		return fmt.Errorf("id %s: must be an IPv4 address other than 0.0.0.0", c.RouterID)
	case c.HoldTime < minHoldTime || c.HoldTime%time.Second != 0:
		return fmt.Errorf("hold time %s: must be whole seconds, at least %s (RFC 4271)", c.HoldTime, minHoldTime)
	}
	seen := make(map[netip.Addr]bool)
	for _, n := range c.Neighbors {
		switch {
		case !n.Address.IsValid() || n.Address.IsUnspecified() || n.Address.IsMulticast() || n.Address.Is4In6():
			return fmt.Errorf("neighbor %s: must be a unicast address", n.Address)
		case n.Address.Is6() && n.Address.IsLinkLocalUnicast() && n.Address.Zone() == "":
			return fmt.Errorf("neighbor %s: a link-local address needs its interface: %s%%eth0", n.Address, n.Address)
		case n.ASN == 0 || n.ASN == c.ASN:
			return fmt.Errorf("neighbor %s: asn %d: must be another than the router's own, only eBGP is supported", n.Address, n.ASN)
		case seen[n.Address]:
			return fmt.Errorf("neighbor %s: is named twice", n.Address)
		}
		seen[n.Address] = true
	}
	for _, p := range c.Prefixes {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			return fmt.Errorf("prefix %s: must be a prefix without host bits", p)
		}
	}
	return nil
}
