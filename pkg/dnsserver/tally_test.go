package dnsserver

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
)

// counters are the series of some metrics, by name without its prefix, as an exposition shows them.
func counters(t *testing.T, c prometheus.Collector, names ...string) string {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&page, f); err != nil {
			t.Fatal(err)
		}
	}
	var lines strings.Builder
	for line := range strings.Lines(page.String()) {
		for _, name := range names {
			if rest, ok := strings.CutPrefix(line, "anyedge_dns_"+name+"{"); ok && !strings.HasSuffix(rest, " 0\n") {
				lines.WriteString(name + "{" + rest)
			}
			if strings.HasPrefix(line, "anyedge_dns_"+name+" ") {
				lines.WriteString(strings.TrimPrefix(line, "anyedge_dns_"))
			}
		}
	}
	return lines.String()
}

// Every query is counted where it belongs, on whichever path it was answered.
func TestCounters(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(accessContent()); err != nil {
		t.Fatal(err)
	}
	count, q, buf := s.metrics.shared(udp, false), new(question), make([]byte, udpPayload)
	for _, one := range []struct {
		client netip.Addr
		query  string
	}{
		{insider, "api.edge.example. AAAA"}, {insider, "api.edge.example. A"}, {insider, "sick.edge.example. AAAA"}, {testClient, "api.edge.example. AAAA"},
		{testClient, "no.edge.example. AAAA"}, {testClient, "sick.edge.example. AAAA"}, {testClient, "_explain.api.edge.example. TXT"},
		{testClient, "x.sub.lab.edge.example. AAAA"}, {insider, "api.sub.lab.edge.example. AAAA"}, {stranger, "api.edge.example. AAAA"},
		{insider, "www.example. MX"}, {stranger, "id.server. CH TXT"}, {insider, "_http._tcp.web.edge.example. SRV"}, {insider, "api.edge.example. TXT"},
	} {
		s.answer(buf, pack(t, ask(one.query)), q, one.client, count, moment{})
	}
	want := `picks_total{service="api.edge.example."} 3
picks_total{service="api.sub.lab.edge.example."} 1
picks_total{service="sick.edge.example."} 1
picks_total{service="web.edge.example."} 1
prohibited_requests_total 4
requests_total{family="2",proto="udp",server="",type="A",view="inside",zone="edge.example."} 1
requests_total{family="2",proto="udp",server="",type="AAAA",view="",zone="edge.example."} 1
requests_total{family="2",proto="udp",server="",type="AAAA",view="inside",zone="edge.example."} 2
requests_total{family="2",proto="udp",server="",type="AAAA",view="inside",zone="sub.lab.edge.example."} 1
requests_total{family="2",proto="udp",server="",type="AAAA",view="outside",zone="edge.example."} 3
requests_total{family="2",proto="udp",server="",type="AAAA",view="outside",zone="sub.lab.edge.example."} 1
requests_total{family="2",proto="udp",server="",type="MX",view="inside",zone=""} 1
requests_total{family="2",proto="udp",server="",type="SRV",view="inside",zone="edge.example."} 1
requests_total{family="2",proto="udp",server="",type="TXT",view="",zone=""} 1
requests_total{family="2",proto="udp",server="",type="TXT",view="inside",zone="edge.example."} 1
requests_total{family="2",proto="udp",server="",type="TXT",view="outside",zone="edge.example."} 1
responses_total{rcode="NOERROR",server="",view="inside",zone="edge.example."} 5
responses_total{rcode="NOERROR",server="",view="inside",zone="sub.lab.edge.example."} 1
responses_total{rcode="NOERROR",server="",view="outside",zone="edge.example."} 2
responses_total{rcode="NXDOMAIN",server="",view="outside",zone="edge.example."} 1
responses_total{rcode="REFUSED",server="",view="",zone=""} 1
responses_total{rcode="REFUSED",server="",view="",zone="edge.example."} 1
responses_total{rcode="REFUSED",server="",view="inside",zone=""} 1
responses_total{rcode="REFUSED",server="",view="outside",zone="edge.example."} 1
responses_total{rcode="REFUSED",server="",view="outside",zone="sub.lab.edge.example."} 1
`
	if diff := cmp.Diff(want, counters(t, s, "picks_total", "prohibited_requests_total", "requests_total", "responses_total")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	problems, err := testutil.CollectAndLint(s)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// An answer counts for its service, by whichever of its names it was asked for; one without picked endpoints counts for none.
func TestPicksByEveryName(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(hidingContent()); err != nil {
		t.Fatal(err)
	}
	count, q, buf := s.metrics.shared(udp, false), new(question), make([]byte, udpPayload)
	for _, query := range []string{
		"a1.a.s1.s.any.rr AAAA", "a1.a.s1.s.any.closesthc A", "rack-2.pin.placed AAAA", "rack-9.prefer.placed AAAA", // 4 of placed
		"a1.a.s1.s.0.none AAAA", "rack-9.pin.placed AAAA", "pin.placed AAAA", "a1.a.s1.s.any.rr MX", // an instance; nothing
		"tls HTTPS", "_8443._https.tls HTTPS", "tls SVCB", "_9._https.tls HTTPS", // 2 of tls
		"mixed HTTPS", "notls HTTPS", "sicktls HTTPS", "_dns.dot SVCB", // one of each but notls
	} {
		name, qtype, _ := strings.Cut(query, " ")
		s.answer(buf, pack(t, ask(name+".edge.example. "+qtype)), q, insider, count, moment{})
	}
	want := `picks_total{service="dot.edge.example."} 1
picks_total{service="mixed.edge.example."} 1
picks_total{service="placed.edge.example."} 4
picks_total{service="sicktls.edge.example."} 1
picks_total{service="tls.edge.example."} 2
`
	if diff := cmp.Diff(want, counters(t, s, "picks_total")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Services come and go, more than are counted apart: the series stay as few as they are, and no two share a number.
func TestNumbersAreBounded(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		c := testContent(true)
		for i := range 2 * maxPicks {
			c.Services = append(c.Services, testService(fmt.Sprintf("s%d.edge.example.", (round*700+i)), 1, "2001:db8:1::99 up"))
		}
		for i := range 2 * maxPlaces {
			name := fmt.Sprintf("z%d-%d.", round, i)
			c.Zones = append(c.Zones, Zone{Name: name, TTL: 1e9, NS: []NS{{Name: "ns.example."}}})
		}
		if err := s.Set(c); err != nil {
			t.Fatal(err)
		}
		names := s.numbers.services()
		if len(names) != maxPicks-1 || names[others] != other {
			t.Fatalf("round %d: %d services are counted apart, all others as %q", round, len(names), names[others])
		}
		seen := make(map[string]bool)
		for _, name := range names {
			if seen[name] || name != other && s.current.Load().services[name] == nil {
				t.Fatalf("round %d: %s is counted twice, or is gone", round, name)
			}
			seen[name] = true
		}
		if n := len(s.numbers.places); n > maxPlaces {
			t.Fatalf("round %d: %d places", round, n)
		}
	}
}

// Who comes after a service that is gone does not inherit its count.
func TestNumbersBeginAnew(t *testing.T) {
	t.Parallel()
	s, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string) Content {
		c := testContent(true)
		c.Services = append(c.Services[:0], testService(name, 1, "2001:db8:1::10 up"))
		return c
	}
	count := s.metrics.shared(udp, false)
	for _, name := range []string{"a.edge.example.", "b.edge.example."} {
		if err := s.Set(with(name)); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			s.answer(make([]byte, udpPayload), pack(t, ask(name+" AAAA")), new(question), testClient, count, moment{})
		}
	}
	if got, want := counters(t, s, "picks_total"), "picks_total{service=\"b.edge.example.\"} 3\n"; got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}
