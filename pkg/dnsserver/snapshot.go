package dnsserver

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// negativeTTL bounds how long a resolver may remember that something does not exist (RFC 2308 section 5).
const negativeTTL = 5 * time.Second

// briefTTL is that of what a service in panic does not have: it is as short as that of what it has.
const briefTTL = 1

// maxName is a name of 255 octets (RFC 1035 section 2.3.4) as text, which lacks the first label's length and the root's
// but has a dot at its end. The library would pack, and never read again, one more.
const maxName = 254

// The timers of the SOA record are for secondaries, of which there are none: anycast sites read the same files.
const (
	soaRefresh = 3600
	soaRetry   = 600
	soaExpire  = 86400
)

// A snapshot is compiled content: every name that exists, ready to answer. Its names never change, but for those of
// endpoints; what is known of a service does, each in its cell.
type snapshot struct {
	site     string
	synced   bool
	made     atomic.Int64 // when content changed last, Unix time in nanoseconds
	serial   uint32       // the last one that a zone was given; only writers look at it
	zones    map[string]*zone
	nodes    map[string]*node // every name that exists, lower case; those of endpoints are found on the way
	wire     index            // the same by their names on the wire
	services map[string]*cell
	states   [3]atomic.Int64 // endpoints by steering.State
	pointers pointers
	outside  []uint16 // places of what lies in no zone, by view
	access   *access  // nil: everybody may ask for everything
}

type zone struct {
	name      string
	ttl       uint32
	minTTL    uint32 // of answers that hang on checks
	reverse   bool   // of names that are addresses
	ns        []dns.RR
	glue      []dns.RR
	acl       int      // index in class.zones; -1: none of its own
	places    []uint16 // for counters, by view; the first is without one
	authority atomic.Pointer[authority]
	// addresses are those of the name servers, each once: the answer to the health name.
	addresses []netip.Addr

	// For the hot path:
	wireSize int    // of name
	nsid     []byte // the option that tells the site
}

// authority is the SOA record of a zone, which also tells that there is nothing. It is replaced when its serial changes.
type authority struct {
	soa      *dns.SOA
	brief    *dns.SOA // of a service that has nothing for now
	wire     []byte   // of answers on the hot path
	pointers []int    // where in it a pointer to the zone's name belongs
}

// A node is a name that exists. One with neither content is an empty non-terminal: only names below it have records
// (RFC 8020). What every answer needs comes first.
type node struct {
	wire      string // its name on the wire, of those that an index has
	zone      *zone
	cell      *cell // of kinds steered, srv, pod, explained, scheme and schemePort
	kind      kind
	owner     *cell            // of kind pointer: whose pod it is
	addresses []netip.Addr     // of kind nameServer
	target    string           // of kind pointer
	semantic  map[string]*cell // of kind instances: by the labels above the instance's, nil when they are not a service's whole name
	rrtype    uint16           // of kinds scheme and schemePort: of service bindings
	_         [24]byte         // two cache lines, where many lie in one piece
}

type kind uint8

const (
	empty kind = iota
	apex
	nameServer
	healthName
	steered
	srv
	pod
	pointer
	explained  // the name that tells of a service
	instances  // the name below which those of instances are
	scheme     // a scheme label of service bindings
	schemePort // a port label below it
)

// firm tells that what is known of the name does not hang on the sources of services.
func (n *node) firm() bool { return n != nil && (n.kind == apex || n.kind == nameServer) }

// compile makes a snapshot of c. What is the same in old, which may be nil, is taken from there; start gives the first
// turn of a new picker.
func compile(site string, c Content, old *snapshot, now time.Time, start func() uint64) (*snapshot, error) {
	s := &snapshot{
		site: site, synced: c.Synced, serial: serial(old, now),
		zones:    make(map[string]*zone, len(c.Zones)),
		nodes:    make(map[string]*node, 2*len(c.Services)),
		services: make(map[string]*cell, len(c.Services)),
	}
	s.made.Store(now.UnixNano())
	s.access = compileAccess(c.Access, old.accessOf())
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
			return nil, &ServiceError{sv.Name, err}
		}
	}
	if err := s.checkPods(); err != nil {
		return nil, err
	}
	s.doubt(c.Stale)
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
	c := &zone{name: z.Name, ttl: uint32(z.TTL / time.Second), minTTL: uint32(z.MinTTL / time.Second), reverse: s.pointers.addZone(z.Name), acl: s.access.zoneIndex(z.Name)}
	if err := checkName(c.mailbox()); err != nil {
		return fmt.Errorf("is too long: no room for the SOA record's mailbox: %w", err)
	}
	for _, ns := range z.NS {
		c.ns = append(c.ns, &dns.NS{Hdr: header(z.Name, dns.TypeNS, c.ttl), Ns: ns.Name})
	}
	s.zones[z.Name] = c
	return s.addNode(z.Name, &node{zone: c, kind: apex})
}

// mailbox is that of the SOA record: nobody reads it.
func (z *zone) mailbox() string {
	if z.name == "." {
		return "hostmaster."
	}
	return "hostmaster." + z.name
}

// fillZone adds a zone's name servers and its health name. It needs all zones first.
func (s *snapshot) fillZone(z Zone) error {
	c := s.zones[z.Name]
	for _, ns := range z.NS {
		if err := checkName(ns.Name); err != nil {
			return err
		}
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
	z := s.zoneOf(sv.Name)
	if z == nil {
		return errors.New("lies in none of the zones: add its zone, or rename it")
	}
	c := &cell{zone: z, rank: len(s.services)}
	c.now.Store(newService(sv, old.service(sv.Name), s.access, start))
	for state, n := range c.load().states {
		s.states[state].Add(int64(n))
	}
	s.services[sv.Name] = c
	if err := s.addNode(sv.Name, &node{zone: z, kind: steered, cell: c}); err != nil {
		return err
	}
	if err := s.addNames(c, sv); err != nil {
		return err
	}
	return s.addSemantic(c, sv, old, start)
}

// service returns what is known of the one of that name, nil when there is none; s may be nil.
func (s *snapshot) service(name string) *service {
	if s == nil || s.services[name] == nil {
		return nil
	}
	return s.services[name].load()
}

func (s *snapshot) addNode(name string, n *node) error {
	if strings.HasPrefix(name, explainPrefix) {
		return fmt.Errorf("%s: names of services tell of them below it: rename it", name)
	}
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
		z.compileWire(s.site, s.serial)
	}
	// Nobody's cache holds ten thousand names, so they lie as close together as they can.
	var names []byte
	var ends []int
	nodes := make([]node, 0, len(s.nodes))
	for name, n := range s.nodes {
		names = append(names, wireName(name)...)
		nodes, ends = append(nodes, *n), append(ends, len(names))
		s.nodes[name] = &nodes[len(nodes)-1]
	}
	text, begin := string(names), 0
	for i := range nodes {
		nodes[i].wire, begin = text[begin:ends[i]], ends[i]
	}
	s.wire = newIndex(nodes)
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

// zoneFor returns the zone that a question is for. A DS record stands on the parent's side of a cut (RFC 4035 section 3.1.4.1): where we have
// the zone above too, that one answers.
func (s *snapshot) zoneFor(name string, qtype uint16) *zone {
	z := s.zoneOf(name)
	if qtype == dns.TypeDS && z != nil && z.name == name && name != "." {
		return cmp.Or(s.zoneOf(parent(name)), z)
	}
	return z
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
