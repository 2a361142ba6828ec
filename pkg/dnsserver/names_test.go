package dnsserver

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// placedContent has the service of source S1's examples, whose endpoints are in three places.
func placedContent() Content {
	c := testContent(true)
	s := testService("web.edge.example.", 1, "2001:db8:1::10 up", "2001:db8:1::11 up", "2001:db8:1::12 down", "10.1.0.10 up")
	s.Semantic, s.PortName = steering.Semantic{App: "a1", AppNS: "a", Service: "s1", ServiceNS: "s"}, "http"
	for i, zone := range []string{"rack-1", "rack-2", "rack-3", "rack-1"} {
		s.Endpoints[i].Instance, s.Endpoints[i].Zone, s.Endpoints[i].Node = []string{"0", "1", "2", "0"}[i], zone, "Host."+zone
		s.Endpoints[i].Holds, s.Endpoints[i].Port = 3*time.Second, uint16(8080+i)
	}
	s.Endpoints[1].Distance = 9 * time.Millisecond
	other := testService("other.edge.example.", 1, "2001:db8:1::20 up")
	other.Semantic = steering.Semantic{App: "a2", AppNS: "a", Service: "s1", ServiceNS: "s"}
	c.Services = append(c.Services, s, other)
	return c
}

// namedContent is placedContent without the service that takes the name under which instances are.
func namedContent() Content {
	c := placedContent()
	c.Services = slices.DeleteFunc(c.Services, func(s steering.Service) bool { return s.Name == "none.edge.example." })
	return c
}

func TestSemanticNames(t *testing.T) {
	const noData, nxDomain = "NOERROR aa\nauthority " + soa, "NXDOMAIN aa\nauthority " + soa
	resolved := func(name, ttl, address string) messageCase {
		return messageCase{query: ask(name + " AAAA"), want: "NOERROR aa\n" + name + " " + ttl + " IN AAAA " + address + "\n"}
	}
	missing := func(want string, names ...string) (cases []messageCase) {
		for _, name := range names {
			cases = append(cases, messageCase{query: ask(name + " AAAA"), want: want})
		}
		return cases
	}
	cases := []messageCase{
		resolved("a1.a.s1.s.any.rr.edge.example.", "3", "2001:db8:1::10"),
		resolved("A1.a.s1.s.ANY.closest.edge.example.", "3", "2001:db8:1::10"),
		resolved("a1.a.s1.s.any.hc.edge.example.", "3", "2001:db8:1::10"),
		resolved("a1.a.s1.s.any.closesthc.edge.example.", "3", "2001:db8:1::10"),
		resolved("a2.a.s1.s.any.rr.edge.example.", "30", "2001:db8:1::20"),
		resolved("a1.a.s1.s.0.none.edge.example.", "3", "2001:db8:1::10"),
		resolved("A1.a.s1.s.1.NONE.edge.example.", "3", "2001:db8:1::11"),
		{name: "an instance that is down keeps its name", query: ask("a1.a.s1.s.2.none.edge.example. AAAA", edns(1232)), want: "NOERROR aa\na1.a.s1.s.2.none.edge.example. 1 IN AAAA 2001:db8:1::12\n" +
			"edns 0 udp 1232, ede 0 no endpoint is up: answering with all of them\n"},
		{query: ask("a1.a.s1.s.0.none.edge.example. A"), want: "NOERROR aa\na1.a.s1.s.0.none.edge.example. 3 IN A 10.1.0.10\n"},
		{query: ask("a1.a.s1.s.any.hc.edge.example. TXT"), want: "NOERROR aa\na1.a.s1.s.any.hc.edge.example. 30 IN TXT \"site=mec-1\" \"policy=capacity\"\n"},
	}
	cases = append(cases, missing(nxDomain,
		"a1.a.s1.s.0.rr.edge.example.", "a1.a.s1.s.any.none.edge.example.", "a1.a.s1.s.3.none.edge.example.", "a1.a.s1.s.00.none.edge.example.",
		"a1.a.s1.s.any.capacity.edge.example.", "a1.a.s2.s.any.rr.edge.example.", "a1.a.s2.s.0.none.edge.example.", "x.a1.a.s1.s.0.none.edge.example.",
		"x.a1.a.s1.s.any.rr.edge.example.", "a3.a.s1.s.0.none.edge.example.", "a2.a.s1.s.0.none.edge.example.", "a1.a.s1.s.any.edge.example.", "a1.a.s1.s.-1.none.edge.example.",
	)...)
	cases = append(cases, missing(noData,
		"rr.edge.example.", "any.rr.edge.example.", "s.any.hc.edge.example.", "s1.s.any.closest.edge.example.", "a.s1.s.any.closesthc.edge.example.",
		"none.edge.example.", "0.none.edge.example.", "s.1.none.edge.example.", "s1.s.2.none.edge.example.", "a.s1.s.0.none.edge.example.",
	)...)
	testMessages(t, namedContent(), cases)
}

// Policies in names are answered on the hot path; instances and places are found on the full one.
func TestSemanticNamesOnTheHotPath(t *testing.T) {
	s := testSnapshot(t, namedContent())
	q := question{client: client{address: testClient}}
	out := make([]byte, 0, udpPayload)
	for name, hot := range map[string]bool{
		"a1.a.s1.s.any.rr": true, "a1.a.s1.s.any.hc": true, "a1.a.s1.s.any.closest": true, "a1.a.s1.s.any.closesthc": true, "a1.a.s1.s.0.rr": true,
		"a1.a.s1.s.0.none": false, "s.0.none": false, "x.none": false, "rack-1.pin.web": false, "pin.web": false, "rack-1.prefer.web": false, "x.y.pin.web": true,
	} {
		query := pack(t, ask(name+".edge.example. AAAA"))
		answer := func() []byte {
			if !q.read(query) {
				return nil
			}
			b, _ := s.hot(out, query, &q)
			return b
		}
		if got := answer() != nil; got != hot {
			t.Errorf("%s is answered on the hot path: %v, want %v", name, got, hot)
		}
		if n := testing.AllocsPerRun(100, func() { answer() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestPlaces(t *testing.T) {
	const noData, nxDomain = "NOERROR aa\nauthority " + soa, "NXDOMAIN aa\nauthority " + soa
	answer := func(name, ttl, address string) messageCase {
		return messageCase{query: ask(name + " AAAA"), want: "NOERROR aa\n" + name + " " + ttl + " IN AAAA " + address + "\n"}
	}
	c := namedContent()
	testMessages(t, c, []messageCase{
		answer("rack-2.pin.web.edge.example.", "3", "2001:db8:1::11"),
		answer("Rack-2.PREFER.web.edge.example.", "3", "2001:db8:1::11"),
		answer("host-rack-2.pin.web.edge.example.", "3", "2001:db8:1::11"),
		{name: "pinned to what is down", query: ask("rack-3.pin.web.edge.example. AAAA", edns(1232)), want: briefly + "edns 0 udp 1232, ede 0 no endpoint is up: answering with none\n"},
		{name: "pinned to nothing", query: ask("rack-9.pin.web.edge.example. AAAA"), want: noData},
		{name: "not of this family", query: ask("rack-2.pin.web.edge.example. A"), want: noData},
		answer("rack-3.prefer.web.edge.example.", "3", "2001:db8:1::10"),
		answer("rack-9.prefer.web.edge.example.", "3", "2001:db8:1::10"),
		{name: "preferred for a family", query: ask("rack-2.prefer.web.edge.example. A"), want: "NOERROR aa\nrack-2.prefer.web.edge.example. 3 IN A 10.1.0.10\n"},
		{query: ask("pin.web.edge.example. AAAA"), want: noData},
		{query: ask("prefer.web.edge.example. AAAA"), want: noData},
		{name: "below a place", query: ask("x.rack-1.pin.web.edge.example. AAAA"), want: nxDomain},
		{name: "another word", query: ask("rack-1.only.web.edge.example. AAAA"), want: nxDomain},
	})
}

// Turns at a place go on from query to query, and memory is kept for places that there are alone.
func TestPlacesAreMadeOnce(t *testing.T) {
	s := testSnapshot(t, namedContent())
	sv := s.services["web.edge.example."].load()
	for _, label := range []string{"rack-1", "rack-1", "rack-9", "no", "such"} {
		for _, word := range []string{pinLabel, preferLabel} {
			if n := s.find(label+"."+word+".web.edge.example.", noView); n == nil || n.kind != steered {
				t.Fatalf("%s.%s is %+v", label, word, n)
			}
		}
	}
	kept := 0
	sv.places.made.Range(func(any, any) bool { kept++; return true })
	if kept != 2 {
		t.Errorf("%d places are kept, want 2", kept)
	}
	if a, b := s.find("rack-1.pin.web.edge.example.", noView), s.find("rack-1.pin.web.edge.example.", noView); a.cell.load() != b.cell.load() {
		t.Error("a place begins anew with each query")
	}
}

// An update reaches every name of a service; the turns of each go on.
func TestUpdateReachesAllNames(t *testing.T) {
	srv, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	c := namedContent()
	if err := srv.Set(c); err != nil {
		t.Fatal(err)
	}
	next := c.Services[slices.IndexFunc(c.Services, func(s steering.Service) bool { return s.Name == "web.edge.example." })].Clone()
	next.Endpoints = next.Endpoints[2:3]
	next.Endpoints[0].State, next.Endpoints[0].Instance = steering.Up, "7"
	if err := srv.Update(next); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"web.edge.example.", "a1.a.s1.s.any.rr.edge.example.", "a1.a.s1.s.any.closesthc.edge.example.", "a1.a.s1.s.7.none.edge.example.",
		"rack-3.pin.web.edge.example.", "rack-1.prefer.web.edge.example.",
	} {
		if got := answers(t, srv.current.Load(), name); !slices.Equal(got, []string{"2001:db8:1::12"}) {
			t.Errorf("%s is %v", name, got)
		}
	}
	if got := answers(t, srv.current.Load(), "a1.a.s1.s.0.none.edge.example."); got != nil {
		t.Errorf("an instance that is gone is %v", got)
	}
	next.Semantic.App = "a9"
	if err := srv.Update(next); err == nil || !strings.Contains(err.Error(), "its names change") {
		t.Errorf("another semantic name: %v", err)
	}
}

// answers are the addresses that a name has on the full path.
func answers(t *testing.T, s *snapshot, name string) (all []string) {
	t.Helper()
	out, _ := reply(s, nil, pack(t, ask(name+" AAAA")), udp, testClient)
	for _, rr := range unpacked(t, out).Answer {
		all = append(all, rr.(*dns.AAAA).AAAA.String())
	}
	return all
}

func TestSemanticNamesAreRefused(t *testing.T) {
	service := func(name string, m steering.Semantic) steering.Service {
		s := testService(name, 1, "2001:db8::1 up")
		s.Semantic = m
		return s
	}
	m := steering.Semantic{App: "a", AppNS: "b", Service: "c", ServiceNS: "d"}
	for want, services := range map[string][]steering.Service{
		"a.b.c.d.any.rr.edge.example. has another meaning already": {service("x.edge.example.", m), service("y.edge.example.", m)},
		"none.edge.example. has another meaning already":           {testService("none.edge.example.", 1), service("y.edge.example.", m)},
		`"a.b" of its semantic name is not one label`:              {service("x.edge.example.", steering.Semantic{App: "a.b", AppNS: "b", Service: "c", ServiceNS: "d"})},
		"is not a lower-case, fully qualified domain name":         {service("x.edge.example.", steering.Semantic{App: "A", AppNS: "b", Service: "c", ServiceNS: "d"})},
	} {
		c := testContent(true)
		c.Services = services
		if _, err := compile("mec-1", c, nil, testTime, rand.Uint64); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// s1 is the grammar of source S1 for the service of placedContent, written another way.
var s1 = regexp.MustCompile(`^(?i)a1\.a\.s1\.s\.(any\.(rr|closest|hc|closesthc)|[012]\.none)\.edge\.example\.$`)

// FuzzNames: whatever name is asked for, it resolves exactly when it is one of S1's, a place or a pod; every name above one
// that exists exists; and the hot path agrees.
func FuzzNames(f *testing.F) {
	for _, name := range []string{
		"a1.a.s1.s.any.rr", "a1.a.s1.s.0.none", "a1.a.s1.s.0.rr", "a1.a.s1.s.any.none", "A1.a.S1.s.aNY.hc", "0.none", "none", "a1.a.s1.s.00.none", "rack-1.pin.web", "x.prefer.web",
		"a1.a.s1.s.18446744073709551616.none", `a1\.a.s1.s.0.none`, "s1.s.any.rr", "", "*", strings.Repeat("a.", 100), `\000.pin.web`, "pin.pin.web", "none.none.none",
		"_http._tcp.a1.a.s1.s.any.rr", "_http._tcp.a1.a.s1.s.1.none", "_tcp.rack-1.pin.web", "_http._tcp.rack-2.prefer.web", "_http._tcp.ip-10-1-0-10.web", "_tcp._tcp._tcp", "_explain.web",
	} {
		f.Add(name)
	}
	c := namedContent()
	c.Services = slices.DeleteFunc(c.Services, func(s steering.Service) bool { return s.Name == "other.edge.example." })
	f.Fuzz(func(t *testing.T, below string) {
		name := strings.TrimPrefix(below+".edge.example.", ".")
		if _, ok := dns.IsDomainName(name); !ok {
			return
		}
		query, err := ask(name + " AAAA").Pack()
		if err != nil || len(strings.Fields(name)) != 1 {
			return
		}
		s := frozen(t, c)
		n := s.find(dns.CanonicalName(name), noView)
		if got, want := n != nil && (n.kind == steered || n.kind == pod) && strings.Contains(strings.ToLower(name), ".s1."), s1.MatchString(name); got != want && !strings.Contains(strings.ToLower(name), "web.edge") {
			t.Fatalf("%s resolves: %v, S1 says %v", name, got, want)
		}
		for up := dns.CanonicalName(name); n != nil && up != "edge.example."; up = parent(up) {
			if s.find(up, noView) == nil {
				t.Fatalf("%s exists, %s above it does not", name, up)
			}
		}
		if hot, full, x, y := pathsFor(t, c, query, testClient); hot != nil {
			if diff := differ(t, hot, full, x, y); diff != "" {
				t.Fatalf("%s (-full +hot):\n%s", name, diff)
			}
		}
	})
}

func TestStatesPolicy(t *testing.T) {
	t.Parallel()
	m := steering.Semantic{App: "shop", AppNS: "acme", Service: "api", ServiceNS: "prod"}
	got := SemanticNames(m, "edge.example.")
	want := []string{
		"shop.acme.api.prod.any.rr.edge.example.", "shop.acme.api.prod.any.closest.edge.example.",
		"shop.acme.api.prod.any.hc.edge.example.", "shop.acme.api.prod.any.closesthc.edge.example.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for name, states := range map[string]bool{
		"none.edge.example.": true, "0.none.edge.example.": true, "any.rr.edge.example.": true, got[3]: true,
		"rr.edge.example.": false, "a.rr.edge.example.": false, "any.hash.edge.example.": false, "any.rr.other.example.": false, "anynone.edge.example.": false,
	} {
		if StatesPolicy(name, "edge.example.") != states {
			t.Errorf("%s states a policy: %v", name, !states)
		}
	}
}
