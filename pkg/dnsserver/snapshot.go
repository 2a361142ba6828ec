package dnsserver

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// A Snapshot is everything that is answered, as of one moment. It does not change, but for the turns of its pickers,
// and is safe for concurrent use.
type Snapshot struct {
	zones map[string]*zone
	names map[string]*name // every name below the zones, empty non-terminals too
	built time.Time

	services  int
	panics    int                    // service and family pairs that answer in panic
	endpoints map[steering.State]int // of all services
}

// zone is a Zone ready to be answered from.
type zone struct {
	name     string
	ttl      uint32 // seconds
	soa      *dns.SOA
	negative *dns.SOA // the same with the TTL of negative answers, RFC 2308 section 5
	ns       []dns.RR
	glue     []dns.RR
}

// name is what is known of one name. One without addresses and pickers is an empty non-terminal.
type name struct {
	zone      *zone
	addresses []netip.Addr                // fixed ones: name servers and health
	pickers   map[uint16]*steering.Picker // by RR type: A and AAAA
	unsure    bool                        // not to be answered yet: some endpoint has no verdict
}

// Compile makes a snapshot. The services lie in the zones; start decides which endpoint is first (steering.NewPicker).
// Before a service is synced (steering.Service.Synced), it and the health name of its zone are answered SERVFAIL.
func Compile(zones []Zone, services []steering.Service, now time.Time, start uint64) (*Snapshot, error) {
	s := &Snapshot{
		zones: make(map[string]*zone, len(zones)), names: make(map[string]*name, 2*len(services)), built: now,
		services: len(services), endpoints: map[steering.State]int{},
	}
	for _, z := range zones {
		s.addZone(z, now)
	}
	for _, service := range services {
		if err := s.addService(service, start); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *Snapshot) addZone(z Zone, now time.Time) {
	compiled := newZone(z, now)
	s.zones[z.Name] = compiled
	s.add(compiled, z.Name).addresses = nil
	health := s.add(compiled, healthLabel+z.Name)
	for _, ns := range z.NS {
		if len(ns.Addresses) == 0 {
			continue // outside the zone
		}
		s.add(compiled, ns.Name).addresses = ns.Addresses
		health.addresses = append(health.addresses, ns.Addresses...)
	}
}

func newZone(z Zone, now time.Time) *zone {
	ttl, negative := seconds(z.TTL), seconds(min(z.TTL, maxNegativeTTL))
	compiled := &zone{name: z.Name, ttl: ttl}
	primary := z.Name
	if len(z.NS) > 0 {
		primary = z.NS[0].Name
	}
	compiled.soa = &dns.SOA{
		Hdr: header(z.Name, dns.TypeSOA, ttl), Ns: primary, Mbox: "hostmaster." + z.Name,
		Serial: uint32(now.Unix()), Refresh: 3600, Retry: 600, Expire: 86400, Minttl: negative,
	}
	compiled.negative = dns.Copy(compiled.soa).(*dns.SOA)
	compiled.negative.Hdr.Ttl = negative
	for _, ns := range z.NS {
		compiled.ns = append(compiled.ns, &dns.NS{Hdr: header(z.Name, dns.TypeNS, ttl), Ns: ns.Name})
		for _, a := range ns.Addresses {
			compiled.glue = append(compiled.glue, addressRecord(ns.Name, a, ttl))
		}
	}
	return compiled
}

func (s *Snapshot) addService(service steering.Service, start uint64) error {
	z := s.zoneOf(service.Name)
	if z == nil {
		return fmt.Errorf("service %s: lies in none of the zones", service.Name)
	}
	n := s.add(z, service.Name)
	if len(n.pickers) > 0 || len(n.addresses) > 0 {
		return fmt.Errorf("service %s: the name is taken", service.Name)
	}
	n.pickers = map[uint16]*steering.Picker{
		dns.TypeAAAA: steering.NewPicker(service, steering.IPv6, start),
		dns.TypeA:    steering.NewPicker(service, steering.IPv4, start),
	}
	for _, p := range n.pickers {
		if p.Panic() != "" {
			s.panics++
		}
	}
	for _, e := range service.Endpoints {
		s.endpoints[e.State]++
	}
	if !service.Synced() {
		n.unsure = true
		s.names[healthLabel+z.name].unsure = true
	}
	return nil
}

// add makes a name of a zone, and the empty non-terminals between the two (RFC 8020: what has names below it exists).
func (s *Snapshot) add(z *zone, full string) *name {
	for at := full; ; at = parent(at) {
		if s.names[at] == nil {
			s.names[at] = &name{zone: z}
		}
		if at == z.name {
			return s.names[full]
		}
	}
}

// zoneOf returns the closest zone that holds a name (lower case, fully qualified), or nil.
func (s *Snapshot) zoneOf(full string) *zone {
	for at := full; ; at = parent(at) {
		if z := s.zones[at]; z != nil {
			return z
		}
		if at == "." {
			return nil
		}
	}
}

// parent cuts the first label off.
func parent(full string) string {
	i, end := dns.NextLabel(full, 0)
	if end {
		return "."
	}
	return full[i:]
}

func header(owner string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

func addressRecord(owner string, a netip.Addr, ttl uint32) dns.RR {
	if a.Is4() {
		return &dns.A{Hdr: header(owner, dns.TypeA, ttl), A: a.AsSlice()}
	}
	return &dns.AAAA{Hdr: header(owner, dns.TypeAAAA, ttl), AAAA: a.AsSlice()}
}

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// lower folds a name as RFC 4343 wants it: ASCII only.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
