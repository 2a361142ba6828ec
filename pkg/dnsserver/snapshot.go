package dnsserver

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// negativeTTL bounds how long a resolver may remember that something does not exist (RFC 2308 section 5).
const negativeTTL = 5 * time.Second

// maxName is a name of 255 octets (RFC 1035 section 2.3.4) as text, which lacks the first label's length and the root's
// but has a dot at its end. The library would pack, and never read again, one more.
const maxName = 254

// The timers of the SOA record are for secondaries, of which there are none: anycast sites read the same files.
const (
	soaRefresh = 3600
	soaRetry   = 600
	soaExpire  = 86400
)

// A snapshot is compiled content: every name that exists, ready to answer. Nothing in it changes, but the turns that
// its pickers count.
type snapshot struct {
	site     string
	synced   bool
	made     time.Time
	serial   uint32
	zones    map[string]*zone
	nodes    map[string]*node // every name that exists, lower case
	wire     map[string]*node // the same by their names on the wire
	services map[string]*service
	states   [3]int // endpoints by steering.State
	reverse  bool   // a zone of names that are addresses is among zones
}

type zone struct {
	name string
	ttl  uint32
	soa  *dns.SOA
	ns   []dns.RR
	glue []dns.RR
	// addresses are those of the name servers, each once: the answer to the health name.
	addresses []netip.Addr

	// For the hot path:
	wireSize int    // of name
	negative []byte // the SOA record of answers that there is nothing
	pointers []int  // where in it a pointer to the zone's name belongs
	nsid     []byte // the option that tells the site
}

// service has a picker for each family. It lives on from snapshot to snapshot while its content stays the same, so
// that a change of one service does not disturb the turns of the others.
type service struct {
	steering.Service
	pickers [2]*steering.Picker // by steering.Family
	targets []target            // of SRV records
	turn    atomic.Uint64       // index of the first target of the next answer, modulo their number
}

// A node is a name that exists. One with neither content is an empty non-terminal: only names below it have records
// (RFC 8020).
type node struct {
	zone      *zone
	kind      kind
	service   *service     // of kinds steered and srv
	addresses []netip.Addr // of kinds nameServer and pod
	target    string       // of kind pointer
}

type kind int

const (
	empty kind = iota
	apex
	nameServer
	healthName
	steered
	srv
	pod
	pointer
)

// firm tells that what is known of the name does not hang on the sources of services.
func (n *node) firm() bool { return n != nil && (n.kind == apex || n.kind == nameServer) }

// compile makes a snapshot of c. What is the same in old, which may be nil, is taken from there; start gives the first
// turn of a new picker.
func compile(site string, c Content, old *snapshot, now time.Time, start func() uint64) (*snapshot, error) {
	s := &snapshot{
		site: site, synced: c.Synced, made: now, serial: serial(old, now),
		zones:    make(map[string]*zone, len(c.Zones)),
		nodes:    make(map[string]*node, 2*len(c.Services)),
		services: make(map[string]*service, len(c.Services)),
	}
	for _, z := range c.Zones {
		if err := s.addZone(z); err != nil {
			return nil, fmt.Errorf("zone %s: %w", z.Name, err)
		}
	}
	for _, z := range c.Zones {
		if err := s.fillZone(z); err != nil {
			return nil, fmt.Errorf("zone %s: %w", z.Name, err)
		}
	}
	for _, sv := range c.Services {
		if err := s.addService(sv, old, start); err != nil {
			return nil, fmt.Errorf("service %s: %w", sv.Name, err)
		}
	}
	if err := s.checkPods(); err != nil {
		return nil, err
	}
	s.addEmpty()
	s.addWire()
	return s, nil
}

// serial counts snapshots: the time in seconds, and still one more than before if the clock was set back or two
// snapshots share a second (RFC 1982 arithmetic wraps).
func serial(old *snapshot, now time.Time) uint32 {
	n := uint32(now.Unix())
	if old != nil && int32(n-old.serial) <= 0 {
		return old.serial + 1
	}
	return n
}

func (s *snapshot) addZone(z Zone) error {
	if err := checkName(z.Name); err != nil {
		return err
	}
	if s.zones[z.Name] != nil {
		return errors.New("is given twice: give it once")
	}
	if len(z.NS) == 0 {
		return errors.New("needs at least one name server: add ns")
	}
	c := &zone{name: z.Name, ttl: uint32(z.TTL / time.Second)}
	negative := min(c.ttl, uint32(negativeTTL/time.Second))
	mailbox := "hostmaster." + z.Name
	if z.Name == "." {
		mailbox = "hostmaster."
	}
	if err := checkName(mailbox); err != nil {
		return fmt.Errorf("is too long: no room for the SOA record's mailbox: %w", err)
	}
	c.soa = &dns.SOA{
		Hdr: header(z.Name, dns.TypeSOA, negative), Ns: z.NS[0].Name, Mbox: mailbox, Serial: s.serial,
		Refresh: soaRefresh, Retry: soaRetry, Expire: soaExpire, Minttl: negative,
	}
	s.zones[z.Name] = c
	s.reverse = s.reverse || dns.IsSubDomain("arpa.", z.Name)
	return s.addNode(z.Name, &node{zone: c, kind: apex})
}

// fillZone adds a zone's name servers and its health name. It needs all zones first.
func (s *snapshot) fillZone(z Zone) error {
	c := s.zones[z.Name]
	for _, ns := range z.NS {
		if err := checkName(ns.Name); err != nil {
			return err
		}
		c.ns = append(c.ns, &dns.NS{Hdr: header(z.Name, dns.TypeNS, c.ttl), Ns: ns.Name})
		if len(ns.Addresses) == 0 {
			continue
		}
		for _, a := range ns.Addresses {
			c.glue = append(c.glue, addressRecord(ns.Name, c.ttl, a))
			if !slices.Contains(c.addresses, a) {
				c.addresses = append(c.addresses, a)
			}
		}
		if err := s.addNode(ns.Name, &node{zone: c, kind: nameServer, addresses: ns.Addresses}); err != nil {
			return err
		}
	}
	health := "health." + z.Name
	if z.Name == "." {
		health = "health."
	}
	return s.addNode(health, &node{zone: c, kind: healthName})
}

func (s *snapshot) addService(sv steering.Service, old *snapshot, start func() uint64) error {
	if err := checkName(sv.Name); err != nil {
		return err
	}
	c := old.reuse(sv)
	if c == nil {
		sv = sv.Clone()
		c = &service{Service: sv}
		for f := range c.pickers {
			c.pickers[f] = old.picker(sv, steering.Family(f), start)
		}
		c.targets = newTargets(sv)
		c.turn.Store(start() % uint64(max(len(c.targets), 1)))
	}
	z := s.zoneOf(sv.Name)
	if z == nil {
		return errors.New("lies in none of the zones: add its zone, or rename it")
	}
	for _, e := range sv.Endpoints {
		if e.State >= 0 && int(e.State) < len(s.states) {
			s.states[e.State]++
		}
	}
	s.services[sv.Name] = c
	if err := s.addNode(sv.Name, &node{zone: z, kind: steered, service: c}); err != nil {
		return err
	}
	return s.addNames(c, z)
}

// reuse returns the compiled service when it is exactly sv; s may be nil.
func (s *snapshot) reuse(sv steering.Service) *service {
	if s == nil {
		return nil
	}
	if c := s.services[sv.Name]; c != nil && c.Equal(sv) {
		return c
	}
	return nil
}

// picker compiles one that goes on with the turns that the service has had so far; s may be nil.
func (s *snapshot) picker(sv steering.Service, f steering.Family, start func() uint64) *steering.Picker {
	if s != nil && s.services[sv.Name] != nil && !s.services[sv.Name].pickers[f].Empty() {
		return s.services[sv.Name].pickers[f].Follow(sv, f)
	}
	return steering.NewPicker(sv, f, start())
}

func (s *snapshot) addNode(name string, n *node) error {
	if s.nodes[name] != nil {
		return fmt.Errorf("%s has another meaning already: rename one of the two", name)
	}
	if z := s.zoneOf(name); z != n.zone {
		return fmt.Errorf("%s does not lie in this zone", name)
	}
	s.nodes[name] = n
	return nil
}

// addEmpty adds the empty non-terminals: without them a resolver that asks label by label (RFC 9156) would be told that
// nothing exists below.
func (s *snapshot) addEmpty() {
	missing := make(map[string]*zone)
	for name, n := range s.nodes {
		for up := parent(name); n.kind != apex && up != n.zone.name; up = parent(up) {
			missing[up] = n.zone
		}
		if above := s.zoneOf(parent(name)); n.kind == apex && name != "." && above != nil {
			for up := parent(name); up != above.name; up = parent(up) {
				missing[up] = above
			}
		}
	}
	for name, z := range missing {
		if s.nodes[name] == nil {
			s.nodes[name] = &node{zone: z}
		}
	}
}

// addWire prepares the hot path.
func (s *snapshot) addWire() {
	for _, z := range s.zones {
		z.compileWire(s.site)
	}
	s.wire = make(map[string]*node, len(s.nodes))
	for name, n := range s.nodes {
		s.wire[string(wireName(name))] = n
	}
}

// zoneOf returns the closest zone that name lies in, or nil.
func (s *snapshot) zoneOf(name string) *zone {
	for {
		if z := s.zones[name]; z != nil || name == "." {
			return z
		}
		name = parent(name)
	}
}

// parent returns name without its first label; that of the root is the root.
func parent(name string) string {
	i, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[i:]
}

// checkName refuses what a map of canonical names could never answer.
func checkName(name string) error {
	if _, ok := dns.IsDomainName(name); !ok || len(name) > maxName || name != dns.CanonicalName(name) {
		return fmt.Errorf("%q is not a lower-case, fully qualified domain name", name)
	}
	return nil
}
