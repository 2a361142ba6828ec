package bridge

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

const (
	defaultVNI   = 4660
	defaultLimit = 100_000
	maxPeers     = 1000
	maxWeight    = 256 // of a nexthop: the kernel keeps weight-1 in one byte
)

// withDefaults returns cfg with its zero values resolved, or what is wrong with it.
func (cfg Config) withDefaults() (Config, error) {
	if cfg.VNI == 0 {
		cfg.VNI = defaultVNI
	}
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	if cfg.Mode == Off {
		return cfg, nil
	}
	return cfg, errors.Join(cfg.validateHost(), cfg.validateVIPs(), cfg.validatePeers(), cfg.validateMode())
}

func (cfg Config) validateHost() error {
	var errs []error
	if cfg.Mode < Auto || cfg.Mode > Off {
		errs = append(errs, fmt.Errorf("bridge: %v: must be auto, srv6, vxlan or off", cfg.Mode))
	}
	if len(cfg.Uplinks) == 0 {
		errs = append(errs, errors.New("bridge: uplinks: name the interfaces on which clients' packets arrive"))
	}
	seen := make(map[string]bool)
	for _, name := range cfg.Uplinks {
		switch {
		case name == "" || len(name) >= 16 || name == "lo" || name == device:
			errs = append(errs, fmt.Errorf("bridge: uplink %q: must be the name of an interface other than lo and %s", name, device))
		case seen[name]:
			errs = append(errs, fmt.Errorf("bridge: uplink %s: appears twice", name))
		}
		seen[name] = true
	}
	if cfg.VNI >= 1<<24 {
		errs = append(errs, fmt.Errorf("bridge: vni %d: must be below 2^24", cfg.VNI))
	}
	if cfg.Limit < 1 {
		errs = append(errs, fmt.Errorf("bridge: limit %d: must be positive", cfg.Limit))
	}
	return errors.Join(errs...)
}

func (cfg Config) validateVIPs() error {
	var errs []error
	seen := make(map[netip.Prefix]bool)
	for _, vip := range cfg.VIPs {
		switch {
		case !vip.IsValid() || !vip.IsSingleIP() || !unicast(vip.Addr()):
			errs = append(errs, vipError{vip, fmt.Errorf("bridge: VIP %v: must be one unicast address, /32 or /128", vip)})
		case seen[vip]:
			errs = append(errs, vipError{vip, fmt.Errorf("bridge: VIP %v: appears twice", vip)})
		}
		seen[vip] = true
	}
	return errors.Join(errs...)
}

// validatePeers also checks the host's own addresses: none may be used twice, and none may be a VIP, which leads to
// whatever host is nearest.
func (cfg Config) validatePeers() error {
	var errs []error
	if len(cfg.Peers) > maxPeers {
		errs = append(errs, fmt.Errorf("bridge: %d peers: at most %d", len(cfg.Peers), maxPeers))
	}
	owners := make(map[netip.Addr]string)
	for _, vip := range cfg.VIPs {
		owners[vip.Addr()] = "a VIP"
	}
	claim := func(owner, what string, addr netip.Addr, ok bool) {
		switch taken := owners[addr]; {
		case !addr.IsValid():
		case !ok:
			errs = append(errs, fmt.Errorf("bridge: %s: %s %v: not of the right kind", owner, what, addr))
		case taken != "":
			errs = append(errs, fmt.Errorf("bridge: %s: %s %v: is already %s", owner, what, addr, taken))
		default:
			owners[addr] = what + " of " + owner
		}
	}
	claimAll := func(owner string, p Peer) {
		claim(owner, "sid", p.SID, segment(p.SID))
		claim(owner, "sid4", p.SID4, segment(p.SID4))
		claim(owner, "source", p.Source, unicast(p.Source))
	}
	claimAll("this host", Peer{SID: cfg.SID, SID4: cfg.SID4, Source: cfg.Source})
	names := make(map[string]bool)
	for i, p := range cfg.Peers {
		switch {
		case p.Name == "":
			errs = append(errs, fmt.Errorf("bridge: peer %d: name: missing", i+1))
		case names[p.Name]:
			errs = append(errs, fmt.Errorf("bridge: peer %s: appears twice", p.Name))
		}
		names[p.Name] = true
		if !p.Source.IsValid() {
			errs = append(errs, fmt.Errorf("bridge: peer %s: source: missing: its packets would not be accepted here", p.Name))
		}
		claimAll("peer "+p.Name, p)
	}
	return errors.Join(errs...)
}

// validateMode checks what a mode needs when it is asked for by name.
func (cfg Config) validateMode() error {
	var errs []error
	if cfg.Mode == SRv6 {
		if lacking := cfg.lackingSegment(); lacking != "" {
			errs = append(errs, fmt.Errorf("bridge: mode srv6: %s: missing", lacking))
		}
	}
	for _, addr := range cfg.endpoints() {
		if first := cfg.endpoints()[0]; addr.Is4() != first.Is4() {
			errs = append(errs, fmt.Errorf("bridge: sources %v and %v: must be of one address family", first, addr))
			break
		}
	}
	return errors.Join(errs...)
}

// endpoints are the unicast addresses of all hosts, as far as they are configured.
func (cfg Config) endpoints() []netip.Addr {
	var all []netip.Addr
	if cfg.Source.IsValid() {
		all = append(all, cfg.Source)
	}
	for _, p := range cfg.Peers {
		if p.Source.IsValid() {
			all = append(all, p.Source)
		}
	}
	return all
}

// lackingSegment names the first segment that SRv6 would need and that is not configured: a host that has an IPv4 VIP
// needs sid4, for instance.
func (cfg Config) lackingSegment() string {
	hosts := append([]Peer{{SID: cfg.SID, SID4: cfg.SID4}}, cfg.Peers...)
	for i, p := range hosts {
		owner := ""
		if i > 0 {
			owner = "peer " + p.Name + ": "
		}
		if cfg.has(family6) && !p.SID.IsValid() {
			return owner + "sid"
		}
		if cfg.has(family4) && !p.SID4.IsValid() {
			return owner + "sid4"
		}
	}
	return ""
}

// has tells whether there is a VIP of the family.
func (cfg Config) has(f family) bool {
	for _, vip := range cfg.VIPs {
		if familyOf(vip.Addr()) == f {
			return true
		}
	}
	return false
}

// families are those for which this host has rules. IPv6 is always one: SRv6 is IPv6 underneath.
func (cfg Config) families() []family {
	if cfg.has(family4) {
		return []family{family6, family4}
	}
	return []family{family6}
}

func (cfg Config) peer(name string) (index int, ok bool) {
	for i, p := range cfg.Peers {
		if p.Name == name {
			return i, true
		}
	}
	return 0, false
}

func unicast(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && (a.IsGlobalUnicast())
}

func segment(a netip.Addr) bool { return unicast(a) && a.Is6() }

// hardwareAddr is the address of a host's end of the VXLAN, made from its endpoint: so every host knows all of them, and
// nobody has to ask or learn.
func hardwareAddr(endpoint netip.Addr) net.HardwareAddr {
	b := endpoint.As16()
	sum := sha256.Sum256(b[:])
	return append(net.HardwareAddr{0x02}, sum[:5]...) // locally administered, not multicast
}

// gateway is the next hop that stands for the host with this endpoint in routes over the tunnel device, whatever the
// mode: a link-local address made from its hardware address.
func gateway(endpoint netip.Addr) netip.Addr {
	m := hardwareAddr(endpoint)
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]})
}
