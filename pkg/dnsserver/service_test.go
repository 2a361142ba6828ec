package dnsserver

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/anyedge/anyedge/pkg/steering"
)

// contentServer has content and no sockets.
func contentServer(t testing.TB, c Content, log *slog.Logger) *Server {
	t.Helper()
	s, err := New(Config{Site: "mec-1", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(c); err != nil {
		t.Fatal(err)
	}
	return s
}

// Whatever changes one service after the other leads to the same answers as all of it at once.
func TestUpdateIsAsGoodAsSet(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	c := podContent()
	s := contentServer(t, c, nil)
	for range 50 {
		i := random.IntN(len(c.Services))
		c.Services = slices.Clone(c.Services)
		c.Services[i] = randomChange(random, c.Services[i])
		if err := s.Update(c.Services[i]); err != nil {
			t.Fatal(err)
		}
		got, want := s.current.Load(), frozen(t, c)
		got.freeze()
		if diff := cmp.Diff(everything(t, want), everything(t, got)); diff != "" {
			t.Fatalf("%+v (-Set +Update):\n%s", c.Services[i], diff)
		}
		for state := range want.states {
			if got, want := got.states[state].Load(), want.states[state].Load(); got != want {
				t.Fatalf("%d endpoints are %s, want %d", got, steering.State(state), want)
			}
		}
	}
}

func randomChange(random *rand.Rand, sv steering.Service) steering.Service {
	sv.Answers = 1 + random.IntN(2)
	sv.Endpoints = slices.Clone(sv.Endpoints)
	if n := len(sv.Endpoints); n > 0 && random.IntN(3) == 0 {
		sv.Endpoints = slices.Delete(sv.Endpoints, n-1, n)
	}
	for range random.IntN(3) {
		a := netip.AddrFrom4([4]byte{10, byte(1 + random.IntN(2)), 0, byte(random.IntN(4))})
		if random.IntN(2) == 0 {
			a = netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 1, 15: byte(random.IntN(4))})
		}
		sv.Endpoints = append(sv.Endpoints, steering.Endpoint{Address: a, Port: uint16(random.IntN(2)), Capacity: float64(random.IntN(3))})
	}
	for i := range sv.Endpoints {
		sv.Endpoints[i].State = steering.State(random.IntN(3))
	}
	return sv
}

// everything asks for the names of all services and of the addresses that they may have.
func everything(t *testing.T, s *snapshot) (all []string) {
	t.Helper()
	var questions []string
	for name, c := range s.services {
		sv := c.load()
		questions = append(questions, name+" AAAA", name+" A")
		if sv.PortName != "" {
			questions = append(questions, srvName(sv.Service)+" SRV")
		}
		for _, e := range sv.Endpoints {
			questions = append(questions, podLabel(e.Address)+"."+name+" AAAA")
		}
	}
	for i := range 4 {
		for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{10, 1, 0, byte(i)}), netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 1, 15: byte(i)})} {
			reverse, err := dns.ReverseAddr(a.String())
			if err != nil {
				t.Fatal(err)
			}
			questions = append(questions, reverse+" PTR", parent(reverse)+" PTR", parent(parent(reverse))+" A")
		}
	}
	slices.Sort(questions)
	for _, question := range questions {
		out, _ := reply(s, nil, pack(t, ask(question)), tcp, testClient)
		for line := range strings.Lines(show(unpack(t, out))) {
			if !strings.Contains(line, " SOA ") { // its serial is of another day
				all = append(all, question+": "+line)
			}
		}
	}
	return all
}

func TestUpdateLeavesTheRest(t *testing.T) {
	c := testContent(true)
	s := contentServer(t, c, nil)
	before := s.current.Load()
	services := make(map[string]*service)
	for name, c := range before.services {
		services[name] = c.load()
	}
	changed := c.Services[0]
	changed.Endpoints = slices.Clone(changed.Endpoints)
	changed.Endpoints[0].State = steering.Down
	for range 2 { // the second time nothing changes
		if err := s.Update(changed); err != nil {
			t.Fatal(err)
		}
	}
	after := s.current.Load()
	if after != before {
		t.Error("all content was replaced")
	}
	for name, c := range after.services {
		if got, want := c.load() == services[name], name != changed.Name; got != want {
			t.Errorf("%s kept: %v, want %v", name, got, want)
		}
	}
	if &after.services[changed.Name].load().Endpoints[0] != &changed.Endpoints[0] {
		t.Error("the server copied the endpoints")
	}
}

// The serial of the one zone grows, though never faster than the clock, and the next content's is beyond.
func TestUpdateCountsSerial(t *testing.T) {
	s := testSnapshot(t, testContent(true))
	c := s.services["api.sub.lab.edge.example."]
	serials := func(s *snapshot) (outer, inner uint32) {
		return s.zones["edge.example."].authority.Load().soa.Serial, s.zones["sub.lab.edge.example."].authority.Load().soa.Serial
	}
	start, _ := serials(s)
	for _, tt := range []struct {
		after time.Duration
		want  uint32
	}{{0, 0}, {time.Second, 1}, {1500 * time.Millisecond, 1}, {-time.Hour, 1}, {time.Minute, 60}} {
		s.changed(c.zone, c.load(), c.load(), testTime.Add(tt.after))
		if outer, inner := serials(s); outer != start || inner != start+tt.want {
			t.Errorf("after %s: serials %d and %d later, want 0 and %d", tt.after, outer-start, inner-start, tt.want)
		}
	}
	next, err := compile("mec-1", testContent(true), s, testTime, rand.Uint64)
	if err != nil {
		t.Fatal(err)
	}
	if outer, inner := serials(next); outer != start+61 || inner != start+61 {
		t.Errorf("of new content: serials %d and %d later, want 61", outer-start, inner-start)
	}
}

func TestUpdateRefuses(t *testing.T) {
	c := podContent()
	c.Services = append(c.Services, testService("ip-10-0-0-1.a.b.edge.example.", 1))
	long := testService(strings.Repeat(strings.Repeat("a", 54)+".", 4)+"edge.example.", 1)
	long.PortName = "http"
	c.Services = append(c.Services, long)
	tests := []struct {
		name, want string
		change     func(*steering.Service)
		service    string
	}{
		{"another name", "service no.example.: is not one of the content", func(s *steering.Service) { s.Name = "no.example." }, "web.edge.example."},
		{"another port name", "service web.edge.example.: its names change: replace the content", func(s *steering.Service) { s.PortName = "https" }, "web.edge.example."},
		{"another protocol", "service hash.edge.example.: its names change: replace the content", func(s *steering.Service) { s.Protocol = "tcp" }, "hash.edge.example."},
		{
			"an endpoint whose name is taken", "service a.b.edge.example.: ip-10-0-0-1.a.b.edge.example. is not only the name of endpoint 10.0.0.1: rename it",
			func(s *steering.Service) { s.Endpoints = endpoints("10.0.0.1 up") }, "a.b.edge.example.",
		},
		{
			"an endpoint without a name", "is not a lower-case, fully qualified domain name",
			func(s *steering.Service) { s.Endpoints = endpoints("1:2222:3333:4444:5555:6666:7777:8888 up") }, long.Name,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := contentServer(t, c, nil)
			old := s.current.Load().services[tt.service]
			sv, before := old.load().Service, old.load()
			tt.change(&sv)
			if err := s.Update(sv); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Update = %v, want %s", err, tt.want)
			}
			if s.current.Load().services[tt.service].load() != before {
				t.Error("it was replaced all the same")
			}
		})
	}
	empty, err := New(Config{Site: "mec-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := empty.Update(c.Services[0]); err != errNoContent {
		t.Errorf("Update before Set = %v, want %v", err, errNoContent)
	}
}

func endpoints(list ...string) []steering.Endpoint { return testService("", 1, list...).Endpoints }

func TestUpdateTellsPanic(t *testing.T) {
	var buf bytes.Buffer
	s := contentServer(t, testContent(true), timeless(&buf))
	buf.Reset()
	for _, state := range []string{"down", "unknown", "up"} {
		if err := s.Update(testService("a.b.edge.example.", 1, "2001:db8:1::20 "+state)); err != nil {
			t.Fatal(err)
		}
	}
	want := `level=WARN msg=panic service=a.b.edge.example. family=IPv6 reason="no endpoint is up: answering with all of them"
level=INFO msg="panic is over" service=a.b.edge.example. family=IPv6
`
	if diff := cmp.Diff(want, buf.String()); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

// Services change while others read them, and all content is replaced meanwhile.
func TestUpdateWhileAnswering(t *testing.T) {
	c := podContent()
	s := contentServer(t, c, nil)
	var readers, writers sync.WaitGroup
	stop := make(chan struct{})
	for _, question := range []string{"web.edge.example. AAAA", "web.edge.example. A", "_http._tcp.web.edge.example. SRV", "10.0.1.10.in-addr.arpa. PTR", "no.edge.example. A"} {
		query := pack(t, ask(question))
		readers.Go(func() {
			var r reader
			for {
				select {
				case <-stop:
					return
				default:
					s.answer(r.room[:], query, &r.question, testClient, s.metrics.shared(udp, false), moment{})
				}
			}
		})
	}
	web := c.Services[slices.IndexFunc(c.Services, func(sv steering.Service) bool { return sv.Name == "web.edge.example." })]
	for range 2 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(1, 2))
			for range 50 {
				if err := s.Update(randomChange(random, web)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		if err := s.Set(c); err != nil {
			t.Error(err)
		}
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

// A reader is what a reading loop has of its own.
type reader struct {
	question question
	room     [udpPayload]byte
}
