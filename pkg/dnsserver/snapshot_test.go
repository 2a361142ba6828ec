package dnsserver

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

func TestContentIsRefused(t *testing.T) {
	zone := func(name string, ns ...NS) Zone { return Zone{Name: name, TTL: time.Second, NS: ns} }
	ns := NS{Name: "ns.example.", Addresses: addrs("2001:db8::1")}
	tests := []struct {
		name, want string
		content    Content
	}{
		{"no name server", "zone example.: needs at least one name server: add ns", Content{Zones: []Zone{zone("example.")}}},
		{"zone twice", "zone example.: is given twice: give it once", Content{Zones: []Zone{zone("example.", ns), zone("example.", ns)}}},
		{"zone in capitals", `zone Example.: "Example." is not a lower-case, fully qualified domain name`, Content{Zones: []Zone{zone("Example.", ns)}}},
		{"zone without dot", `zone example: "example" is not a lower-case, fully qualified domain name`, Content{Zones: []Zone{zone("example", ns)}}},
		{"zone without name", `zone : "" is not a lower-case, fully qualified domain name`, Content{Zones: []Zone{zone("", ns)}}},
		{"server without name", `zone example.: "" is not a lower-case, fully qualified domain name`, Content{Zones: []Zone{zone("example.", NS{})}}},
		{"server elsewhere with addresses", "zone example.: ns.other. does not lie in this zone", Content{Zones: []Zone{zone("example.", NS{Name: "ns.other.", Addresses: addrs("::1")})}}},
		{"server is the zone", "zone example.: example. has another meaning already: rename one of the two", Content{Zones: []Zone{zone("example.", NS{Name: "example.", Addresses: addrs("::1")})}}},
		{
			"service elsewhere", "service api.other.: lies in none of the zones: add its zone, or rename it",
			Content{Zones: []Zone{zone("example.", ns)}, Services: []steering.Service{testService("api.other.", 1)}},
		},
		{
			"service is the health name", "service health.example.: health.example. has another meaning already: rename one of the two",
			Content{Zones: []Zone{zone("example.", ns)}, Services: []steering.Service{testService("health.example.", 1)}},
		},
		{
			"service twice", "service a.example.: a.example. has another meaning already: rename one of the two",
			Content{Zones: []Zone{zone("example.", ns)}, Services: []steering.Service{testService("a.example.", 1), testService("a.example.", 1)}},
		},
		{
			"service is a pod", "ip-10-0-0-1.a.example. is the name of its endpoint 10.0.0.1: rename one of the two",
			Content{Zones: []Zone{zone("example.", ns)}, Services: []steering.Service{testService("ip-10-0-0-1.a.example.", 1), testService("a.example.", 1, "10.0.0.1 up")}},
		},
		{
			"SRV name too long", "is not a lower-case, fully qualified domain name",
			Content{Zones: []Zone{zone("example.", ns)}, Services: []steering.Service{withPort(testService(strings.Repeat("a", 48)+"."+strings.Repeat(strings.Repeat("a", 63)+".", 3)+"example.", 1, "10.0.0.1 up"))}},
		},
		{
			"zone without room for its mailbox", "is too long: no room for the SOA record's mailbox: ",
			Content{Zones: []Zone{zone(strings.Repeat(strings.Repeat("a", 60)+".", 4), NS{Name: "ns.example."})}},
		},
		{
			"name of 256 octets", "is not a lower-case, fully qualified domain name",
			Content{Zones: []Zone{zone("example.", ns)}, Services: []steering.Service{testService(strings.Repeat("a", 54)+"."+strings.Repeat(strings.Repeat("a", 63)+".", 3)+"example.", 1)}},
		},
		{
			"label too long", "is not a lower-case, fully qualified domain name",
			Content{Zones: []Zone{zone("example.", ns)}, Services: []steering.Service{testService(strings.Repeat("a", 64)+".example.", 1)}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := compile("mec-1", tt.content, nil, testTime, rand.Uint64)
			if err == nil || s != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("compile = %v, want %s", err, tt.want)
			}
		})
	}
}

func withPort(s steering.Service) steering.Service {
	s.PortName = "http"
	return s
}

func TestRootZone(t *testing.T) {
	s := testSnapshot(t, Content{Synced: true, Zones: []Zone{{Name: ".", TTL: time.Second, NS: []NS{{Name: "ns.", Addresses: addrs("::1")}}}}})
	for question, want := range map[string]int{"health. AAAA": dns.RcodeSuccess, "x.y. AAAA": dns.RcodeNameError, ". SOA": dns.RcodeSuccess} {
		if _, x := reply(s, nil, pack(t, ask(question)), udp, testClient); x.rcode != want {
			t.Errorf("%s: %s, want %s", question, dns.RcodeToString[x.rcode], dns.RcodeToString[want])
		}
	}
}

func TestSerialGrows(t *testing.T) {
	var last *snapshot
	for _, now := range []time.Time{testTime, testTime, testTime.Add(-time.Hour), testTime.Add(time.Minute), time.Unix(1<<32+5, 0)} {
		next, err := compile("mec-1", testContent(true), last, now, rand.Uint64)
		if err != nil {
			t.Fatal(err)
		}
		if last != nil && int32(next.serial-last.serial) <= 0 {
			t.Errorf("serial %d after %d", next.serial, last.serial)
		}
		last = next
	}
}

func TestUnchangedServiceKeepsItsTurn(t *testing.T) {
	c := testContent(true)
	first := testSnapshot(t, c)
	changed := testContent(true)
	changed.Services[0].Endpoints[0].State = steering.Down
	second, err := compile("mec-1", changed, first, testTime, rand.Uint64)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"api.edge.example.": false, "a.b.edge.example.": true} {
		if got := first.services[name].load() == second.services[name].load(); got != want {
			t.Errorf("%s kept: %v, want %v", name, got, want)
		}
	}
	if &first.services["api.edge.example."].load().Endpoints[0] != &c.Services[0].Endpoints[0] {
		t.Error("the snapshot copied the endpoints")
	}
}

// Every name between a name that exists and its zone exists; nothing else does.
func TestEveryAncestorExists(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		s := testSnapshot(t, randomContent(random))
		for name := range s.nodes {
			for up := name; up != "zone."; up = parent(up) {
				if s.nodes[up] == nil {
					t.Fatalf("%s exists, %s above it does not", name, up)
				}
			}
		}
		for name, n := range s.nodes {
			if n.kind == empty && !hasBelow(s, name) {
				t.Fatalf("%s exists though nothing is below it", name)
			}
			if n.zone != s.zoneOf(name) {
				t.Fatalf("%s is of zone %s", name, n.zone.name)
			}
		}
	}
}

func randomContent(random *rand.Rand) Content {
	labels := func(n int) (s string) {
		for range n {
			s += string(rune('a'+random.IntN(3))) + "."
		}
		return s
	}
	var c Content
	taken := map[string]bool{}
	for _, below := range []string{"", labels(1 + random.IntN(3)), labels(1 + random.IntN(3))} {
		if z := below + "zone."; !taken[z] {
			taken[z] = true
			c.Zones = append(c.Zones, Zone{Name: z, NS: []NS{{Name: "ns." + z, Addresses: addrs("::1")}}})
		}
	}
	for range random.IntN(10) {
		if name := labels(1+random.IntN(5)) + "zone."; !taken[name] {
			taken[name] = true
			c.Services = append(c.Services, testService(name, 1))
		}
	}
	return c
}

func hasBelow(s *snapshot, name string) bool {
	for other := range s.nodes {
		if other != name && dns.IsSubDomain(name, other) {
			return true
		}
	}
	return false
}

// Records of a zone are shared by all answers: the race detector sees who writes to them.
func TestAnswersShareRecords(t *testing.T) {
	s := testSnapshot(t, testContent(true))
	for range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for _, question := range []string{"edge.example. NS", "edge.example. SOA", "no.edge.example. A", "health.edge.example. A"} {
				for _, opt := range []func(*dns.Msg){edns(1232), edns(512, &dns.EDNS0_NSID{Code: dns.EDNS0NSID}), func(*dns.Msg) {}} {
					if out, _ := reply(s, nil, pack(t, ask(question, opt)), udp, testClient); len(out) < headerSize {
						t.Errorf("%s: %x", question, out)
					}
				}
			}
		})
	}
	if got := len(s.zones["edge.example."].glue); got != 2 {
		t.Errorf("glue has grown to %d records", got)
	}
}
