package dnsserver

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// Clients of accessContent; testClient is in the view "outside".
var (
	insider  = netip.MustParseAddr("2001:db8:a::1")
	stranger = netip.MustParseAddr("2001:db9::1")
	banned   = netip.MustParseAddr("2001:db8:a:bad::1")
)

// accessContent shows clients outside one endpoint of web, two of hash, an address instead of those of api, and nothing of
// sick.
func accessContent() Content {
	c := podContent()
	c.Access = &Access{
		ACL:   ACL{Deny: prefixes("2001:db8:a:bad::/64")},
		Zones: map[string]ACL{"sub.lab.edge.example.": {Allow: prefixes("2001:db8:a::/48")}},
		Views: []View{
			{Name: "inside", Clients: prefixes("2001:db8:a::/48", "10.0.0.0/8")},
			{
				Name: "outside", Clients: prefixes("2001:db8:c::/48"),
				Services:  []string{"web.edge.example.", "hash.edge.example.", "api.edge.example.", "b.edge.example."},
				Endpoints: prefixes("2001:db8:1::10/128", "2001:db8:1::20/128", "2001:db8:1::40/127"),
				Instead:   map[string][]netip.Addr{"api.edge.example.": addrs("2001:db8:53::80")},
			},
		},
		Explain: prefixes("2001:db8:a::/48"),
	}
	return c
}

func showFor(t testing.TB, s *snapshot, client netip.Addr, query *dns.Msg) string {
	t.Helper()
	out, _ := reply(s, nil, pack(t, query), tcp, client)
	m := new(dns.Msg)
	if err := m.Unpack(out); err != nil {
		t.Fatal(err)
	}
	return show(m)
}

func TestViews(t *testing.T) {
	const (
		noData, nxDomain = "NOERROR aa\nauthority " + soa, "NXDOMAIN aa\nauthority " + soa
		refused          = "REFUSED\nedns 0 udp 1232, ede 18 this client may not ask for this\n"
		health           = "NOERROR aa\nhealth.edge.example. 30 IN AAAA 2001:db8:53::53\n"
	)
	reverse := func(a string) string { name, _ := dns.ReverseAddr(a); return name + " PTR" }
	for _, tt := range []struct {
		name   string
		client netip.Addr
		query  *dns.Msg
		want   string
	}{
		{"inside sees pods", insider, ask("api.edge.example. A"), "NOERROR aa\napi.edge.example. 30 IN A 10.1.0.10\n"},
		{"outside sees what is shown instead", testClient, ask("api.edge.example. AAAA"), "NOERROR aa\napi.edge.example. 30 IN AAAA 2001:db8:53::80\n"},
		{"and nothing else", testClient, ask("api.edge.example. A"), noData},
		{"only endpoints that it may see", testClient, ask("hash.edge.example. A"), noData},
		{"of a subdomain that it may see", testClient, ask("a.b.edge.example. AAAA"), "NOERROR aa\na.b.edge.example. 30 IN AAAA 2001:db8:1::20\n"},
		{"SRV too", testClient, ask("_http._tcp.web.edge.example. SRV"), "NOERROR aa\n_http._tcp.web.edge.example. 30 IN SRV 0 100 8080 ip-2001-db8-1--10.web.edge.example.\n" +
			"additional ip-2001-db8-1--10.web.edge.example. 30 IN AAAA 2001:db8:1::10\n"},
		{"a service that it may not see", testClient, ask("sick.edge.example. AAAA"), noData},
		{"its text", testClient, ask("sick.edge.example. TXT"), noData},
		{"its SRV", testClient, ask("_http._tcp.down.edge.example. SRV"), noData},
		{"a pod that it may see", testClient, ask("ip-2001-db8-1--10.web.edge.example. AAAA"), "NOERROR aa\nip-2001-db8-1--10.web.edge.example. 30 IN AAAA 2001:db8:1::10\n"},
		{"a pod that it may not see", testClient, ask("ip-10-1-0-10.web.edge.example. A"), nxDomain},
		{"no pod", testClient, ask("ip-10-9-9-9.web.edge.example. A"), nxDomain},
		{"inside sees it", insider, ask("ip-10-1-0-10.web.edge.example. A"), "NOERROR aa\nip-10-1-0-10.web.edge.example. 30 IN A 10.1.0.10\n"},
		{"ECS does not help", testClient, ask("sick.edge.example. AAAA", edns(1232, subnetOption("2001:db8:a::", 56))), noData + "edns 0 udp 1232, subnet 2001:db8:a::/56/0\n"},
		{"nor a stranger", stranger, ask("api.edge.example. AAAA", edns(1232, subnetOption("2001:db8:a::", 56))), strings.TrimSuffix(refused, "\n") + ", subnet 2001:db8:a::/56/0\n"},
		{"in no view", stranger, ask("api.edge.example. AAAA", edns(1232)), refused},
		{"not for any name", stranger, ask("no.edge.example. AAAA", edns(1232)), refused},
		{"nor who this is", stranger, ask("id.server. CH TXT", edns(1232)), refused},
		{"but whether it works", stranger, ask("health.edge.example. AAAA"), health},
		{"in a view, and denied", banned, ask("api.edge.example. AAAA", edns(1232)), refused},
		{"a zone for some", insider, ask("api.sub.lab.edge.example. AAAA"), "NOERROR aa\napi.sub.lab.edge.example. 2 IN AAAA 2001:db8:2::10\n"},
		{"and not for others", testClient, ask("api.sub.lab.edge.example. AAAA", edns(1232)), refused},
		{"nor any name in it", testClient, ask("x.sub.lab.edge.example. AAAA", edns(1232)), refused},
		{"but its DS, which is for the zone above", testClient, ask("sub.lab.edge.example. DS"), noData},
		{"above it they may", testClient, ask("lab.edge.example. AAAA"), noData},
		{"a pointer that it may see", testClient, ask(reverse("2001:db8:1::10")), "NOERROR aa\n" + strings.TrimSuffix(reverse("2001:db8:1::10"), " PTR") + " 30 IN PTR ip-2001-db8-1--10.web.edge.example.\n"},
		{"explain to outside", testClient, ask("_explain.api.edge.example. TXT", edns(1232)), refused},
		{"of what is no service", insider, ask("_explain.lab.edge.example. TXT"), nxDomain},
		{"explain", insider, ask("_explain.sick.edge.example. TXT"), `NOERROR aa
_explain.sick.edge.example. 0 IN TXT "site=mec-1" "service=sick.edge.example." "policy=rr" "answers=1" "view=inside" "ipv6=panic: no endpoint is up: answering with all of them" "ipv4=picked 1 of 1 endpoints by rr"
_explain.sick.edge.example. 0 IN TXT "2001:db8:1::30" "state=down" "weight=1" "share=1.000" "picked"
_explain.sick.edge.example. 0 IN TXT "10.1.0.30" "state=up" "weight=1" "share=1.000" "picked"
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, showFor(t, testSnapshot(t, accessContent()), tt.client, tt.query)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A name that states a policy is explained by that, not by the service's own.
func TestExplainStatesPolicy(t *testing.T) {
	t.Parallel()
	c := accessContent()
	sv := testService("web3.edge.example.", 1, "2001:db8:1::10 up", "2001:db8:1::11 up")
	sv.Semantic, sv.Endpoints[1].Near, sv.Endpoints[1].Zone = steering.Semantic{App: "a1", AppNS: "a", Service: "s1", ServiceNS: "s"}, true, "rack-1"
	c.Services = append(slices.DeleteFunc(c.Services, func(s steering.Service) bool { return s.Name == "none.edge.example." }), sv)
	want := `NOERROR aa
_explain.a1.a.s1.s.any.closest.edge.example. 0 IN TXT "site=mec-1" "service=web3.edge.example." "policy=closest" "answers=1" "view=inside" "ipv6=picked 1 of 2 endpoints by closest" "ipv4=the service has no IPv4 endpoint"
_explain.a1.a.s1.s.any.closest.edge.example. 0 IN TXT "2001:db8:1::10" "state=up" "weight=1" "share=0.000"
_explain.a1.a.s1.s.any.closest.edge.example. 0 IN TXT "2001:db8:1::11" "state=up" "weight=1" "share=1.000" "picked"
`
	s := testSnapshot(t, c)
	if diff := cmp.Diff(want, showFor(t, s, insider, ask("_explain.a1.a.s1.s.any.closest.edge.example. TXT"))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := showFor(t, s, insider, ask("_explain.rack-1.pin.web3.edge.example. TXT")); !strings.Contains(got, `"ipv6=picked 1 of 1 endpoints by rr"`) {
		t.Errorf("of a place: %s", got)
	}
}

// Without explain there are no such names.
func TestExplainIsOff(t *testing.T) {
	t.Parallel()
	if got := showFor(t, testSnapshot(t, podContent()), insider, ask("_explain.api.edge.example. TXT")); !strings.HasPrefix(got, "NXDOMAIN") {
		t.Errorf("answered %s", got)
	}
}

func TestExplainNameIsKept(t *testing.T) {
	t.Parallel()
	c := testContent(true)
	c.Services = append(c.Services, testService("_explain.edge.example.", 1))
	if err := Check(c); err == nil || !strings.Contains(err.Error(), "rename it") {
		t.Errorf("accepted: %v", err)
	}
}

// hidingContent is accessContent with names of every kind, of which a view sees some endpoints alone, and nothing of secret.
func hidingContent() Content {
	c := accessContent()
	c.Services = slices.DeleteFunc(c.Services, func(s steering.Service) bool { return s.Name == "none.edge.example." }) // instances have its name
	bound := bindContent().Services
	c.Services = append(c.Services, bound[len(podContent().Services):]...)
	named := namedContent().Services
	placed := named[len(named)-2]
	placed.Name = "placed.edge.example."
	secret := testService("secret.edge.example.", 1, "2001:db8:1::70 up")
	secret.ALPN, secret.Semantic = []string{"h2"}, steering.Semantic{App: "a3", AppNS: "a", Service: "s1", ServiceNS: "s"}
	secret.Endpoints[0].Port, secret.Endpoints[0].Zone, secret.Endpoints[0].Instance = 9443, "rack-1", "0"
	c.Services = append(c.Services, placed, secret)
	outside := &c.Access.Views[1]
	outside.Services = append(outside.Services, "placed.edge.example.", "tls.edge.example.", "mixed.edge.example.")
	outside.Endpoints = append(outside.Endpoints, netip.MustParsePrefix("2001:db8:1::60/128"))
	return c
}

// Whatever a client of a view asks: no reply holds an address, or the name of one, that it may not see.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	c := hidingContent()
	s := testSnapshot(t, c)
	hidden := make(map[netip.Addr]bool)
	for _, sv := range c.Services {
		for _, e := range sv.Endpoints {
			hidden[e.Address] = true
		}
	}
	for _, a := range addrs("2001:db8:1::10", "2001:db8:1::20", "2001:db8:1::40", "2001:db8:1::41", "2001:db8:1::60") {
		delete(hidden, a)
	}
	names := []string{"id.server."}
	for name := range s.nodes {
		for _, below := range []string{
			"", "_explain.", "x.", "_443.", "_8443.", "_9443.", "rack-1.pin.", "rack-2.pin.", "rack-2.prefer.", "host-rack-2.pin.",
			"_http._tcp.", "_tcp.", "_http._tcp.rack-1.pin.", "_http._tcp.rack-2.prefer.", "_http._tcp.a1.a.s1.s.1.", "_explain.rack-1.pin.",
			"a1.a.s1.s.0.", "a1.a.s1.s.1.", "a3.a.s1.s.0.",
		} {
			names = append(names, below+name)
		}
	}
	for a := range hidden {
		arpa, err := dns.ReverseAddr(a.String())
		if err != nil {
			t.Fatal(err)
		}
		for up := arpa; up != "."; up = parent(up) {
			names = append(names, up)
		}
	}
	replies := 0
	for _, name := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeTXT, dns.TypePTR, dns.TypeANY, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeNS} {
			q := ask(name+" A", edns(1232, subnetOption("2001:db8:a::", 56)))
			q.Question[0].Qtype = qtype
			query := pack(t, q)
			out, _ := reply(s, nil, query, tcp, testClient)
			asked := question{client: client{address: testClient}}
			asked.read(query)
			hot, _ := s.hot(make([]byte, 0, udpPayload), query, &asked)
			replies++
			for a := range hidden {
				if tells(out, name, a) || hot != nil && tells(hot, name, a) {
					t.Fatalf("%s %s tells of %s", name, dns.Type(qtype), a)
				}
			}
		}
	}
	t.Logf("%d replies about %d hidden addresses", replies, len(hidden))
	// On the way to a hidden address nothing may differ from the way to none.
	for a := range hidden {
		arpa, _ := dns.ReverseAddr(a.String())
		for up := arpa; s.zones[up] == nil && up != "."; up = parent(up) {
			if z := s.zoneOf(up); z == nil || !z.reverse {
				continue
			}
			if got := showFor(t, s, testClient, ask(up+" PTR")); !strings.HasPrefix(got, "NOERROR aa\nauthority ") && !strings.Contains(got, " PTR ip-2001-db8-1--") {
				t.Errorf("%s: %s", up, got)
			}
		}
	}
}

// tells that a reply about a name holds an address, or the name of one.
func tells(reply []byte, name string, a netip.Addr) bool {
	return bytes.Contains(reply[headerSize:], a.AsSlice()) || bytes.Contains(reply[headerSize+len(name):], []byte(podLabel(a)))
}

// A name that stands for hidden endpoints alone is answered as one that stands for nothing.
func TestHiddenIsMissing(t *testing.T) {
	t.Parallel()
	s := testSnapshot(t, hidingContent())
	for _, tt := range []struct{ hidden, missing, qtype string }{
		{"rack-2.pin.placed.edge.example.", "rack-9.pin.placed.edge.example.", "AAAA"},
		{"rack-2.prefer.placed.edge.example.", "rack-9.prefer.placed.edge.example.", "AAAA"},
		{"rack-1.pin.secret.edge.example.", "rack-9.pin.secret.edge.example.", "AAAA"},
		{"a1.a.s1.s.1.none.edge.example.", "a1.a.s1.s.9.none.edge.example.", "AAAA"},
		{"_http._tcp.rack-2.pin.placed.edge.example.", "_http._tcp.rack-9.pin.placed.edge.example.", "SRV"},
		{"_http._tcp.rack-2.prefer.placed.edge.example.", "_http._tcp.rack-9.prefer.placed.edge.example.", "SRV"},
		{"_http._tcp.a1.a.s1.s.1.none.edge.example.", "_http._tcp.a1.a.s1.s.9.none.edge.example.", "SRV"},
		{"a3.a.s1.s.0.none.edge.example.", "a3.a.s1.s.9.none.edge.example.", "AAAA"},
		{"_9443._https.mixed.edge.example.", "_9449._https.mixed.edge.example.", "HTTPS"},
		{"_9443._https.secret.edge.example.", "_9449._https.secret.edge.example.", "HTTPS"},
		{"ip-2001-db8-1--61.tls.edge.example.", "ip-2001-db8-1--99.tls.edge.example.", "AAAA"},
		{"ip-2001-db8-1--70.secret.edge.example.", "ip-2001-db8-1--99.secret.edge.example.", "AAAA"},
	} {
		if inside, empty := showFor(t, s, insider, ask(tt.hidden+" "+tt.qtype)), showFor(t, s, insider, ask(tt.missing+" "+tt.qtype)); !strings.Contains(inside, tt.hidden+" ") || strings.ReplaceAll(inside, tt.hidden, tt.missing) == empty {
			t.Errorf("%s %s is nothing inside either: %s", tt.hidden, tt.qtype, inside)
		}
		got, want := showFor(t, s, testClient, ask(tt.hidden+" "+tt.qtype)), showFor(t, s, testClient, ask(tt.missing+" "+tt.qtype))
		if diff := cmp.Diff(want, strings.ReplaceAll(got, tt.hidden, tt.missing)); diff != "" {
			t.Errorf("%s %s (-missing +hidden)\n%s", tt.hidden, tt.qtype, diff)
		}
	}
}

// What the hot path answers to clients of every class, the full path answers too.
func TestHotPathOfViews(t *testing.T) {
	t.Parallel()
	questions := hotQueries()
	for _, q := range []string{"sick.edge.example. AAAA", "hash.edge.example. AAAA", "web.edge.example. AAAA", "api.sub.lab.edge.example. AAAA", "x.sub.lab.edge.example. A"} {
		questions = append(questions, hotQuery{q, ask(q, edns(1232, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})), true})
	}
	hots := 0
	for _, client := range []netip.Addr{insider, testClient, stranger, banned} {
		for _, tt := range questions {
			hot, full, x, y := pathsFor(t, accessContent(), pack(t, tt.query), client)
			if hot == nil {
				continue
			}
			hots++
			if diff := differ(t, hot, full, x, y); diff != "" {
				t.Errorf("%s for %s (-full +hot):\n%s", tt.name, client, diff)
			}
		}
	}
	if hots < 50 {
		t.Errorf("only %d queries took the hot path", hots)
	}
}

func TestHotPathOfViewsAllocatesNothing(t *testing.T) {
	s := testSnapshot(t, accessContent())
	var q question
	out := make([]byte, 0, udpPayload)
	for _, q.address = range []netip.Addr{insider, testClient, stranger} {
		for _, name := range []string{"api.edge.example. AAAA", "no.edge.example. AAAA", "hash.edge.example. AAAA"} {
			query := pack(t, ask(name, edns(1232)))
			if n := testing.AllocsPerRun(100, func() { q.read(query); s.hot(out, query, &q) }); n != 0 {
				t.Errorf("%s for %s: %v allocations", name, q.address, n)
			}
		}
	}
}

// Turns of views go on as those of services do, over changes and over reloads that change nothing here.
func TestViewsKeepTheirTurns(t *testing.T) {
	t.Parallel()
	first := testSnapshot(t, accessContent())
	second, err := compile("mec-1", accessContent(), first, testTime, func() uint64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range first.services {
		if second.services[name].load() != c.load() {
			t.Errorf("%s was compiled again", name)
		}
	}
	changed := accessContent()
	changed.Access.Views[1].Services = nil
	third, err := compile("mec-1", changed, second, testTime, func() uint64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	if third.services["sick.edge.example."].load().in(1) == nil {
		t.Error("a view that was changed is as it was")
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Why(Question{Name: "a.", Type: "A"}); err == nil {
		t.Error("before there is content: no error")
	}
	if err := s.Set(accessContent()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, client, want string }{
		{"api.edge.example. AAAA", "2001:db8:a::1", "NOERROR edge.example. inside: picked 2 of 3 endpoints by rr"},
		{"API.edge.example. AAAA", "2001:db8:c::1", "NOERROR edge.example. outside: picked 1 of 1 endpoints by rr"},
		{"api.edge.example. A", "2001:db8:c::1", "NOERROR edge.example. outside: the service has no IPv4 endpoint"},
		{"sick.edge.example. AAAA", "2001:db8:a::1", "NOERROR edge.example. inside: panic: no endpoint is up: answering with all of them"},
		{"sick.edge.example. AAAA", "2001:db8:c::1", "NOERROR edge.example. outside: the client's view does not have the service"},
		{"api.edge.example. MX", "2001:db8:a::1", "NOERROR edge.example. inside: the name has no record of this type"},
		{"no.edge.example. AAAA", "2001:db8:a::1", "NXDOMAIN edge.example. inside: there is no such name in the zone"},
		{"health.edge.example. AAAA", "2001:db9::1", "NOERROR edge.example. : the addresses of the zone's name servers: its sources are synced"},
		{"api.edge.example. AAAA", "2001:db9::1", "REFUSED edge.example. : no view is this client's"},
		{"api.edge.example. AAAA", "2001:db8:a:bad::1", "REFUSED edge.example. inside: acl: the client may not ask"},
		{"api.sub.lab.edge.example. A", "2001:db8:c::1", "REFUSED sub.lab.edge.example. outside: the acl of the zone: the client may not ask in it"},
		{"_explain.api.edge.example. TXT", "2001:db8:c::1", "REFUSED edge.example. outside: explain.allow: the client is not told why"},
		{"www.example. A", "2001:db8:a::1", "REFUSED  inside: the name lies in none of the zones"},
		{"edge.example. AXFR", "2001:db8:a::1", "REFUSED edge.example. inside: not for anybody"},
		{"edge.example. SOA", "2001:db8:a::1", "NOERROR edge.example. inside: as it is configured"},
	} {
		words := strings.Fields(tt.name)
		r, err := s.Why(Question{Name: words[0], Type: words[1], Client: netip.MustParseAddr(tt.client)})
		if got := r.Rcode + " " + r.Zone + " " + r.View + ": " + r.Text; err != nil || got != tt.want {
			t.Errorf("%s for %s: %s, %v, want %s", tt.name, tt.client, got, err, tt.want)
		}
	}
	for _, q := range []Question{{Name: "a..b.", Type: "A"}, {Name: "a.", Type: "X"}} {
		if r, err := s.Why(q); err == nil {
			t.Errorf("%+v: %+v", q, r)
		}
	}
}

// To ask why is to learn the next answer, and changes nothing: also by hash, for the client that a resolver tells.
// Records that tell ports and addresses together are picked, too.
func TestWhyOfBindings(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(bindContent()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, want string }{
		{"tls.edge.example. HTTPS", "picked 3 of 4 endpoints by rr"},
		{"mixed.edge.example. HTTPS", "picked 3 of 3 endpoints by hash"},
		{"_dns.dot.edge.example. SVCB", "picked 1 of 1 endpoints by rr"},
		{"_dns._tcp.dot.edge.example. SRV", "picked 1 of 1 endpoints by rr"},
		{"sicktls.edge.example. HTTPS", "panic: no endpoint is up: answering with all of them"},
		{"tls.edge.example. TXT", "as it is configured"},
		{"notls.edge.example. HTTPS", "the name has no record of this type"},
	} {
		words := strings.Fields(tt.name)
		r, err := s.Why(Question{Name: words[0], Type: words[1], Client: testClient})
		if err != nil || r.Text != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.name, r.Text, err, tt.want)
		}
		if strings.HasPrefix(r.Text, fmt.Sprintf("picked %d ", len(r.Picked))) != strings.HasPrefix(tt.want, "picked") {
			t.Errorf("%s: %s, but %v", tt.name, r.Text, r.Picked)
		}
	}
}

func TestWhyIsTheNextAnswer(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(podContent()); err != nil {
		t.Fatal(err)
	}
	subnet := netip.MustParsePrefix("2001:db8:7::/56")
	for _, name := range []string{"api.edge.example.", "hash.edge.example.", "web.edge.example."} {
		for range 5 {
			why := func() []netip.Addr {
				r, err := s.Why(Question{name, "AAAA", testClient, subnet})
				if err != nil || r.Family != steering.IPv6 || r.Standing == nil {
					t.Fatalf("%+v, %v", r, err)
				}
				return r.Picked
			}
			first, second := why(), why()
			out, _ := reply(s.current.Load(), nil, pack(t, ask(name+" AAAA", edns(1232, subnetOption("2001:db8:7::", 56)))), udp, testClient)
			m := new(dns.Msg)
			if err := m.Unpack(out); err != nil {
				t.Fatal(err)
			}
			var got []netip.Addr
			for _, rr := range m.Answer {
				got = append(got, addressesIn(rr)...)
			}
			same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
			if diff := cmp.Diff(got, first, same) + cmp.Diff(got, second, same); diff != "" {
				t.Fatalf("%s: (-answer +why)\n%s", name, diff)
			}
		}
	}
}

// BenchmarkAccess is what it costs to tell clients apart: octets in, octets out, counted.
func BenchmarkAccess(b *testing.B) {
	many := accessContent()
	for i := range 1000 {
		many.Access.ACL.Deny = append(many.Access.ACL.Deny, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x2a, byte(i >> 8), byte(i)}), 32))
	}
	for _, bm := range []struct {
		name   string
		c      Content
		client netip.Addr
	}{{"none", podContent(), insider}, {"views", accessContent(), insider}, {"views and 1000 prefixes", many, insider}, {"refused", accessContent(), stranger}} {
		b.Run(bm.name, func(b *testing.B) {
			s, err := New(Config{Site: "mec-1"})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Set(bm.c); err != nil {
				b.Fatal(err)
			}
			query, buf, q := pack(b, ask("api.edge.example. AAAA", edns(1232))), make([]byte, udpPayload), new(question)
			count := s.metrics.shared(udp, false)
			b.ReportAllocs()
			for b.Loop() {
				s.answer(buf, query, q, bm.client, count, moment{})
			}
		})
	}
}
