package bfd

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Limits and defaults of a Config.
const (
	minInterval       = time.Millisecond
	maxInterval       = time.Minute
	defaultInterval   = 50 * time.Millisecond
	defaultMultiplier = 3
)

// withDefaults returns checked copies.
func withDefaults(configs []Config) ([]Config, error) {
	done := make([]Config, 0, len(configs))
	for _, c := range configs {
		c = c.withDefaults()
		if err := c.validate(); err != nil {
			return nil, fmt.Errorf("peer %s: %w", c.Peer, err)
		}
		for _, other := range done {
			if c.confusable(other) {
				return nil, fmt.Errorf("peer %s: is named twice: give both sessions an interface, each another", c.Peer)
			}
		}
		done = append(done, c)
	}
	return done, nil
}

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = defaultInterval
	}
	if c.Multiplier == 0 {
		c.Multiplier = defaultMultiplier
	}
	if c.Interface == "" {
		c.Interface = c.Peer.Zone()
	}
	return c
}

func (c Config) validate() error {
	p, l := c.Peer, c.Local
	switch {
	case !p.IsValid() || p.IsUnspecified() || p.IsMulticast() || p.Is4In6():
		return errors.New("must be a unicast address, IPv4 in its own form")
	case p.Is6() && p.IsLinkLocalUnicast() && c.Interface == "":
		return errors.New("a link-local address needs its interface: fe80::1%eth0")
	case p.Zone() != "" && p.Zone() != c.Interface:
		return fmt.Errorf("interface %s: the address says %s", c.Interface, p.Zone())
	case l.IsValid() && (l.Is4() != p.Is4() || l.IsMulticast() || l.IsUnspecified() || l.Is4In6()):
		return fmt.Errorf("local address %s: must be a unicast address of the peer's family, or none", l)
	case c.Interval < minInterval || c.Interval > maxInterval || c.Interval%time.Microsecond != 0:
		return fmt.Errorf("interval %s: must be %s to %s, in whole microseconds", c.Interval, minInterval, maxInterval)
	case c.Multihop && c.Either:
		return errors.New("either is for direct peers, not for multihop ones")
	case c.MinTTL != 0 && !c.Multihop:
		return errors.New("a least TTL is for multihop peers; direct ones must have 255")
	}
	return nil
}

// confusable tells whether a packet without our discriminator could mean both sessions.
func (c Config) confusable(o Config) bool {
	return c.Peer.WithZone("") == o.Peer.WithZone("") && (c.Interface == o.Interface || c.Interface == "" || o.Interface == "")
}

// UDP ports (RFC 5881 section 4, RFC 5883 section 5).
const (
	portSingle   = 3784
	portMultihop = 4784
)

func port(multihop bool) uint16 {
	if multihop {
		return portMultihop
	}
	return portSingle
}

// hops lists on which ports the session may run.
func (c Config) hops() []bool {
	if c.Either {
		return []bool{false, true}
	}
	return []bool{c.Multihop}
}

// ttl checks that of a packet that came to the port.
func (c Config) ttl(ttl int) error {
	least := 255
	if c.Multihop {
		least = int(c.MinTTL)
	}
	if ttl < least {
		return errTTL
	}
	return nil
}

// listens returns what to listen on: the sessions' local addresses, or one for all where a session has none, or one
// that only its interface makes unique.
func listens(configs []Config) []listen {
	type group struct{ v6, multihop bool }
	var order []group
	addresses := make(map[group][]netip.Addr)
	for _, c := range configs {
		for _, multihop := range c.hops() {
			g := group{c.Peer.Is6(), multihop}
			if _, known := addresses[g]; !known {
				order = append(order, g)
			}
			addresses[g] = append(addresses[g], c.listen())
		}
	}
	var all []listen
	for _, g := range order {
		for _, a := range distinct(addresses[g]) {
			all = append(all, listen{netip.AddrPortFrom(a, port(g.multihop)), g.multihop})
		}
	}
	return all
}

// A listen is one address and port.
type listen struct {
	address  netip.AddrPort
	multihop bool
}

func (c Config) listen() netip.Addr {
	switch {
	case c.Local.IsValid() && !c.Local.IsLinkLocalUnicast():
		return c.Local
	case c.Peer.Is6():
		return netip.IPv6Unspecified()
	default:
		return netip.IPv4Unspecified()
	}
}

// distinct returns each address once, and only the unspecified one where it is among them.
func distinct(addresses []netip.Addr) []netip.Addr {
	var all []netip.Addr
	seen := make(map[netip.Addr]bool)
	for _, a := range addresses {
		if a.IsUnspecified() {
			return []netip.Addr{a}
		}
		if !seen[a] {
			seen[a] = true
			all = append(all, a)
		}
	}
	return all
}
