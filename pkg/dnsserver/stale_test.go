package dnsserver

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

const (
	away     = "the cluster's API cannot be read"
	staleEDE = ", ede 3 " + away
)

// stale has every service of c come from a source that is away.
func stale(c Content) Content {
	c.Stale = make(map[string]string)
	for _, sv := range c.Services {
		c.Stale[sv.Name] = away
	}
	return c
}

// Whatever is made of a service whose source is away says so, to who speaks EDNS; nothing else does.
func TestStale(t *testing.T) {
	const opt = "edns 0 udp 1232"
	c := podContent()
	c.Stale = stale(testContent(true)).Stale
	delete(c.Stale, "a.b.edge.example.")
	nsid := &dns.EDNS0_NSID{Code: dns.EDNS0NSID}
	testMessages(t, c, []messageCase{
		{query: ask("api.edge.example. A", edns(1232)), want: "NOERROR aa\napi.edge.example. 30 IN A 10.1.0.10\n" + opt + staleEDE + "\n"},
		{name: "without EDNS", query: ask("api.edge.example. A"), want: "NOERROR aa\napi.edge.example. 30 IN A 10.1.0.10\n"},
		{name: "among other options", query: ask("api.edge.example. A", edns(1232, nsid, subnetOption("10.2.3.0", 24))), want: `
NOERROR aa
api.edge.example. 30 IN A 10.1.0.10
` + opt + ", nsid mec-1" + staleEDE + ", subnet 10.2.3.0/24/0\n"},
		{name: "no address of the family", query: ask("none.edge.example. AAAA", edns(1232)), want: "NOERROR aa\nauthority " + soa + opt + staleEDE + "\n"},
		{name: "no such type", query: ask("api.edge.example. MX", edns(1232)), want: "NOERROR aa\nauthority " + soa + opt + staleEDE + "\n"},
		{name: "in panic", query: ask("sick.edge.example. AAAA", edns(1232)), want: `
NOERROR aa
sick.edge.example. 1 IN AAAA 2001:db8:1::30
` + opt + ", ede 0 no endpoint is up: answering with all of them" + staleEDE + "\n"},
		{name: "a pod", query: ask("ip-10-1-0-10.api.edge.example. A", edns(1232)), want: `
NOERROR aa
ip-10-1-0-10.api.edge.example. 30 IN A 10.1.0.10
` + opt + staleEDE + "\n"},
		{name: "its pointer", query: ask("10.0.1.10.in-addr.arpa. PTR", edns(1232)), want: `
NOERROR aa
10.0.1.10.in-addr.arpa. 30 IN PTR ip-10-1-0-10.api.edge.example.
` + opt + staleEDE + "\n"},
		{name: "a place", query: ask("x.pin.api.edge.example. AAAA", edns(1232)), want: "NOERROR aa\nauthority " + soa + opt + staleEDE + "\n"},
		{name: "one of another source", query: ask("a.b.edge.example. AAAA", edns(1232)), want: "NOERROR aa\na.b.edge.example. 30 IN AAAA 2001:db8:1::20\n" + opt + "\n"},
		{name: "no name of a service", query: ask("no.edge.example. AAAA", edns(1232)), want: "NXDOMAIN aa\nauthority " + soa + opt + "\n"},
		{name: "the health name", query: ask("health.edge.example. A", edns(1232)), want: "NOERROR aa\nhealth.edge.example. 30 IN A 192.0.2.53\n" + opt + "\n"},
	})
	t.Run("named", func(t *testing.T) {
		testMessages(t, stale(namedContent()), []messageCase{
			{query: ask("a2.a.s1.s.any.hc.edge.example. AAAA", edns(1232)), want: "NOERROR aa\na2.a.s1.s.any.hc.edge.example. 30 IN AAAA 2001:db8:1::20\n" + opt + staleEDE + "\n"},
			{name: "an instance", query: ask("a1.a.s1.s.0.none.edge.example. AAAA", edns(1232)), want: "NOERROR aa\na1.a.s1.s.0.none.edge.example. 3 IN AAAA 2001:db8:1::10\n" + opt + staleEDE + "\n"},
		})
	})
}

// The hot path says it as the full one does.
func TestHotPathStale(t *testing.T) {
	testHot(t, stale(testContent(true)), hotQueries())
	testHot(t, stale(bindContent()), hotBindQueries())
}

// A text makes no answer too long: it goes before a record does.
func TestStaleFits(t *testing.T) {
	c := testContent(true)
	var many []string
	for i := range 15 {
		many = append(many, "2001:db8:3::"+string("0123456789abcdef"[i])+" up")
	}
	c.Services = append(c.Services, testService("many.edge.example.", 15, many...))
	query := pack(t, ask("many.edge.example. AAAA", edns(512)))
	for why, want := range map[string]string{"short": "ede 3 short", strings.Repeat("long ", 20): "ede 3 "} {
		c.Stale = map[string]string{"many.edge.example.": why}
		hot, full, _, _ := pathsFor(t, c, query, testClient)
		if fits := len(why) < 6; (hot != nil) != fits {
			t.Errorf("%q: hot path answered: %v", why, hot != nil)
		}
		m := unpack(t, full)
		if got := showOption(m.IsEdns0()); got != "edns 0 udp 1232, "+want+"\n" || len(m.Answer) != 15 || m.Truncated || len(full) > 512 {
			t.Errorf("%d octets, %d answers, tc %v, %s", len(full), len(m.Answer), m.Truncated, got)
		}
	}
}

// A source that goes away and comes back disturbs nothing but what answers say of it; what changes meanwhile, and new content, say it too.
func TestStaleComesAndGoes(t *testing.T) {
	c := testContent(true)
	s := contentServer(t, c, nil)
	query := pack(t, ask("api.edge.example. A", edns(1232)))
	var got []string
	look := func() {
		out, _ := reply(s.current.Load(), nil, query, udp, testClient)
		st, _ := s.Standing("api.edge.example.")
		got = append(got, strings.TrimSpace(showOption(unpack(t, out).IsEdns0()))+" | "+st.Stale)
	}
	before := s.current.Load().service("api.edge.example.")
	look()
	s.Stale(map[string]string{"api.edge.example.": away, "gone.edge.example.": away})
	look()
	if s.current.Load().service("api.edge.example.") != before {
		t.Error("the service was made anew")
	}
	changed := c.Services[0].Clone()
	changed.Answers = 1
	if err := s.Update(changed); err != nil {
		t.Fatal(err)
	}
	look()
	if n := s.current.Load().stale(); n != 1 {
		t.Errorf("%d services are stale", n)
	}
	s.Stale(nil)
	look()
	c.Stale = map[string]string{"api.edge.example.": "another reason"}
	if err := s.Set(c); err != nil {
		t.Fatal(err)
	}
	look()
	const opt = "edns 0 udp 1232"
	want := []string{opt + " | ", opt + staleEDE + " | " + away, opt + staleEDE + " | " + away, opt + " | ", opt + ", ede 3 another reason | another reason"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
