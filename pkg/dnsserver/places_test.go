package dnsserver

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// racksContent has a service with three endpoints of each family in rack-1, of which one of IPv6 and none of IPv4 is up, and as many in
// rack-2, all of them up; each has a port of its own.
func racksContent(panicking steering.Panic) Content {
	c := namedContent()
	s := testService("far.edge.example.", 1)
	s.Panic, s.ALPN, s.PortName = panicking, []string{"h2"}, "http"
	for i := range 6 {
		state6, state4 := "up", "up"
		if i < 3 {
			state4 = "down"
		}
		if i < 2 {
			state6 = "down"
		}
		for j, e := range endpoints(fmt.Sprintf("2001:db8:5::%d %s", i, state6), fmt.Sprintf("10.5.0.%d %s", i, state4)) {
			e.Zone, e.Node, e.Port = fmt.Sprintf("rack-%d", 1+i/3), fmt.Sprintf("node-%d", i), uint16(8000+10*i+j)
			s.Endpoints = append(s.Endpoints, e)
		}
	}
	c.Services = append(c.Services, s)
	return c
}

// all are the addresses that a name has in many answers.
func all(t *testing.T, s *snapshot, question string) []string {
	t.Helper()
	seen := make(map[string]bool)
	for range 50 {
		out, _ := reply(s, nil, pack(t, ask(question)), tcp, testClient)
		m := unpacked(t, out)
		for _, rr := range append(m.Answer, m.Extra...) {
			for _, a := range addressesIn(rr) {
				seen[a.String()] = true
			}
		}
	}
	var list []string
	for a := range seen {
		list = append(list, a)
	}
	slices.Sort(list)
	return list
}

// Who prefers a place gets what is up there, whatever the service does in panic; of a family of which nothing is up there, all that the service has.
func TestPreferIsWhatIsUp(t *testing.T) {
	for _, panicking := range []steering.Panic{
		{Below: 0.5}, {Below: 0.9}, {Below: 0.9, Mode: steering.PanicNone},
		{Below: 0.9, Mode: steering.PanicOther, Fallback: addrs("2001:db8:9::1", "10.9.0.1")},
	} {
		s := testSnapshot(t, racksContent(panicking))
		local, rest := []string{"2001:db8:5::2"}, []string{"10.5.0.3", "10.5.0.4", "10.5.0.5"}
		want := map[string][]string{
			"rack-1.prefer AAAA": local, "rack-1.pin AAAA": local, "rack-1.pin A": nil, "rack-1.prefer A": rest,
			"rack-2.prefer A": rest, "rack-2.pin A": rest, "node-2.prefer AAAA": local,
			"rack-1.prefer HTTPS": append(slices.Clone(rest), local...),
		}
		switch { // the service panics, too, where it has to do
		case panicking.Mode == steering.PanicOther:
			want["rack-1.prefer A"], want["rack-1.prefer HTTPS"] = []string{"10.9.0.1"}, local // the ports of another site are not known
		case panicking.Mode == steering.PanicAll && panicking.Below == 0.9:
			every := []string{"10.5.0.0", "10.5.0.1", "10.5.0.2", "10.5.0.3", "10.5.0.4", "10.5.0.5"}
			want["rack-1.prefer A"], want["rack-1.prefer HTTPS"] = every, append(slices.Clone(every), local...)
		}
		got := make(map[string][]string)
		for question := range want {
			place, qtype, _ := strings.Cut(question, " ")
			got[question] = all(t, s, place+".far.edge.example. "+qtype)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v (-want +got)\n%s", panicking, diff)
		}
	}
}

// manyContent has a service with many endpoints, each on a node of its own.
func manyContent(n int) Content {
	c := testContent(true)
	many := testService("many.edge.example.", 1)
	for i := range n {
		many.Endpoints = append(many.Endpoints, steering.Endpoint{
			Address: netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), State: steering.Up, Node: fmt.Sprintf("Node-%d.example", i), Zone: "rack-1",
		})
	}
	c.Services = append(c.Services, many)
	return c
}

// What a label costs that nobody has does not hang on how many endpoints there are: anybody can ask for as many as it likes.
func TestNoPlaceCostsTheSame(t *testing.T) {
	few, many := testSnapshot(t, manyContent(1)), testSnapshot(t, manyContent(1000))
	for _, name := range []string{"no.pin.many.edge.example.", "no.prefer.many.edge.example."} {
		cost := func(s *snapshot) float64 {
			return testing.AllocsPerRun(100, func() { s.find(name, noView) })
		}
		if a, b := cost(few), cost(many); a != b {
			t.Errorf("%s: %v allocations with one endpoint, %v with a thousand", name, a, b)
		}
	}
}

// Turns at places go on whatever becomes of weights, and what somebody asked for once is not remembered when it is gone.
func TestTurnsAtPlacesGoOn(t *testing.T) {
	c := accessContent()
	sv := testService("turns.edge.example.", 1, "2001:db8:1::10 up", "2001:db8:1::20 up", "2001:db8:1::40 up", "2001:db8:1::50 up")
	sv.Policy = steering.Capacity
	for i := range sv.Endpoints {
		sv.Endpoints[i].Zone = "rack-1"
	}
	sv.Endpoints[3].Zone = "rack-2"
	c.Services, c.Access.Views[1].Services = append(c.Services, sv), append(c.Access.Views[1].Services, sv.Name)
	s := contentServer(t, c, nil)
	for _, word := range []string{pinLabel, preferLabel} {
		for _, from := range []netip.Addr{insider, testClient} {
			picks := make(map[string]int)
			for i := range 300 {
				sv = sv.Clone()
				for j := range sv.Endpoints {
					sv.Endpoints[j].Factor = 1 + float64((i+j)%3)/100
				}
				if err := s.Update(sv); err != nil {
					t.Fatal(err)
				}
				if i%7 == 0 { // nobody asks for a while
					continue
				}
				out, _ := reply(s.current.Load(), nil, pack(t, ask("rack-1."+word+".turns.edge.example. AAAA")), udp, from)
				picks[unpack(t, out).Answer[0].(*dns.AAAA).AAAA.String()]++
			}
			for a, n := range picks {
				if n < 84 || n > 87 { // a third of 257 each
					t.Errorf("%s for %s: %s was picked %d times: %v", word, from, a, n, picks)
				}
			}
		}
	}
	sv = sv.Clone()
	for i := range sv.Endpoints {
		sv.Endpoints[i].Zone = "rack-3"
	}
	if err := s.Update(sv); err != nil {
		t.Fatal(err)
	}
	if before := s.current.Load().services[sv.Name].load().places.before; len(before) != 0 {
		t.Errorf("remembered: %v", before)
	}
}
