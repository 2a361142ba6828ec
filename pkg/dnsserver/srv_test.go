package dnsserver

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/anyedge/anyedge/pkg/steering"
)

func TestServiceWeights(t *testing.T) {
	for _, tt := range []struct {
		capacities []float64
		want       []uint16
	}{
		{[]float64{1, 65535}, []uint16{1, 65535}},
		{[]float64{0.5, 1.5}, []uint16{21845, 65535}},
		{[]float64{1, 1e300}, []uint16{1, 65535}},
	} {
		if diff := cmp.Diff(tt.want, srvWeights(tt.capacities)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.capacities, diff)
		}
	}
}

// More targets than an answer has room for: each in its turn.
func TestTargetsTakeTurns(t *testing.T) {
	c := testContent(true)
	many := testService("many.edge.example.", 1)
	many.PortName = "http"
	for i := range 20 {
		many.Endpoints = append(many.Endpoints, steering.Endpoint{Address: netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), Port: 80, State: steering.Up})
	}
	c.Services = append(c.Services, many)
	s := testSnapshot(t, c)
	count := map[string]int{}
	for range 20 {
		out, _ := reply(s, nil, pack(t, ask("_http._tcp.many.edge.example. SRV")), tcp, testClient)
		lines := strings.Split(show(unpack(t, out)), "\n")
		for _, line := range lines {
			if _, target, is := strings.Cut(line, "SRV 0 1 80 "); is {
				count[target]++
			}
		}
	}
	for target, n := range count {
		if n != maxAnswers {
			t.Errorf("%s was answered %d times, want %d", target, n, maxAnswers)
		}
	}
	if len(count) != 20 {
		t.Errorf("%d targets, want 20", len(count))
	}
}

// farContent has a service with endpoints on the server's own node, in its site, and elsewhere, near and far.
func farContent(p steering.Policy, spill float64) Content {
	c := namedContent()
	far := testService("far.edge.example.", 1, "2001:db8:5::20 up", "2001:db8:5::1 up", "2001:db8:5::6 up", "2001:db8:5::2 up", "2001:db8:5::3 down", "10.5.0.7 up")
	far.Policy, far.PortName, far.Spill = p, "http", spill
	for i, distance := range []time.Duration{20, 0, 6, 0, 0, 7} {
		far.Endpoints[i].Port, far.Endpoints[i].Distance, far.Endpoints[i].Capacity = 80, distance*time.Millisecond, float64(10*(i+1))
	}
	far.Endpoints[1].Near = true
	c.Services = append(c.Services, far)
	return c
}

// Clients keep to the lowest priority value that they can reach (RFC 2782): that is who is nearest, as in addresses.
func TestNearestTargetsFirst(t *testing.T) {
	for _, tt := range []struct {
		policy steering.Policy
		spill  float64
		want   []string
	}{
		{steering.RoundRobin, 0, []string{"0 1 20", "0 1 1", "0 1 6", "0 1 2", "0 1 7"}},
		{steering.Capacity, 0, []string{"0 10 20", "0 20 1", "0 30 6", "0 40 2", "0 60 7"}},
		{steering.Closest, 0, []string{"0 1 1", "1 1 2", "2 1 6", "2 1 7", "3 1 20"}},
		{steering.ClosestCapacity, 0, []string{"0 20 1", "1 40 2", "2 30 6", "2 60 7", "3 10 20"}},
		{steering.ClosestCapacity, 0.2, []string{"0 65535 1", "0 16384 2", "1 30 6", "1 60 7", "2 10 20"}}, // four answers to one
	} {
		var got []string
		for line := range strings.Lines(showFor(t, testSnapshot(t, farContent(tt.policy, tt.spill)), testClient, ask("_http._tcp.far.edge.example. SRV"))) {
			if _, srv, is := strings.Cut(line, " IN SRV "); is {
				words := strings.Fields(srv)
				label, _, _ := strings.Cut(words[3], ".")
				got = append(got, words[0]+" "+words[1]+" "+label[strings.LastIndexByte(label, '-')+1:])
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s, spill %v (-want +got)\n%s", tt.policy, tt.spill, diff)
		}
	}
}

// Of two places that panic makes eligible, one of which is dead, the other one comes first.
func TestDeadPlaceIsLast(t *testing.T) {
	c := farContent(steering.Closest, 0)
	far := &c.Services[len(c.Services)-1]
	far.Panic.Below = 1
	far.Endpoints[1].State = steering.Down                                      // the only one on the own node
	far.Endpoints[3].State, far.Endpoints[4].State = steering.Down, steering.Up // one of two in the site
	got := showFor(t, testSnapshot(t, c), testClient, ask("_http._tcp.far.edge.example. SRV"))
	if !strings.Contains(got, " SRV 0 1 80 ip-2001-db8-5--2.") || !strings.Contains(got, " SRV 3 1 80 ip-2001-db8-5--1.") {
		t.Errorf("answered %s", got)
	}
}

// Those that are farther have what room the nearest leave, each of which has its turn.
func TestNearestTargetsHaveRoom(t *testing.T) {
	c := testContent(true)
	many := testService("many.edge.example.", 1)
	many.PortName, many.Policy = "http", steering.Closest
	for i := range 40 {
		e := steering.Endpoint{Address: netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), Port: 80, State: steering.Up}
		if i >= 10 {
			e.Distance = 5 * time.Millisecond
		}
		many.Endpoints = append(many.Endpoints, e)
	}
	c.Services = append(c.Services, many)
	s := testSnapshot(t, c)
	near, far := map[string]int{}, map[string]int{}
	for range 30 {
		for line := range strings.Lines(showFor(t, s, testClient, ask("_http._tcp.many.edge.example. SRV"))) {
			if _, target, is := strings.Cut(line, "SRV 0 1 80 "); is {
				near[target]++
			}
			if _, target, is := strings.Cut(line, "SRV 1 1 80 "); is {
				far[target]++
			}
		}
	}
	for target, n := range near {
		if n != 30 {
			t.Errorf("%s was answered %d times, want 30", target, n)
		}
	}
	for target, n := range far {
		if n != maxAnswers-10 {
			t.Errorf("%s was answered %d times, want %d", target, n, maxAnswers-10)
		}
	}
	if len(near) != 10 || len(far) != 30 {
		t.Errorf("%d near and %d far targets, want 10 and 30", len(near), len(far))
	}
}

// Whatever stands for pods tells of their ports, by the policy and of the place that it states.
func TestPortsOfAllNames(t *testing.T) {
	const noData, nxDomain = "NOERROR aa\nauthority " + soa, "NXDOMAIN aa\nauthority " + soa
	c := namedContent()
	web := &c.Services[len(c.Services)-2]
	for i := range web.Endpoints {
		web.Endpoints[i].Capacity = float64(10 * (i + 1))
	}
	all := func(ttl string, records ...string) string {
		head, tail := "", ""
		for _, r := range records { // such as "NAME SRV 0 1 8080 2001:db8:1::10"
			words := strings.Fields(r)
			a := netip.MustParseAddr(words[5])
			target, rrtype := podLabel(a)+".web.edge.example.", "AAAA"
			if a.Is4() {
				rrtype = "A"
			}
			head += words[0] + " " + ttl + " IN " + strings.Join(words[1:5], " ") + " " + target + "\n"
			tail += "additional " + target + " " + ttl + " IN " + rrtype + " " + words[5] + "\n"
		}
		return "NOERROR aa\n" + head + tail
	}
	srv := func(name string, ttl string, records ...string) messageCase {
		for i := range records {
			records[i] = name + " SRV " + records[i]
		}
		return messageCase{query: ask(name + " SRV"), want: all(ttl, records...)}
	}
	cases := []messageCase{
		srv("_http._tcp.a1.a.s1.s.any.rr.edge.example.", "3", "0 1 8080 2001:db8:1::10", "0 1 8081 2001:db8:1::11", "0 1 8083 10.1.0.10"),
		srv("_HTTP._tcp.A1.a.s1.s.any.hc.edge.example.", "3", "0 10 8080 2001:db8:1::10", "0 20 8081 2001:db8:1::11", "0 40 8083 10.1.0.10"),
		srv("_http._tcp.a1.a.s1.s.any.closest.edge.example.", "3", "0 1 8080 2001:db8:1::10", "0 1 8083 10.1.0.10", "1 1 8081 2001:db8:1::11"),
		srv("_http._tcp.a1.a.s1.s.any.closesthc.edge.example.", "3", "0 10 8080 2001:db8:1::10", "0 40 8083 10.1.0.10", "1 20 8081 2001:db8:1::11"),
		srv("_http._tcp.a1.a.s1.s.0.none.edge.example.", "3", "0 1 8080 2001:db8:1::10", "0 1 8083 10.1.0.10"),
		srv("_http._tcp.a1.a.s1.s.2.none.edge.example.", "1", "0 1 8082 2001:db8:1::12"),
		srv("_http._tcp.rack-2.pin.web.edge.example.", "3", "0 1 8081 2001:db8:1::11"),
		srv("_http._tcp.rack-2.prefer.web.edge.example.", "3", "0 1 8081 2001:db8:1::11", "0 1 8083 10.1.0.10"),
		srv("_http._tcp.ip-10-1-0-10.web.edge.example.", "3", "0 1 8083 10.1.0.10"),
	}
	for want, names := range map[string][]string{
		noData: {
			"_tcp.a1.a.s1.s.any.rr", "_tcp.a1.a.s1.s.0.none", "_tcp.rack-1.pin.web", "_tcp.rack-9.prefer.web", "_tcp.ip-10-1-0-10.web", "_http._tcp.rack-9.pin.web",
		},
		nxDomain: {
			"_udp.a1.a.s1.s.any.rr", "_ftp._tcp.a1.a.s1.s.any.rr", "_http._udp.rack-1.pin.web", "_x._http._tcp.rack-1.pin.web", "_http._tcp.a1.a.s1.s.7.none",
			"_http._tcp.a2.a.s1.s.any.rr", "_http._tcp.pin.web", "_http._tcp.ip-10-9-9-9.web", "_tcp._tcp.rack-1.pin.web", "_http._tcp.any.rr", "_http._tcp.x.web",
		},
	} {
		for _, name := range names {
			cases = append(cases, messageCase{query: ask(name + ".edge.example. SRV"), want: want})
		}
	}
	sorted := func(text string) []string { return slices.Sorted(strings.Lines(text)) } // turns of places begin anywhere
	for _, tt := range cases {
		name := tt.query.Question[0].Name
		if diff := cmp.Diff(sorted(tt.want), sorted(showFor(t, testSnapshot(t, c), testClient, tt.query))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		if hot, full, x, y := pathsFor(t, c, pack(t, tt.query), testClient); hot != nil {
			if diff := differ(t, hot, full, x, y); diff != "" {
				t.Errorf("%s (-full +hot)\n%s", name, diff)
			}
		}
	}
}

// What spills goes to those that live.
func TestNothingSpillsToTheDead(t *testing.T) {
	c := farContent(steering.Closest, 0.5)
	far := &c.Services[len(c.Services)-1]
	far.Panic.Below = 1
	for i := range far.Endpoints {
		if i != 1 {
			far.Endpoints[i].State = steering.Down
		}
	}
	got := showFor(t, testSnapshot(t, c), testClient, ask("_http._tcp.far.edge.example. SRV"))
	if strings.Count(got, " SRV 0 ") != 1 || !strings.Contains(got, " SRV 0 1 80 ip-2001-db8-5--1.") {
		t.Errorf("answered %s", got)
	}
}
